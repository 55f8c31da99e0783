//! `perplexity`: how well a model predicts a text, with early exits and without.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::Result;

use super::args::{DeviceArgs, LoopedModelArgs, RuleArgs, at_least_one, finite};
use super::measuring::{facts, format, format_for_stdout};
use super::setup::{self, Placed};
use super::text::{TextArgs, bar, options};
use super::{output, scores, stderr};
use crate::engine::Options;
use crate::evaluate::sweep::{Setting, Trials, settings};
use crate::evaluate::windows;
use crate::measure::formats::Format;
use crate::measure::plot;
use crate::measure::quality::{QualityReport, QualityRow};
use crate::model::Model;
use crate::model::config::{KV_POLICIES, KvPolicy};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu perplexity ./model --file text.txt
  ztt-wgpu perplexity ./model --file text.txt --sweep --plot exits.svg
  ztt-wgpu perplexity ./model --file text.txt --exit-threshold 0.2,0.4 -o csv";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: LoopedModelArgs,

    #[command(flatten)]
    text: TextArgs,

    /// Run at most this many cycles: the full depth [default: all]
    #[arg(long, value_name = "C", value_parser = at_least_one, help_heading = "Early exit")]
    cycles: Option<usize>,

    /// Leave the cycles when the score reaches this; several make a sweep
    /// [default: the model's]
    #[arg(long, value_name = "S,...", value_delimiter = ',', value_parser = finite,
          allow_negative_numbers = true, conflicts_with = "no_exit", help_heading = "Early exit")]
    exit_threshold: Vec<f64>,

    /// Full depth alone
    #[arg(long, help_heading = "Early exit")]
    no_exit: bool,

    /// Every threshold [default: 0.1 to 0.9] with every policy (or that of `--exit-kv`), beside
    /// the fixed depths
    #[arg(long, conflicts_with = "no_exit", help_heading = "Early exit")]
    sweep: bool,

    #[command(flatten)]
    rule: RuleArgs,

    /// How the report is printed: table, md, csv, json, jsonl [default: table on a terminal, else
    /// md]
    #[arg(short, long, value_name = "FORMAT", value_parser = format, help_heading = "Report")]
    output: Option<Format>,

    /// Draw perplexity against mean cycles into this SVG file
    #[arg(long, value_name = "FILE.svg", help_heading = "Report")]
    plot: Option<PathBuf>,

    #[command(flatten)]
    device: DeviceArgs,
}

pub fn main(args: Args) -> Result<()> {
    output::check_files(&args.plot, None)?;
    let model = args.model.open()?.with_quant(args.device.quant)?;
    output::check_files(&args.plot, Some(&model))?;
    if let Some(file) = &args.plot {
        let text = [args.text.file.as_path()];
        output::check_others(file, text, "a file to write that is not the text")?;
    }
    let n_cycles = args.cycles.unwrap_or(model.config.cycles());
    let base = options(&args.text, args.cycles, &args.rule, &args.device, &model)?;
    let settings = asked(&args, &model, n_cycles)?;
    let ids = args.text.tokens(&model, 2)?;
    let n_positions = windows::n_positions(ids.len(), base.n_ctx)?;
    let placed = setup::place(&args.device, &model, &base)?;
    setup::warn(&placed.warnings);
    stderr::facts(&[("model", &model.name), ("adapter", &placed.adapter())]);
    let bar = bar(Some(n_positions * settings.len()));
    let trials = Trials {
        ids: &ids,
        base: &base,
        start: &|options: &Options| placed.engine(options),
        progress: &|n| bar.inc(n as u64),
        engine: &RefCell::default(),
    };
    let rows = pollster::block_on(trials.sweep(n_cycles, &settings))?;
    bar.finish_and_clear();
    let row = |(setting, figures)| QualityRow::new(setting, n_cycles, figures);
    let rows = rows.into_iter().map(row).collect();
    let report = report(&args, &placed, &base, ids.len(), rows);
    let format = format_for_stdout(args.output);
    output::report(format, &report.write(format)?)?;
    match &args.plot {
        Some(file) => output::write_file(file, &plot::quality(&report)?),
        None => Ok(()),
    }
}

/// The settings that the flags ask for, full depth among them.
fn asked(args: &Args, model: &Model, n_cycles: usize) -> Result<Vec<Setting>> {
    let given = &args.exit_threshold;
    let is_sweep = args.sweep || given.len() > 1;
    if is_sweep || !given.is_empty() {
        let option = match args.sweep {
            true => "--sweep",
            false => "--exit-threshold",
        };
        scores::check(option, model)?;
    }
    if is_sweep {
        let thresholds = match given.is_empty() {
            true => (1..10).map(|tenth| f64::from(tenth) / 10.0).collect(),
            false => given.clone(),
        };
        return Ok(settings(
            n_cycles,
            &thresholds,
            &policies(args.rule.exit_kv),
        ));
    }
    let rule = args.rule.over(model.config.exit());
    let source = model.config.score;
    let own = source.and_then(|source| source.threshold(rule.threshold));
    let threshold = given.first().copied().or(own);
    let may_exit = !args.no_exit && source.is_some();
    let exit = threshold
        .filter(|_| may_exit)
        .map(|threshold| Setting::Exit {
            threshold,
            kv: rule.kv,
        });
    Ok([Setting::Depth(n_cycles)].into_iter().chain(exit).collect())
}

/// The one that is asked for, or all.
pub fn policies(asked: Option<KvPolicy>) -> Vec<KvPolicy> {
    match asked {
        Some(kv) => vec![kv],
        None => KV_POLICIES.iter().map(|(_, kv)| *kv).collect(),
    }
}

/// The rows with the model and the text they were measured on.
fn report(
    args: &Args,
    placed: &Placed<'_>,
    options: &Options,
    n_tokens: usize,
    rows: Vec<QualityRow>,
) -> QualityReport {
    QualityReport {
        tool: "perplexity".to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        model: args.model.name().to_string(),
        adapter: facts(placed.gpu()),
        kv_type: placed.kv_type(options.kv_type).to_string(),
        text: args.text.name(),
        n_tokens,
        n_ctx: options.n_ctx,
        rows,
    }
}
