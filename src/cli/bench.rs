//! `bench`: how fast a model runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use indicatif::ProgressBar;

use super::args::{
    AdapterArgs, HOST, LayerLoop, at_least_one, finite, kv_policy, kv_type, layer_loop, looped,
    parallel, quant, repetitions,
};
use super::bench_drafts::OnText;
use super::drafts::DraftArgs;
use super::measuring::{ReportArgs, SyntheticArgs, facts, format_for_stdout, open};
use super::{compare, printable, progress, scores, setup, stderr};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernels::KvType;
use crate::measure::device::read_peak;
use crate::measure::models::{Place, Running, Subject, Test};
use crate::measure::report::{Peaks, Report, Row};
use crate::measure::stopwatch::Stopwatch;
use crate::model::config::{ExitRule, KvPolicy};
use crate::model::quant::Quant;
use crate::model::{BUILTIN, Fetch, Model};
use crate::schedule::Walk;

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu bench ./model -p 512 -n 128
  ztt-wgpu bench --synthetic tiny --stored-cycles 4 --sweep-exit
  ztt-wgpu bench ./model -o json > before.json
  ztt-wgpu bench ./model --drafts text.txt --draft-ngram
  ztt-wgpu bench compare before.json after.json";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Checkpoints, as for `run` [default: builtin]
    #[arg(value_name = "MODEL", conflicts_with = "synthetic")]
    models: Vec<String>,

    /// Run layers A to B, counted from 0, N times, in models that run each layer once
    #[arg(long = "loop", value_name = "A-BxN", value_parser = layer_loop,
          conflicts_with = "synthetic")]
    layers: Option<LayerLoop>,

    /// Prompt lengths, 0 for none [default: 512, or what the model has positions for]
    #[arg(
        short = 'p',
        long,
        value_name = "N,...",
        value_delimiter = ',',
        help_heading = "Tests"
    )]
    n_prompt: Vec<usize>,

    /// Lengths of generated texts, 0 for none [default: 128]
    #[arg(
        short = 'n',
        long,
        value_name = "N,...",
        value_delimiter = ',',
        help_heading = "Tests"
    )]
    n_gen: Vec<usize>,

    /// Positions in the cache before
    #[arg(
        short = 'd',
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "0",
        help_heading = "Tests"
    )]
    n_depth: Vec<usize>,

    /// Texts at once, extended together
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = parallel,
          default_value = "1", help_heading = "Tests")]
    parallel: Vec<usize>,

    /// Repetitions of every test
    #[arg(short, long, value_name = "N", value_parser = repetitions, default_value_t = 5,
          help_heading = "Tests")]
    repetitions: usize,

    /// Repeat all tests of a model in turn, instead of one test after the other
    #[arg(long, help_heading = "Tests")]
    interleave: bool,

    /// Count the first repetition too
    #[arg(long, help_heading = "Tests")]
    no_warmup: bool,

    /// Quantise matrices on the way: q8_0, q4_0, `none` leaves them as stored
    #[arg(long, value_name = "FORMAT,...", value_delimiter = ',', value_parser = weights,
          default_value = "none", help_heading = "Device")]
    quant: Vec<Weights>,

    /// Run at most this many cycles [default: all]
    #[arg(long, value_name = "C,...", value_delimiter = ',', value_parser = at_least_one,
          help_heading = "Early exit")]
    cycles: Vec<usize>,

    /// Scores to exit the cycles at, `none` runs every cycle [default: the model's]
    #[arg(long, value_name = "S,...", value_delimiter = ',', value_parser = threshold,
          allow_negative_numbers = true, help_heading = "Early exit")]
    exit_threshold: Vec<Threshold>,

    /// Keys and values of skipped cycles: propagate, share [default: the model's]
    #[arg(long, value_name = "POLICY,...", value_delimiter = ',', value_parser = kv_policy,
          help_heading = "Early exit")]
    exit_kv: Vec<KvPolicy>,

    /// Speed against mean cycles: thresholds from 0 to 0.9, and none
    #[arg(long, conflicts_with = "exit_threshold", help_heading = "Early exit")]
    sweep_exit: bool,

    /// Measure what guesses gain on the text of this file, instead of plain speed: its parts, of
    /// `-p` tokens (64), are continued by `-n`, with guesses and without, by turns
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "synthetic",
        help_heading = "Drafts"
    )]
    drafts: Option<PathBuf>,

    #[command(flatten)]
    guesses: DraftArgs,

    #[command(flatten)]
    synthetic: SyntheticArgs,

    #[command(flatten)]
    report: ReportArgs,

    /// How keys and values are kept: f16, f32, q8_0
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',', value_parser = kv_type,
          default_value = "f16", help_heading = "Device")]
    kv_type: Vec<KvType>,

    #[command(flatten)]
    adapter: AdapterArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Compare two reports in JSON, of `bench` or of `microbench`
    Compare(compare::Args),
}

