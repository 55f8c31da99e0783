//! The file that `--logits` writes.

use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};

use crate::files;
use crate::reference::Output;

/// F32 `logits` `[T, vocab]`, I32 `cycles` `[T]`, and with scores F32 `scores` `[T, cycles]`.
pub fn write(path: &Path, outputs: &[Output], vocab: usize) -> Result<()> {
    let logits: Vec<f32> = outputs
        .iter()
        .flat_map(|o| o.logits.iter().copied())
        .collect();
    let cycles: Vec<i32> = outputs.iter().map(|o| o.cycles as i32).collect();
    let scores: Vec<f32> = outputs
        .iter()
        .flat_map(|o| o.scores.iter().copied())
        .collect();
    let n = outputs.len();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).context("tensor");
    let mut tensors = vec![
        (
            "logits",
            view(Dtype::F32, vec![n, vocab], bytemuck::cast_slice(&logits))?,
        ),
        (
            "cycles",
            view(Dtype::I32, vec![n], bytemuck::cast_slice(&cycles))?,
        ),
    ];
    if !scores.is_empty() {
        let shape = vec![n, scores.len() / n];
        tensors.push((
            "scores",
            view(Dtype::F32, shape, bytemuck::cast_slice(&scores))?,
        ));
    }
    let bytes = safetensors::serialize(tensors, None)?;
    Ok(files::write(path, &bytes)?)
}
