//! The comparisons that tests use, each with a negative control that must fail.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::fixtures::trial;

/// Largest relative error of a row, `‖out - ref‖ / ‖ref‖`, must be under `tolerance`.
pub fn rows_close(
    what: &str,
    out: &[f32],
    expected: &[f32],
    width: usize,
    tolerance: f64,
) -> Result<()> {
    ensure!(
        width > 0 && !expected.is_empty(),
        "{what}: nothing to compare"
    );
    ensure!(
        out.len() == expected.len(),
        "{what}: {} values for {}",
        out.len(),
        expected.len()
    );
    let rows = out.chunks(width).zip(expected.chunks(width));
    for (row, (out, expected)) in rows.enumerate() {
        let (mut error, mut size) = (0.0, 0.0);
        for (a, b) in out.iter().zip(expected) {
            error += (f64::from(*a) - f64::from(*b)).powi(2);
            size += f64::from(*b).powi(2);
        }
        let relative = (error / size).sqrt();
        // Written so that a NaN fails.
        ensure!(
            relative < tolerance,
            "{what}: row {row} has relative error {relative:.2e}, allowed {tolerance:.0e}"
        );
    }
    Ok(())
}

/// Largest absolute difference must be under `tolerance`.
pub fn all_close(what: &str, out: &[f32], expected: &[f32], tolerance: f64) -> Result<()> {
    ensure!(
        out.len() == expected.len(),
        "{what}: {} values for {}",
        out.len(),
        expected.len()
    );
    for (i, (a, b)) in out.iter().zip(expected).enumerate() {
        let error = (f64::from(*a) - f64::from(*b)).abs();
        ensure!(
            error < tolerance,
            "{what}: value {i} is {a}, expected {b} within {tolerance:.0e}"
        );
    }
    Ok(())
}

/// Every value must be the same.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, out: &[T], expected: &[T]) -> Result<()> {
    ensure!(
        out.len() == expected.len(),
        "{what}: {} values for {}",
        out.len(),
        expected.len()
    );
    for (i, (a, b)) in out.iter().zip(expected).enumerate() {
        ensure!(a == b, "{what}: value {i} is {a:?}, expected {b:?}");
    }
    Ok(())
}

pub fn trials() -> Vec<Trial> {
    vec![trial("compare::negative_controls", || {
        let expected = [1.0, 2.0, 3.0, 4.0];
        rows_close("equal", &expected, &expected, 2, 1e-6)?;
        all_close("equal", &expected, &expected, 1e-6)?;
        same("equal", &expected, &expected)?;
        let wrong: [&[f32]; 4] = [
            &[1.0, 2.0, 3.0, 4.001],
            &[1.0, 2.0, 3.0, f32::NAN],
            &[1.0, 2.0, 4.0, 3.0],
            &[1.0, 2.0, 3.0],
        ];
        for out in wrong {
            ensure!(rows_close("wrong", out, &expected, 2, 1e-4).is_err());
            ensure!(all_close("wrong", out, &expected, 1e-4).is_err());
            ensure!(same("wrong", out, &expected).is_err());
        }
        ensure!(rows_close("nothing", &[], &[], 2, 1e-4).is_err());
        Ok(())
    })]
}