/// A score to exit the cycles at, or none.
#[derive(Clone, Copy)]
struct Threshold(Option<f64>);

fn threshold(text: &str) -> Result<Threshold, String> {
    match text {
        "none" => Ok(Threshold(None)),
        _ => match finite(text) {
            Ok(score) => Ok(Threshold(Some(score))),
            Err(_) => Err("expected a finite number or `none`".to_string()),
        },
    }
}

/// A format to quantise matrices in, or none.
#[derive(Clone, Copy)]
struct Weights(Option<Quant>);

fn weights(text: &str) -> Result<Weights, String> {
    match text {
        "none" => Ok(Weights(None)),
        _ => quant(text)
            .map(|quant| Weights(Some(quant)))
            .map_err(|e| format!("{e}, none")),
    }
}

pub fn main(args: Args) -> Result<()> {
    if let Some(Command::Compare(args)) = &args.command {
        return compare::main(args);
    }
    args.report.check()?;
    let gpu = device(&args)?;
    let models = open_models(&args)?;
    for model in &models {
        args.report.check_with(model)?;
    }
    if args.drafts.is_none() && args.guesses.drafts()?.any() {
        bail!("--draft-ngram and others: expected `--drafts FILE` beside them, found none");
    }
    let plans: Vec<(&Model, Vec<Test>)> = models
        .iter()
        .map(|model| Ok((model, tests(&args, model)?)))
        .collect::<Result<_>>()?;
    let facts = facts(gpu.as_deref());
    stderr::facts(&[("adapter", &setup::describe(gpu.as_deref()))]);
    let n_tests: usize = plans.iter().map(|(_, tests)| tests.len()).sum();
    let bar = ProgressBar::new(n_tests as u64);
    let bar = progress::styled(bar, "{pos} of {len} {elapsed} {msg}");
    let read_gb_per_s = match &gpu {
        Some(gpu) => {
            bar.set_message("the adapter's bandwidth");
            read_peak(&Stopwatch::new(gpu, 5))?
        }
        None => None,
    };
    let mut rows: Vec<Row> = Vec::new();
    for (model, tests) in plans {
        setup::warn(&model.warnings);
        bar.set_message(printable::one_line(&model.name).into_owned());
        let place = match &gpu {
            None => Place::Host,
            Some(gpu) => {
                let device_model = args.synthetic.upload(gpu, model, &mut |_| bar.tick())?;
                Place::Device(device_model)
            }
        };
        let subject = Subject {
            name: model.name.clone(),
            model,
            kernels: match place {
                Place::Host => "host".to_string(),
                Place::Device(ref device) => device.target().class.name().to_string(),
            },
            place,
            read_gb_per_s,
        };
        match &args.drafts {
            Some(file) => on_text(&args, file, &subject, &bar)?,
            None => rows.extend(run_tests(&args, &subject, tests, &bar)?),
        }
    }
    bar.finish_and_clear();
    if args.drafts.is_some() {
        return Ok(());
    }
    args.report.give_out(&Report {
        tool: "bench".to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        adapter: facts,
        peaks: Peaks {
            read_gb_per_s,
            ..Peaks::default()
        },
        rows,
    })
}

/// What guesses gain on the text of a file.
fn on_text(args: &Args, file: &Path, subject: &Subject<'_>, bar: &ProgressBar) -> Result<()> {
    bar.suspend(|| {
        let settings = args.first(subject.model)?;
        let format = format_for_stdout(args.report.output);
        let on_text = OnText::new(file, &args.guesses, settings, args.repetitions, format)?;
        on_text.measure(subject)
    })
}

impl Args {
    /// The first of all that are asked for, with the lengths of a prompt and of what follows it; 0
    /// for a prompt that is not asked for.
    fn first(&self, model: &Model) -> Result<Test> {
        let mut all = tests(self, model)?;
        let test = all.swap_remove(0);
        Ok(Test {
            n_prompt: self.n_prompt.first().copied().unwrap_or(0),
            n_gen: self.n_gen.first().copied().unwrap_or(128),
            ..test
        })
    }
}

/// The rows of a model's tests.
fn run_tests(
    args: &Args,
    subject: &Subject<'_>,
    tests: Vec<Test>,
    bar: &ProgressBar,
) -> Result<Vec<Row>> {
    // Tests in turn are all set up at a time.
    let at_a_time = match args.interleave {
        true => tests.len(),
        false => 1,
    };
    let mut rows = Vec::new();
    for tests in tests.chunks(at_a_time) {
        let mut running = tests
            .iter()
            .map(|test| Running::new(subject, test.clone()))
            .collect::<crate::Result<Vec<_>>>()?;
        for test in &mut running {
            if !args.no_warmup {
                test.warm_up()?;
            }
        }
        for _ in 0..args.repetitions {
            for (running, test) in running.iter_mut().zip(tests) {
                let name = printable::one_line(&subject.name);
                bar.set_message(format!("{name} {}", test.name()));
                running.repeat()?;
            }
        }
        rows.extend(running.iter().map(Running::row));
        bar.inc(tests.len() as u64);
    }
    Ok(rows)
}

