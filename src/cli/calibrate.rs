//! `calibrate`: the exit threshold that saves most within a bound on the loss.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Result, bail};

use super::args::{DeviceArgs, ModelArgs, RuleArgs, percent};
use super::perplexity::policies;
use super::text::{TextArgs, bar, options};
use super::{output, scores, setup, stderr};
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

    /// Put the choice into the config.json of the checkpoint folder
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
    let gate = model.config.gate_threshold();
    let policies = match (args.rule.exit_kv, gate) {
        // No field says otherwise.
        (None, Some(_)) => vec![base.exit.kv],
        (asked, _) => policies(asked),
    };
    let bound = Bound {
        n_cycles: model.config.cycles(),
        policies: &policies,
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
    if gate.is_some() {
        let model = model.config.exit();
        setup::warn(&without_field(&args.rule, &model));
    }
    give_out(&calibration, base.exit, gate, file.as_deref())
}

/// Refuses a model without early exit.
fn check(model: &Model) -> Result<()> {
    scores::check("calibrate", model)?;
    match model.config.cycles() {
        1 => bail!(
            "calibrate: expected a model of at least 2 cycles, found `{}` with 1",
            model.name
        ),
        _ => Ok(()),
    }
}

/// What is said of flags that the config of a gated model has no fields for: none where they are
/// as the `model` itself is run.
fn without_field(rule: &RuleArgs, model: &ExitRule) -> Vec<String> {
    let min_cycles = rule.min_cycles.filter(|&n| n != model.min_cycles);
    let kv = rule.exit_kv.filter(|&kv| kv != model.kv);
    let prompt = rule.exit_prompt.filter(|&yes| yes);
    let flags = [
        min_cycles.map(|n| format!("`--min-cycles {n}`")),
        kv.map(|kv| format!("`--exit-kv {}`", kv.name())),
        prompt.map(|_| "`--exit-prompt yes`".to_string()),
    ];
    let flags: Vec<String> = flags.into_iter().flatten().collect();
    match flags.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "config.json has no field for {}: give the model the same when it is run",
            flags.join(", ")
        )],
    }
}

/// The figures for people, the fields for `config.json`, and the file where they are to be written.
/// `gate` is the field for the threshold of a learned gate.
fn give_out(
    calibration: &Calibration,
    rule: ExitRule,
    gate: Option<&str>,
    file: Option<&Path>,
) -> Result<()> {
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
        exit_block::write(file, &rule, gate)?;
        stderr::line(format!("wrote {}", file.display()));
    }
    output::json_line(&mut output::stdout(), &exit_block::to_json(&rule, gate))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::KvPolicy;

    #[test]
    fn flags_without_a_field_are_named() {
        let model = ExitRule {
            kv: KvPolicy::Share,
            ..ExitRule::default()
        };
        let rule = |min_cycles, exit_kv, exit_prompt| RuleArgs {
            min_cycles,
            exit_reduce: None,
            exit_kv,
            exit_prompt,
        };
        let same = rule(Some(1), Some(KvPolicy::Share), Some(false));
        assert!(without_field(&same, &model).is_empty());
        let other = rule(Some(2), Some(KvPolicy::Propagate), Some(true));
        let said = without_field(&other, &model).concat();
        for flag in [
            "`--min-cycles 2`",
            "`--exit-kv propagate`",
            "`--exit-prompt yes`",
        ] {
            assert!(said.contains(flag), "{said}");
        }
    }
}
