//! Every kernel of the engine at the shapes of a model, held against the measured peaks.

use std::sync::Arc;

use super::device::Request;
use super::raw::{Raw, What};
use super::report::{Detail, Row};
use super::stopwatch::Stopwatch;
use crate::engine::{DeviceModel, visit_cases};
use crate::error::Result;
use crate::kernels::KvType;

/// A share of the peak beyond this means that the tool is wrong, not that the kernel is good.
pub const MAX_PERCENT: f64 = 110.0;

/// The shapes that kernels are measured at.
#[derive(Clone, Copy, Debug)]
pub struct Shapes {
    /// Rows of a prompt's submission.
    pub n_prompt: usize,
    /// Positions in the cache before.
    pub depth: usize,
    pub kv_type: KvType,
}

/// Times the kernels asked for, in decoding (one row) and in a prompt.
pub fn measure(
    watch: &Stopwatch<'_>,
    model: &Arc<DeviceModel>,
    shapes: Shapes,
    request: &Request<'_>,
) -> Result<Vec<Raw>> {
    let mut list = Vec::new();
    for (phase, n_rows) in [("decode", 1), ("prefill", shapes.n_prompt)] {
        let mut roles = Vec::new();
        visit_cases(model, n_rows, shapes.depth, shapes.kv_type, &mut |case| {
            // A role in several shapes is a test for each.
            let n_before = roles.iter().filter(|&&role| role == case.role).count();
            roles.push(case.role);
            let test = match n_before {
                0 => format!("{phase} {}", case.role),
                n => format!("{phase} {} {}", case.role, n + 1),
            };
            if request.begins(&test) {
                list.push(Raw {
                    timing: watch.time(&test, |pass, i| case.encode(pass, i))?,
                    test,
                    what: What::Kernel {
                        kernel: case.kernel,
                        role: case.role,
                        phase,
                        n_rows: case.n_rows,
                        moved: case.moved,
                    },
                });
            }
            Ok(())
        })?;
    }
    Ok(list)
}

/// The row that claims more than the adapter can do, if there is one.
pub fn impossible(rows: &[Row]) -> Option<(&Row, f64)> {
    rows.iter().find_map(|row| match &row.detail {
        Detail::Kernel(k) if k.percent_of_peak > MAX_PERCENT => Some((row, k.percent_of_peak)),
        _ => None,
    })
}