/// The adapter to run on; `None` is the plain Rust reference.
fn device(args: &Args) -> Result<Option<Arc<Gpu>>> {
    let gpu = match args.adapter.is_host() {
        true => None,
        false => open(&args.adapter, false)?,
    };
    if gpu.is_none() && args.synthetic.on_device {
        bail!(
            "--on-device: expected a device, found `{}`, the plain Rust reference",
            HOST
        );
    }
    if gpu.is_none() && !args.adapter.is_host() {
        setup::warn(&[setup::no_adapter()]);
    }
    Ok(gpu)
}

/// Every model that is asked for, in every format of its weights.
fn open_models(args: &Args) -> Result<Vec<Model>> {
    let cycled = args.synthetic.cycled();
    let mut models = Vec::new();
    for &Weights(quant) in &args.quant {
        let open = |name| {
            let model = Model::open(name, Fetch::Never)?;
            looped(model, args.layers)?.with_quant(quant)
        };
        for preset in &args.synthetic.synthetic {
            models.push(args.synthetic.model(preset, cycled, quant)?);
        }
        for name in &args.models {
            models.push(open(name)?);
        }
        if args.models.is_empty() && args.synthetic.synthetic.is_empty() {
            models.push(open(BUILTIN)?);
        }
    }
    Ok(models)
}

/// Every combination that is asked for.
fn tests(args: &Args, model: &Model) -> Result<Vec<Test>> {
    let rule = model.config.exit();
    if args.sweep_exit {
        scores::check("--sweep-exit", model)?;
    }
    if args.exit_threshold.iter().any(|t| t.0.is_some()) {
        scores::check("--exit-threshold", model)?;
    }
    let thresholds: Vec<Option<f64>> = match (args.sweep_exit, args.exit_threshold.is_empty()) {
        (true, _) => (0..10)
            .map(|tenth| Some(f64::from(tenth) / 10.0))
            .chain([None])
            .collect(),
        (false, true) => vec![rule.threshold],
        (false, false) => args.exit_threshold.iter().map(|t| t.0).collect(),
    };
    let policies = match args.exit_kv.is_empty() {
        true => vec![rule.kv],
        false => args.exit_kv.clone(),
    };
    let caps = match args.cycles.is_empty() {
        true => vec![None],
        false => args.cycles.iter().map(|&c| Some(c)).collect(),
    };
    let mut tests = Vec::new();
    for &kv_type in &args.kv_type {
        for &cap in &caps {
            for &kv in &policies {
                for &threshold in &thresholds {
                    let exit = ExitRule {
                        threshold,
                        kv,
                        ..rule.clone()
                    };
                    // Caps are refused here, before anything runs.
                    Walk::new(&model.config, cap, &exit)?;
                    for (n_depth, n_prompt, n_gen, n_parallel) in loads(args, model)? {
                        tests.push(Test {
                            n_prompt,
                            n_gen,
                            n_depth,
                            n_parallel,
                            kv_type,
                            cap,
                            exit: exit.clone(),
                        });
                    }
                }
            }
        }
    }
    match tests.is_empty() {
        true => bail!("nothing to measure: expected a length above 0 for `-p` or `-n`"),
        false => Ok(tests),
    }
}

/// The loads to time: depth, lengths of prompt and of generated text, texts at once.
fn loads(args: &Args, model: &Model) -> Result<Vec<(usize, usize, usize, usize)>> {
    let mut loads = Vec::new();
    for &n_depth in &args.n_depth {
        for (n_prompt, n_gen) in lengths(args, model, n_depth)? {
            let all = args.parallel.iter();
            loads.extend(all.map(|&n_parallel| (n_depth, n_prompt, n_gen, n_parallel)));
        }
    }
    Ok(loads)
}

/// Lengths of prompts and of generated texts, one of each pair 0. Lengths that no flag sets are
/// made to fit the model.
fn lengths(args: &Args, model: &Model, n_depth: usize) -> Result<Vec<(usize, usize)>> {
    let maximum = model.config.max_positions;
    let room = maximum.saturating_sub(n_depth);
    let asked = |lengths: &[usize], default: usize| match lengths.is_empty() {
        true => vec![default.min(room)],
        false => lengths.to_vec(),
    };
    let prompts = asked(&args.n_prompt, 512).into_iter().map(|n| (n, 0));
    let generated = asked(&args.n_gen, 128).into_iter().map(|n| (0, n));
    let all: Vec<_> = prompts
        .chain(generated)
        .filter(|&(p, n)| p + n > 0)
        .collect();
    match all.iter().find(|(p, n)| p + n > room) {
        Some((p, n)) => Err(Error::Option {
            option: "-d with -p or -n",
            expected: format!("at most {maximum} positions, those of `{}`", model.name),
            found: n_depth.saturating_add(p + n).to_string(),
        }
        .into()),
        None => Ok(all),
    }
}
