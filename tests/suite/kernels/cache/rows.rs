//! Rows of a head in q8_0, word by word.

use anyhow::{Result, ensure};
use ztt_wgpu::kernels::KvType;

use crate::compare::same;

/// The expected words of a cache after a kernel: rows of heads, elsewhere those before it.
pub struct Rows {
    before: Vec<u32>,
    rows: Vec<Row>,
}

struct Row {
    /// Its first word.
    at: usize,
    n_octets: usize,
    words: Vec<u32>,
    /// Whether the kernel stores values as it gets them, so that it rounds the same ones.
    is_exact: bool,
}

impl Rows {
    pub fn new(before: &[u32]) -> Self {
        Self {
            before: before.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Values of whole octets at word `at`.
    pub fn put(&mut self, at: usize, values: &[f64], is_exact: bool) {
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        self.rows.push(Row {
            at,
            n_octets: values.len() / 8,
            words: KvType::Q8_0.encode(&values),
            is_exact,
        });
    }

    /// Checks the rows, and that all the rest is as before.
    pub fn check(&self, what: &str, after: &[u32]) -> Result<()> {
        ensure!(!self.rows.is_empty(), "{what}: nothing to compare");
        let mut rest = after.to_vec();
        for row in &self.rows {
            let place = row.at..row.at + row.words.len();
            let what = format!("{what}, row at {}", row.at);
            let found = &after[place.clone()];
            match row.is_exact {
                true => same(&what, found, &row.words)?,
                false => neighbours(&what, found, row)?,
            }
            rest[place.clone()].copy_from_slice(&self.before[place]);
        }
        same(&format!("{what}, the rest"), &rest, &self.before)
    }
}

/// Values that differ in their last bits may be rounded to neighbouring numbers, with neighbouring
/// scales.
fn neighbours(what: &str, found: &[u32], row: &Row) -> Result<()> {
    let bytes = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    let (found, expected) = (bytes(found), bytes(&row.words));
    let (numbers, scales) = found.split_at(8 * row.n_octets);
    let (expected_numbers, expected_scales) = expected.split_at(8 * row.n_octets);
    for (i, (&a, &b)) in numbers.iter().zip(expected_numbers).enumerate() {
        let (a, b) = (a as i8, b as i8);
        ensure!(
            a.abs_diff(b) <= 1,
            "{what}: number {i} is {a}, expected {b}"
        );
    }
    let pairs = scales.chunks(2).zip(expected_scales.chunks(2));
    for (i, (a, b)) in pairs.enumerate() {
        let [a, b] = [a, b].map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        ensure!(
            a.abs_diff(b) <= 1,
            "{what}: the bits of scale {i} are {a:#x}, expected {b:#x}"
        );
    }
    Ok(())
}
