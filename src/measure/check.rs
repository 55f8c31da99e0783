//! A model on the device against the reference, before anything is timed.

use std::sync::Arc;

use crate::engine::{DeviceModel, Drafts, Engine, Logits, Options};
use crate::error::{Error, Result};
use crate::kernels::KvType;
use crate::model::Model;
use crate::model::config::ExitRule;
use crate::reference::Output;

/// Positions of the prompt, and positions decoded after it.
const N_PROMPT: usize = 5;
const N_DECODE: usize = 2;

/// Varied token ids, always the same ones.
pub fn token_ids(n: usize, vocab: usize) -> Vec<u32> {
    let mix = |i: u64| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    (0..n as u64)
        .map(|i| (mix(i) % vocab as u64) as u32)
        .collect()
}

/// Compares logits and scores of a short prompt and of decoding after it, all cycles run.
///
/// Relative to the norm of a row of logits, 5e-4 are allowed with the cache in f32. With f16, which
/// rounds keys and values, real models with large keys were seen to differ by 9e-2: 0.3 is allowed,
/// where a wrong kernel gives about 1.
///
/// # Errors
/// [`Error::Measurement`] when they differ by more.
pub fn against_reference(model: &Model, device_model: &Arc<DeviceModel>) -> Result<()> {
    let n = (N_PROMPT + N_DECODE).min(model.config.max_positions);
    let ids = token_ids(n, model.config.vocab);
    let options = |kv_type| Options {
        n_sequences: 1,
        cap: None,
        exit: ExitRule::default(),
        n_ctx: n,
        kv_type,
        logits: Logits::All,
        drafts: Drafts::NONE,
    };
    let mut host = Engine::on_host(model, &options(KvType::F32))?;
    let expected = run(&mut host, &ids)?;
    for (kv_type, allowed) in [(KvType::F32, 5e-4), (KvType::F16, 0.3)] {
        let mut device = Engine::on_device(model, device_model, &options(kv_type))?;
        let found = run(&mut device, &ids)?;
        for (position, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = distance(&found.logits, &expected.logits)
                .max(distance(&found.scores, &expected.scores));
            // Written so that a NaN fails.
            let is_close = error <= allowed;
            if !is_close {
                return Err(Error::Measurement(format!(
                    "`{}` with {} keys and values, position {position}: expected the \
                     reference's logits to {allowed:e}, found an error of {error:.1e}",
                    model.name,
                    kv_type.name()
                )));
            }
        }
    }
    Ok(())
}

fn run(engine: &mut Engine<'_>, ids: &[u32]) -> Result<Vec<Output>> {
    let (prompt, rest) = ids.split_at(N_PROMPT.min(ids.len()));
    let mut outputs = pollster::block_on(engine.forward(prompt, Logits::All))?;
    for id in rest {
        outputs.extend(pollster::block_on(engine.forward(&[*id], Logits::All))?);
    }
    Ok(outputs)
}

/// Size of the difference over the size of `expected`; 0 where both are empty.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let size: f64 = expected.iter().map(|&v| square(v.into())).sum();
    let pairs = found.iter().zip(expected);
    let error: f64 = pairs
        .map(|(&a, &b)| square(f64::from(a) - f64::from(b)))
        .sum();
    match (found.len() == expected.len(), size > 0.0) {
        (false, _) => f64::INFINITY,
        (true, false) => error.sqrt(),
        (true, true) => (error / size).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance(&[], &[]), 0.0);
        assert_eq!(distance(&[3.0, 5.0], &[3.0, 4.0]), 0.2);
        assert!(distance(&[f32::NAN], &[1.0]).is_nan());
        assert!(distance(&[1.0], &[1.0, 2.0]).is_infinite());
    }
}
