//! `embed`.

use anyhow::{Result, ensure};
use half::{bf16, f16};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::{Gpu, KernelClass, Resource};
use ztt_wgpu::kernels::embed;
use ztt_wgpu::model::tensor::Dtype;

use super::matrix::{fits, stored, weights_texture};
use super::{DTYPES, Expected, Listing, POISON, Within};
use super::{buffer, pack, padded, run, target, values};
use crate::adapter;
use crate::random::Random;

/// Values of a row, and listed rows.
const SHAPES: &[(usize, usize)] = &[
    (1, 1),
    (7, 2),
    (32, 5),
    (64, 5),
    (65, 9),
    (130, 1),
    (288, 9),
    (577, 5),
];

/// Of embeddings. A product with a power of two is exact, and so is rounded but once where a
/// position is added.
const MULTIPLIERS: [f32; 3] = [1.0, 12.0, 4.0];

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::embed", |gpu| every_embedding(&gpu)),
        adapter::trial("kernels::embed_of_every_16_bit_value", |gpu| {
            every_16_bit_value(&gpu)
        }),
        adapter::trial("kernels::controls::embed", |gpu| {
            embedding(&gpu, 65, 5, Dtype::F32, true, 4.0, 0)?;
            let wrong = embedding(&gpu, 65, 5, Dtype::F32, true, 4.0, 1);
            ensure!(wrong.is_err(), "a wrong token passes");
            Ok(())
        }),
    ]
}

fn every_embedding(gpu: &Gpu) -> Result<()> {
    for &(width, n_listed) in SHAPES {
        for dtype in DTYPES.into_iter().filter(|&dtype| fits(dtype, width)) {
            for positions in [false, true] {
                for multiplier in MULTIPLIERS {
                    // A product and a sum may be rounded together, or one by one.
                    if positions && multiplier.log2().fract() != 0.0 {
                        continue;
                    }
                    embedding(gpu, width, n_listed, dtype, positions, multiplier, 0)?;
                }
            }
        }
    }
    Ok(())
}

/// Tokens 4, 5 ... 10 lie in the buffer, the first and last of them included. `planted` is
/// added to the token of the first row.
fn embedding(
    gpu: &Gpu,
    width: usize,
    n_listed: usize,
    dtype: Dtype,
    with_positions: bool,
    multiplier: f32,
    planted: u32,
) -> Result<()> {
    const FIRST: u32 = 4;
    const N_TOKENS: u32 = 7;
    let random = &mut Random::new(width as u64);
    let stride = padded(width);
    let mut listing = Listing::new(n_listed);
    listing.positions.reverse();
    let n_rows = listing.n_rows();
    // The rows of the list take turns: the first token here, the last, the one before, the one
    // after, and one in the middle.
    let mut ids = vec![FIRST; n_rows];
    for (i, &row) in listing.listed.iter().enumerate() {
        ids[row] = [
            FIRST,
            FIRST + N_TOKENS - 1,
            FIRST - 1,
            FIRST + N_TOKENS,
            FIRST + 2,
        ][i % 5];
    }
    let matrix = stored(dtype, &values(random, N_TOKENS as usize * width), width);
    let mut positions = vec![0.0; n_rows * stride];
    for row in positions.chunks_mut(stride) {
        row[..width].copy_from_slice(&values(random, width));
    }
    let x = vec![POISON; n_rows * stride];
    let mut expected = Expected::new(&x);
    for &row in &listing.listed {
        if !(FIRST..FIRST + N_TOKENS).contains(&ids[row]) {
            continue;
        }
        let embedding = &matrix.values[(ids[row] - FIRST) as usize * width..][..width];
        let position = &positions[listing.positions[row] as usize * stride..];
        let value = |c: usize| {
            let embedded = f64::from(multiplier) * f64::from(embedding[c]);
            // A sum with 0 would lose the sign of a zero.
            match with_positions {
                true => embedded + f64::from(position[c]),
                false => embedded,
            }
        };
        let mut values: Vec<f64> = (0..width).map(value).collect();
        values.resize(stride, 0.0);
        expected.put(row * stride, values);
    }
    ids[listing.listed[0]] += planted;
    let params = embed::Params {
        n_octets: stride as u32 / 8,
        first_token: FIRST,
        n_tokens: N_TOKENS,
        list: listing.list(),
        multiplier,
    };
    let (ids, positions) = (buffer(gpu, &ids), buffer(gpu, &positions));
    let positions = with_positions.then_some(&positions);
    let rows = buffer(gpu, &listing.values());
    let in_buffer = buffer(gpu, &matrix.words);
    let in_texture = weights_texture(gpu, &matrix.words, dtype, width);
    for (class, weights) in places(&in_buffer, &in_texture) {
        let target = target(gpu, class, 8);
        let x = buffer(gpu, &x);
        let call = embed::call(
            &target,
            dtype,
            params,
            weights,
            positions,
            [&ids, &rows, &x],
        );
        let what = format!(
            "{}: {multiplier} x {width} {dtype:?}, {n_listed} rows, positions {with_positions}",
            call.kernel.name
        );
        let out = run(gpu, call, listing.n_listed() + 3, &[&x])?;
        // One product or one sum of two numbers, which is rounded correctly.
        expected.check(&what, &out[0], Within::Exact)?;
    }
    Ok(())
}

