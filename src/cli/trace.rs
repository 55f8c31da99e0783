//! `trace`: the cycles, scores and top tokens of every position of a text.

mod flow;
mod ids;
mod logits;
mod page;
mod position;
mod terminal;

use std::path::PathBuf;

use anstream::ColorChoice;
use anstyle::Style;
use anyhow::Result;

use super::args::{EngineArgs, LoopedModelArgs};
use super::{color, output, prompt, setup, stderr};
use crate::engine::{Engine, Logits, Wants};
use crate::error::Error;
use crate::model::Model;
use crate::model::tokenizer::Tokenizer;
use crate::reference::Output;
use crate::schedule::TextRules;
use page::Setting;
use position::Position;

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu trace builtin \"Call me Ishmael.\"
  ztt-wgpu trace ./model \"Call me Ishmael.\" --html trace.html
  ztt-wgpu trace ./model --ids \"1 2 3\" --logits logits.safetensors";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: LoopedModelArgs,

    /// The text; `-` reads standard input. Without one, a piped standard input is read where
    /// MODEL is given, and else the trace is of the token a text begins with
    #[arg(conflicts_with = "ids")]
    text: Option<String>,

    /// Token ids instead of a text, separated by blanks or commas; needs no tokenizer
    #[arg(
        long,
        value_name = "IDS",
        allow_hyphen_values = true,
        help_heading = "Text"
    )]
    ids: Option<String>,

    /// Feed the positions one by one instead of as a prompt
    #[arg(long, help_heading = "Text")]
    decode: bool,

    /// Take positions from this one on as drawn and not given: they leave the cycles even with
    /// --exit-prompt no [default: all are given]
    #[arg(long, value_name = "POSITION", help_heading = "Early exit")]
    exit_from: Option<usize>,

    /// Show this many of the likeliest next tokens
    #[arg(long, value_name = "K", default_value_t = 5, help_heading = "Output")]
    top: usize,

    /// Print JSON lines, one a position
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Write logits `[T, vocab]`, cycles `[T]` and scores `[T, cycles]` to a safetensors file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    logits: Option<PathBuf>,

    /// Write a page that shows the text by cycles, the scores, and each position on its own; it
    /// needs no other file and no network
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,

    /// Colour the tokens by the cycles they took: auto (on a terminal), always, never
    #[arg(long, value_name = "WHEN", value_parser = color::choice, default_value = "auto",
          help_heading = "Output")]
    color: ColorChoice,

    #[command(flatten)]
    engine: EngineArgs,
}

/// A traced text: tokens, outputs and positions.
struct Trace {
    tokenizer: Option<Tokenizer>,
    ids: Vec<u32>,
    outputs: Vec<Output>,
    positions: Vec<Position>,
    /// The most that a position could run.
    n_cycles: usize,
}

pub fn main(args: Args) -> Result<()> {
    let name = args.model.name();
    let model = args.model.open()?.with_quant(args.engine.device.quant)?;
    let (ids, tokenizer) = input(&args, &model)?;
    output::check_files(
        [&args.logits, &args.html].into_iter().flatten(),
        Some(&model),
    )?;
    let options = setup::options(&args.engine, &model, Logits::All)?;
    let mut ready = setup::engine(&args.engine.device, &model, &options)?;
    let n_prompt = args.exit_from.unwrap_or(ids.len()).min(ids.len());
    let outputs = forward(&mut ready.engine, &ids, n_prompt, args.decode)?;
    if let Some(path) = &args.logits {
        logits::write(path, &outputs, model.config.vocab)?;
    }
    let trace = Trace {
        positions: position::positions(&ids, &outputs, tokenizer.as_ref(), args.top)?,
        n_cycles: args.engine.cycles.unwrap_or(model.config.cycles()),
        tokenizer,
        ids,
        outputs,
    };
    if let Some(path) = &args.html {
        let setting = Setting {
            model: name,
            adapter: &ready.facts,
            rule: args.engine.exit_rule(model.config.exit()),
            score: model.config.score,
        };
        output::write_file(path, &page::html(&setting, &trace)?)?;
    }
    setup::warn(&ready.warnings);
    setup::warn(trace.tokenizer.as_ref().map_or(&[], |t| t.warnings()));
    stderr::facts(&[("model", name), ("adapter", &ready.adapter)]);
    if args.exit_from.is_some() {
        let rules = ready.engine.rules();
        stderr::facts(&[("prompt", &prompt_line(n_prompt, rules))]);
    }
    match args.json {
        true => print_json(&trace),
        false => print_text(&trace, args.color),
    }
}

