//! Random weights made on the device against the same ones made on the host, bit by bit.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::engine::weights::random::RandomWeights;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::random_weights::call;
use ztt_wgpu::model::quant::Quant;
use ztt_wgpu::model::tensor::Dtype;

use super::{buffer, run};
use crate::adapter;
use crate::compare::same;

/// The value of the words after the matrix.
const GUARD: u32 = 0xdead_beef;

pub fn trials() -> Vec<Trial> {
    vec![adapter::trial("kernels::random_weights", |gpu| {
        for (dtype, n_in, n_rows) in [
            (Dtype::F16, 40, 7),
            (Dtype::F16, 9, 5),
            (Dtype::F32, 33, 4),
            (Dtype::Quantized(Quant::Q8_0), 96, 11),
            (Dtype::Quantized(Quant::Q4_0), 32, 3),
            // More words than one dispatch has invocations.
            (Dtype::F16, 4096, 300),
        ] {
            equals_the_host(&gpu, dtype, n_in, n_rows)?;
        }
        Ok(())
    })]
}

fn equals_the_host(gpu: &Gpu, dtype: Dtype, n_in: usize, n_rows: usize) -> Result<()> {
    let random = |seed| RandomWeights {
        dtype,
        n_in,
        n_rows,
        seed,
    };
    let mut expected = random(3).words();
    ensure!(expected != random(4).words(), "the seed changes nothing");
    let matrix = buffer(gpu, &vec![GUARD; expected.len() + 64]);
    let found = run(gpu, call(random(3).params(), &matrix), 1, &[&matrix])?;
    expected.extend([GUARD; 64]);
    same(
        &format!("{dtype:?} {n_rows} x {n_in}"),
        &found[0],
        &expected,
    )
}