/// The classes of kernels that differ, each with the weights where it reads them.
fn places<'a>(
    in_buffer: &'a wgpu::Buffer,
    in_texture: &'a wgpu::TextureView,
) -> [(KernelClass, Resource<'a>); 2] {
    [
        (KernelClass::Workgroup, Resource::Buffer(in_buffer)),
        (KernelClass::Software, Resource::Texture(in_texture)),
    ]
}

/// Every finite f16 and bf16 must widen exactly; subnormal numbers may become zero instead.
fn every_16_bit_value(gpu: &Gpu) -> Result<()> {
    const WIDTH: usize = 256;
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let widen = |bits: u16| match dtype {
            Dtype::F16 => f16::from_bits(bits).to_f32(),
            _ => bf16::from_bits(bits).to_f32(),
        };
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let n_rows = all.len() / WIDTH;
        let listing = Listing::new(n_rows);
        let mut ids = vec![0; listing.n_rows()];
        for (token, &row) in listing.listed.iter().enumerate() {
            ids[row] = token as u32;
        }
        let params = embed::Params {
            n_octets: WIDTH as u32 / 8,
            first_token: 0,
            n_tokens: n_rows as u32,
            list: listing.list(),
            multiplier: 1.0,
        };
        let words = pack(&all);
        let in_buffer = buffer(gpu, &words);
        let in_texture = weights_texture(gpu, &words, dtype, WIDTH);
        let ids = buffer(gpu, &ids);
        let rows = buffer(gpu, &listing.values());
        for (class, weights) in places(&in_buffer, &in_texture) {
            let target = target(gpu, class, 8);
            let x = buffer(gpu, &vec![POISON; listing.n_rows() * WIDTH]);
            let call = embed::call(&target, dtype, params, weights, None, [&ids, &rows, &x]);
            let out = run(gpu, call, listing.n_listed(), &[&x])?.remove(0);
            for (token, &row) in listing.listed.iter().enumerate() {
                for c in 0..WIDTH {
                    let bits = all[token * WIDTH + c];
                    let (expected, found) = (widen(bits), f32::from_bits(out[row * WIDTH + c]));
                    let subnormal = bits & if dtype == Dtype::F16 { 0x7c00 } else { 0x7f80 } == 0;
                    ensure!(
                        !expected.is_finite() || found == expected || (subnormal && found == 0.0),
                        "{dtype:?} {bits:#06x} is {expected:e}, not {found:e}"
                    );
                }
            }
        }
    }
    Ok(())
}
