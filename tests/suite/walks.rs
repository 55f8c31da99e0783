//! Random walks of random models, in random batches of sequences that each have rules of their own:
//! a device against the host.

mod case;
pub mod random_model;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use libtest_mimic::Trial;
use ztt_wgpu::engine::DeviceModel;
use ztt_wgpu::gpu::{CLASSES, Gpu};

use crate::adapter;
use crate::random::Random;
use case::{Case, DIFFERENT};

/// With this set to a seed, the case of that seed is the only one.
const ONLY: &str = "ZTT_WALK_SEED";

/// The number of cases.
const CASES: &str = "ZTT_WALKS";
const USUAL_CASES: u64 = 20;

/// Trials the cases of a class are shared out over, so that they run in parallel and fail apart.
const TRIALS: usize = 4;

/// Batches of a case.
const BATCHES: usize = 10;

/// What a device is told otherwise than the host, so that a comparison must fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Planted {
    Threshold,
    MaxCycles,
    Rope,
}

const PLANTED: [(&str, Planted); 3] = [
    ("threshold", Planted::Threshold),
    ("max_cycles", Planted::MaxCycles),
    ("rope", Planted::Rope),
];

/// Cases of which one at least must show what is planted.
const CONTROL_CASES: u64 = 10;

pub fn trials() -> Vec<Trial> {
    let seeds = seeds();
    let mut trials = Vec::new();
    for i in 0..TRIALS * CLASSES.len() {
        let (class_name, class) = CLASSES[i % CLASSES.len()];
        let n_trials = (TRIALS * CLASSES.len()) as u64;
        let mut seeds = seeds.clone();
        seeds.retain(|seed| seed % n_trials == i as u64);
        let name = format!("walks::fuzzed::{class_name}_{}", i / CLASSES.len());
        trials.push(adapter::trial_of(Some(class), name, move |gpu| {
            seeds
                .into_iter()
                .try_for_each(|seed| check(seed, None, &gpu))
        }));
    }
    for (name, planted) in PLANTED {
        trials.push(adapter::trial(
            format!("walks::controls::{name}"),
            move |gpu| is_found(planted, &gpu),
        ));
    }
    trials
}

fn seeds() -> Vec<u64> {
    let number = |variable| std::env::var(variable).map(|n| n.parse().expect(variable));
    match (number(ONLY), number(CASES)) {
        (Ok(seed), _) => vec![seed],
        (Err(_), n) => (0..n.unwrap_or(USUAL_CASES)).collect(),
    }
}

fn between(random: &mut Random, from: usize, to: usize) -> usize {
    from + random.below(to + 1 - from)
}

fn flip(random: &mut Random) -> bool {
    random.below(2) == 0
}

fn one_of<T: Copy>(random: &mut Random, values: &[T]) -> T {
    values[random.below(values.len())]
}

fn is_found(planted: Planted, gpu: &Arc<Gpu>) -> Result<()> {
    for seed in 0..CONTROL_CASES {
        if let Err(error) = check(seed, Some(planted), gpu) {
            let is_difference = format!("{error:#}").contains(DIFFERENT);
            return if is_difference { Ok(()) } else { Err(error) };
        }
    }
    Err(anyhow!("no case shows another {planted:?}"))
}

fn check(seed: u64, planted: Option<Planted>, gpu: &Arc<Gpu>) -> Result<()> {
    let result = catch_unwind(AssertUnwindSafe(|| run(seed, planted, gpu)));
    let result = result.unwrap_or_else(|_| Err(anyhow!("a panic")));
    result.with_context(|| format!("{ONLY}={seed}"))
}

fn run(seed: u64, planted: Option<Planted>, gpu: &Arc<Gpu>) -> Result<()> {
    let model = random_model::draw(&mut Random::new(seed))?;
    let mut uploaded = random_model::draw(&mut Random::new(seed))?;
    if planted == Some(Planted::Rope) {
        for block in &mut uploaded.config.blocks {
            let rope = block.attention.rope;
            block.attention.rope = if rope.is_some() { None } else { Some(0) };
        }
    }
    let device_model = Arc::new(pollster::block_on(DeviceModel::upload(
        Arc::clone(gpu),
        &uploaded,
        &mut |_| {},
    ))?);
    let mut case = Case::new(&model, &device_model, Random::new(!seed), planted)?;
    for i in 0..BATCHES {
        case.step().with_context(|| format!("batch {i}"))?;
    }
    Ok(())
}
