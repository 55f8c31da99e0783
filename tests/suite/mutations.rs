//! Corrupt model files through the real binary: with any of them it ends with status 0, 1 or 2,
//! says at most one line, and neither panics nor is ended by a signal, nor takes much memory.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::fixtures::trial;
use crate::program::{Checkpoint, limited, output, run};
use crate::random::Random;
use crate::thorough;

/// The number of corrupt files, where [`VARIABLE`] does not say.
const FILES: usize = 300;

const VARIABLE: &str = "ZTT_MUTATIONS";

/// KiB of addresses that a run on the host may take, program and libraries included: files are
/// 0.6 MB.
const ADDRESSES_KB: usize = 65_536;

/// Trials the files are shared out over.
const TRIALS: usize = 4;

pub fn trials() -> Vec<Trial> {
    let asked = std::env::var(VARIABLE).ok().and_then(|n| n.parse().ok());
    let n_files = asked.unwrap_or(thorough::repetitions(FILES));
    (0..TRIALS)
        .map(|i| {
            trial(format!("mutations::files_{i}_of_{TRIALS}"), move || {
                let mut refused = 0;
                for seed in (i..n_files).step_by(TRIALS) {
                    refused += usize::from(check(seed as u64)?);
                }
                // The control: many of the mutations make a file malformed.
                let share = refused * TRIALS * 10 / n_files;
                ensure!(share >= 4, "only {refused} files were refused");
                Ok(())
            })
        })
        .collect()
}

/// Corrupts one file and runs the program on it; true when it is refused.
fn check(seed: u64) -> Result<bool> {
    let mut random = Random::new(seed);
    let case = [
        "llama-key-only",
        "llama-key-value",
        "gpt2-key-only",
        "llama-plain",
    ][random.below(4)];
    let checkpoint = Checkpoint::copy_of(case)?;
    let name = ["config.json", "model.safetensors"][random.below(2)];
    let file = checkpoint.file(name);
    let mut bytes = std::fs::read(&file)?;
    for _ in 0..=random.below(3) {
        mutate(&mut bytes, &mut random);
    }
    std::fs::write(&file, &bytes)?;
    let folder = checkpoint.name();
    let arguments = ["trace", &folder, "--ids", "1 2 3"];
    // The adapter too, now and then: it is slower to start, and its driver takes what it wants.
    let run = match seed.is_multiple_of(10) {
        true => run(&arguments),
        false => output(limited(
            &[&arguments[..], &["--adapter", "cpu"]].concat(),
            ADDRESSES_KB,
        )),
    };
    let run = run.with_context(|| format!("seed {seed}"))?;
    let what = || format!("seed {seed}, {name}: status {}: {}", run.status, run.stderr);
    ensure!((0..=2).contains(&run.status), "{}", what());
    ensure!(!run.stderr.contains("panicked"), "{}", what());
    if run.status != 0 {
        ensure!(run.stderr.trim_end().lines().count() == 1, "{}", what());
        ensure!(
            run.stderr.starts_with("ztt-wgpu: ") && run.stdout.is_empty(),
            "{}",
            what()
        );
    }
    Ok(run.status != 0)
}

/// One change, mostly where it hurts: in the header or the JSON text.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let near = 1 + bytes.len().min(4000);
    let at = random.below(near.min(bytes.len().max(1)));
    match random.below(7) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        3 if !bytes.is_empty() => drop(bytes.remove(at)),
        4 => {
            let inserted = ["-1", "1e999", "99999999999", "null", "\"", "{", "[]"];
            let text = inserted[random.below(inserted.len())];
            bytes.splice(at..at, text.bytes());
        }
        5 => replace_number(bytes, at, random),
        _ => {
            let end = (at + 1 + random.below(64)).min(bytes.len());
            bytes.splice(at..end, []);
        }
    }
}

/// Replaces the first number from `at` on.
fn replace_number(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some(start) = bytes.iter().skip(at).position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + start;
    let digits = bytes[start..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let numbers = [
        "0",
        "1",
        "7",
        "65536",
        "4294967295",
        "4294967296",
        "18446744073709551615",
    ];
    let number = numbers[random.below(numbers.len())];
    bytes.splice(start..start + digits, number.bytes());
}
