//! `run`: a prompt in, text out, token by token.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::args::{EngineArgs, LoopedModelArgs};
use super::drafts::DraftArgs;
use super::generation::GenerationArgs;
use super::interrupt::{self, Interrupted};
use super::{output, prompt, setup, stderr, summary};
use crate::engine::sampling::Sampler;
use crate::error::Error;
use crate::generate::{Finish, Token, generate};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu run builtin \"ROMEO:\" -n 80 --seed 3
  ztt-wgpu run ./model \"The capital of France is\" --temperature 0
  ztt-wgpu run ./model --file prompt.txt --json > tokens.jsonl
  ztt-wgpu run ./model \"Call me\" --exit-threshold 0.3 --stats";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: LoopedModelArgs,

    /// The text to continue; `-` reads standard input. Without one, a piped standard input is
    /// read where MODEL is given, and else the text starts from nothing
    #[arg(conflicts_with = "file")]
    prompt: Option<String>,

    /// Read the prompt from a file; one line break at its end is dropped
    #[arg(short, long, help_heading = "Text")]
    file: Option<PathBuf>,

    /// Print JSON lines: one a token, then a summary
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Say what a token asks of the device
    #[arg(long, help_heading = "Output")]
    stats: bool,

    /// Say where the time goes, by phase and by kernel
    #[arg(long, help_heading = "Output")]
    profile: bool,

    #[command(flatten)]
    generation: GenerationArgs,

    #[command(flatten)]
    drafts: DraftArgs,

    #[command(flatten)]
    engine: EngineArgs,
}

pub fn main(args: Args) -> Result<()> {
    let name = args.model.name();
    let model = args.model.open()?.with_quant(args.engine.device.quant)?;
    let tokenizer = model.tokenizer()?;
    let text = prompt::text(
        args.file.as_deref(),
        args.prompt.as_deref(),
        args.model.is_given(),
    )?;
    let text = text.unwrap_or_default();
    let limit = setup::n_ctx(args.engine.ctx, &model)?;
    tokenizer.check_length(&text, limit)?;
    let prompt = tokenizer.encode(&text)?;
    let prompt = match (prompt.is_empty(), model.bos()) {
        (false, _) => prompt,
        (true, Some(bos)) => vec![bos],
        (true, None) => anyhow::bail!(
            "`{name}` has no `bos_token_id` to start from: expected a prompt, found none"
        ),
    };
    model.check_ids(&prompt)?;
    if prompt.len() > limit {
        let found = prompt.len();
        return Err(Error::ContextFull { limit, found }.into());
    }
    let sampling = args.generation.sampling(&model);
    let seed = sampling.seed;
    let mut sampler = Sampler::new(sampling, &prompt);
    let options = setup::text_options(&args.engine, &args.drafts, &model)?;
    let ready = setup::engine(&args.engine.device, &model, &options)?;
    let (mut engine, adapter) = (ready.engine, ready.adapter);
    if args.profile {
        engine.start_profile(None)?;
    }
    let n_prompt = prompt.len();
    let n_generated = Arc::new(AtomicUsize::new(0));
    let so_far = Arc::clone(&n_generated);
    let interrupt = interrupt::watch_and_end(move || {
        let n = so_far.load(Ordering::Relaxed);
        stderr::text(format!(
            "\ninterrupted, prompt of {n_prompt} tokens, {n} generated\n"
        ));
    })?;
    setup::warn(&ready.warnings);
    setup::warn(tokenizer.warnings());
    let shown_seed = seed.to_string();
    stderr::facts(&[
        ("model", name),
        ("adapter", &adapter),
        ("seed", &shown_seed),
    ]);

    let rules = args.generation.stop_rules(&model, interrupt);
    let mut out = output::stdout();
    let mut failure: Option<anyhow::Error> = None;
    let receive = |token: &Token| {
        n_generated.store(token.index + 1, Ordering::Relaxed);
        let written = match args.json {
            true => output::json_line(&mut out, token),
            false => output::text(&mut out, &token.text),
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                failure = Some(e);
                ControlFlow::Break(())
            }
        }
    };
    let summary = pollster::block_on(generate(
        &mut engine,
        Some(&tokenizer),
        &prompt,
        &mut sampler,
        &rules,
        receive,
    ));
    if let Some(e) = failure {
        return Err(e);
    }
    if summary.is_err() && !args.json && n_generated.load(Ordering::Relaxed) > 0 {
        // The message of the fault begins a line of its own.
        output::text(&mut out, "\n")?;
    }
    let summary = summary?;
    match args.json {
        true => {
            output::json_line(&mut out, &summary::json(&summary, name, &adapter, seed))?;
        }
        false => output::text(&mut out, "\n")?,
    }
    stderr::text(format!("\n{}", summary::text(&summary)));
    if args.stats {
        stderr::text(summary::work(&summary));
    }
    for (what, timed) in summary::profiles(&summary) {
        stderr::text(timed.table(what));
    }
    match summary.finish {
        Finish::Interrupted => Err(Interrupted.into()),
        _ => Ok(()),
    }
}