/// The token ids to trace, and the tokenizer. Both are checked, so that nothing is loaded for an
/// input that cannot be run.
fn input(args: &Args, model: &Model) -> Result<(Vec<u32>, Option<Tokenizer>)> {
    let text = match args.ids {
        Some(_) => None,
        None => prompt::text(None, args.text.as_deref(), args.model.is_given())?,
    };
    let needs_text = text.as_ref().is_some_and(|text| !text.is_empty());
    let tokenizer = match model.has_tokenizer() || needs_text {
        true => Some(model.tokenizer()?),
        false => None,
    };
    let limit = setup::n_ctx(args.engine.ctx, model)?;
    if let (Some(tokenizer), Some(text)) = (&tokenizer, &text) {
        tokenizer.check_length(text, limit)?;
    }
    let ids = ids::token_ids(
        args.ids.as_deref(),
        text.as_deref(),
        model,
        tokenizer.as_ref(),
    )?;
    let found = ids.len();
    match found > limit {
        true => Err(Error::ContextFull { limit, found }.into()),
        false => Ok((ids, tokenizer)),
    }
}

/// What was taken for the prompt, and whether that may leave the cycles.
fn prompt_line(n_prompt: usize, rules: TextRules) -> String {
    let exits = match (rules.drawn.threshold, rules.exit_prompt) {
        (None, _) => "no position exits",
        (_, true) => "which exit as those after them",
        (_, false) => "which do not exit",
    };
    format!("the first {n_prompt} positions, {exits}")
}

/// Runs the positions together, or one by one: the first `n_prompt` as a prompt, the others as if
/// they had been drawn.
fn forward(
    engine: &mut Engine,
    ids: &[u32],
    n_prompt: usize,
    one_by_one: bool,
) -> crate::Result<Vec<Output>> {
    let (prompt, drawn) = ids.split_at(n_prompt);
    let rules = engine.rules();
    let mut outputs = Vec::with_capacity(ids.len());
    for (ids, rule) in [(prompt, rules.prompt()), (drawn, rules.drawn)] {
        let n = if one_by_one { 1 } else { ids.len().max(1) };
        for ids in ids.chunks(n) {
            let running = engine.forward_by(rule, ids, Logits::All, Wants::LOGITS);
            outputs.extend(pollster::block_on(running)?);
        }
    }
    Ok(outputs)
}

fn print_json(trace: &Trace) -> Result<()> {
    let mut out = output::stdout();
    for position in &trace.positions {
        output::json_line(&mut out, position)?;
    }
    Ok(())
}

/// A line a position; in colours, the text first.
fn print_text(trace: &Trace, choice: ColorChoice) -> Result<()> {
    let mut out = color::stdout(choice);
    let colored = color::is_colored(&out);
    let tokenizer = trace.tokenizer.as_ref();
    if colored {
        let pieces = flow::pieces(&trace.ids, tokenizer)?;
        let flow = terminal::flow(&trace.positions, &pieces, trace.n_cycles);
        output::text(&mut out, &flow)?;
    }
    for position in &trace.positions {
        let style = match colored {
            true => color::of_cycles(position.cycles, trace.n_cycles),
            false => Style::new(),
        };
        output::text(&mut out, &terminal::line(position, style))?;
    }
    Ok(())
}
