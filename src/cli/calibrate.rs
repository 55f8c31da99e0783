//! `calibrate`: the exit threshold that saves most within a bound on the loss.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Result, bail};

use super::args::{DeviceArgs, ModelArgs, RuleArgs, percent};
use super::perplexity::policies;
use super::text::{TextArgs, bar, options};
use super::{output, setup, stderr};
use crate::engine::Options;
use crate::evaluate::calibrate::{Bound, Calibration, Half, LEAST_TOKENS, calibrate};
use crate::evaluate::figures::Figures;
use crate::evaluate::sweep::Trials;
use crate::evaluate::windows::windows;
use crate::model::Model;
use crate::model::config::ExitRule;
use crate::model::exit_block;

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu calibrate ./model --file text.txt --max-loss 1%
  ztt-wgpu calibrate ./model --file text.txt --max-loss 0.5% --write";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    text: TextArgs,

    /// By how much the perplexity may rise over full depth, such as `1%`
    #[arg(long, value_name = "P%", value_parser = percent, default_value = "1%",
          allow_hyphen_values = true, help_heading = "Result")]
    max_loss: f64,

    /// Put the block into the config.json of the checkpoint folder
    #[arg(long, help_heading = "Result")]
    write: bool,

    #[command(flatten)]
    rule: RuleArgs,

    #[command(flatten)]
    device: DeviceArgs,
}

pub fn main(args: Args) -> Result<()> {
    let model = args.model.open()?.with_quant(args.device.quant)?;
    check(&model)?;
    let file = match args.write {
        true => Some(exit_block::config_file(args.model.name())?),
        false => None,
    };
    let base = options(&args.text, None, &args.rule, &args.device, &model)?;
    let ids = args.text.tokens(&model, LEAST_TOKENS)?;
    windows(ids.len(), base.n_ctx)?;
    let placed = setup::place(&args.device, &model, &base)?;
    setup::warn(&placed.warnings);
    stderr::facts(&[("model", &model.name), ("adapter", &placed.adapter())]);
    let bar = bar(None);
    let trials = Trials {
        ids: &ids,
        base: &base,
        start: &|options: &Options| placed.engine(options),
        progress: &|n| bar.inc(n as u64),
        engine: &RefCell::default(),
    };
    let bound = Bound {
        n_cycles: model.config.cycles(),
        policies: &policies(args.rule.exit_kv),
        max_rise_percent: args.max_loss,
    };
    let calibration = pollster::block_on(calibrate(&trials, &bound))?;
    bar.finish_and_clear();
    let Some(calibration) = calibration else {
        bail!(
            "--max-loss: expected a bound that some exit threshold keeps, found {}%, which none \
             does that saves a cycle: run `{}` at full depth (`--no-exit`)",
            args.max_loss,
            model.name
        );
    };
    give_out(&calibration, base.exit, file.as_deref())
}

/// Refuses a model without early exit.
fn check(model: &Model) -> Result<()> {
    let name = &model.name;
    if model.config.score.is_none() {
        bail!("calibrate: expected a model with zero tokens, found `{name}` without");
    }
    match model.config.cycles() {
        1 => bail!("calibrate: expected a model of at least 2 cycles, found `{name}` with 1"),
        _ => Ok(()),
    }
}

/// The figures for people, the block for `config.json`, and the file where it is to be written.
fn give_out(calibration: &Calibration, rule: ExitRule, file: Option<&Path>) -> Result<()> {
    let rule = ExitRule {
        threshold: Some(calibration.threshold),
        kv: calibration.kv,
        ..rule
    };
    stderr::text(format!(
        "chosen on the first half\n{}\n",
        half(&calibration.first)
    ));
    stderr::text(format!(
        "tried on the second half\n{}\n",
        half(&calibration.second)
    ));
    if let Some(file) = file {
        exit_block::write(file, &rule)?;
        stderr::line(format!("wrote {}", file.display()));
    }
    output::json_line(&mut output::stdout(), &exit_block::to_json(&rule))
}

fn half(half: &Half) -> String {
    let line = |what: &str, figures: &Figures| {
        format!(
            "  {what:<10} perplexity {:.3}, mean cycles {:.3}",
            figures.perplexity, figures.mean_cycles
        )
    };
    format!(
        "{}\n{}, a rise of {:.2} %",
        line("full depth", &half.full),
        line("the choice", &half.choice),
        half.rise_percent()
    )
}
