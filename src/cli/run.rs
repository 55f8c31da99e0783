//! `run`: a prompt in, text out, token by token.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::args::{EngineArgs, ModelArgs, fraction, not_negative, repeat_penalty};
use super::profile::Timed;
use super::{output, prompt, setup};
use crate::engine::Logits;
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::error::Error;
use crate::generate::{StopRules, Summary, Token, generate};
use crate::model::Model;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The text to continue; `-` reads standard input. Without one, a piped standard input is
    /// read where MODEL is given, and else the text starts from nothing
    #[arg(conflicts_with = "file")]
    prompt: Option<String>,

    /// Read the prompt from a file; one line break at its end is dropped
    #[arg(short, long)]
    file: Option<PathBuf>,

    /// Generate at most this many tokens [default: the model's, else 256]
    #[arg(short = 'n', long, value_name = "N")]
    max_tokens: Option<usize>,

    /// End the text before this string (may be given several times)
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Go on where the model would end its text
    #[arg(long)]
    ignore_eos: bool,

    /// Print JSON lines: one a token, then a summary
    #[arg(long)]
    json: bool,

    /// Say what a token asks of the device
    #[arg(long)]
    stats: bool,

    /// Say where the time goes, by phase and by kernel
    #[arg(long)]
    profile: bool,

    /// 0 is greedy [default: the model's, else 0.8]
    #[arg(long, value_name = "T", value_parser = not_negative, allow_negative_numbers = true,
           help_heading = "Sampling")]
    temperature: Option<f64>,

    /// Keep the K likeliest tokens, 0 keeps all [default: the model's, else 40]
    #[arg(long, value_name = "K", help_heading = "Sampling")]
    top_k: Option<usize>,

    /// Keep the likeliest tokens that reach this probability together
    /// [default: the model's, else 0.95]
    #[arg(long, value_name = "P", value_parser = fraction, allow_negative_numbers = true,
           help_heading = "Sampling")]
    top_p: Option<f64>,

    /// Keep tokens at least this fraction as likely as the likeliest
    /// [default: the model's, else 0.05]
    #[arg(long, value_name = "P", value_parser = fraction, allow_negative_numbers = true,
           help_heading = "Sampling")]
    min_p: Option<f64>,

    /// Make tokens of the last 64 less likely, 1 does not [default: the model's, else 1]
    #[arg(long, value_name = "X", value_parser = repeat_penalty, allow_negative_numbers = true,
           help_heading = "Sampling")]
    repeat_penalty: Option<f64>,

    /// The same seed gives the same text [default: random, printed]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    seed: Option<u64>,

    /// Draw tokens on the host even where the device can
    #[arg(long, help_heading = "Sampling")]
    host_sampling: bool,

    #[command(flatten)]
    engine: EngineArgs,
}

pub fn main(args: Args) -> Result<()> {
    let name = args.model.name();
    let model = args.model.open()?;
    let tokenizer = model.tokenizer()?;
    let prompt = match prompt::text(
        args.file.as_deref(),
        args.prompt.as_deref(),
        args.model.model.is_some(),
    )?
    .filter(|text| !text.is_empty())
    {
        Some(text) => tokenizer.encode(&text)?,
        None => Vec::new(),
    };
    let prompt = match (prompt.is_empty(), model.bos()) {
        (false, _) => prompt,
        (true, Some(bos)) => vec![bos],
        (true, None) => anyhow::bail!(
            "`{name}` has no `bos_token_id` to start from: expected a prompt, found none"
        ),
    };
    model.check_ids(&prompt)?;
    let limit = setup::n_ctx(args.engine.ctx, &model)?;
    if prompt.len() > limit {
        let found = prompt.len();
        return Err(Error::ContextFull { limit, found }.into());
    }
    let sampling = sampling(&args, &model);
    let seed = sampling.seed;
    let rules = StopRules {
        max_tokens: args
            .max_tokens
            .or(model.generation.max_tokens)
            .unwrap_or(256),
        eos: match args.ignore_eos {
            true => Vec::new(),
            false => model.eos().to_vec(),
        },
        strings: args
            .stop
            .iter()
            .filter(|s| !s.is_empty())
            .cloned()
            .collect(),
    };
    let mut sampler = Sampler::new(sampling, &prompt);
    let ready = setup::engine(&args.engine, &model, Logits::Last)?;
    let (mut engine, adapter) = (ready.engine, ready.adapter);
    if args.profile {
        engine.start_profile(None)?;
    }
    setup::warn(&ready.warnings);
    eprintln!("model    {name}\nadapter  {adapter}\nseed     {seed}");

    let mut out = output::stdout();
    let mut failure: Option<anyhow::Error> = None;
    let receive = |token: &Token| {
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
    ))?;
    if let Some(e) = failure {
        return Err(e);
    }
    match args.json {
        true => output::json_line(&mut out, &summary_json(&summary, name, &adapter, seed))?,
        false => output::text(&mut out, "\n")?,
    }
    eprint!("{}", summary_text(&summary));
    if args.stats {
        eprint!("{}", stats_text(&summary));
    }
    for (what, timed) in profiles(&summary) {
        eprint!("{}", timed.table(what));
    }
    Ok(())
}

/// Flags over `generation_config.json` over the defaults.
fn sampling(args: &Args, model: &Model) -> SamplingOptions {
    let file = &model.generation;
    let default = SamplingOptions::default();
    let greedy = (file.sample == Some(false)).then_some(0.0);
    SamplingOptions {
        temperature: args
            .temperature
            .or(greedy)
            .or(file.temperature)
            .unwrap_or(default.temperature),
        top_k: args.top_k.or(file.top_k).unwrap_or(default.top_k),
        top_p: args.top_p.or(file.top_p).unwrap_or(default.top_p),
        min_p: args.min_p.or(file.min_p).unwrap_or(default.min_p),
        repeat_penalty: args
            .repeat_penalty
            .or(file.repeat_penalty)
            .unwrap_or(default.repeat_penalty),
        seed: args.seed.unwrap_or_else(rand::random),
        on_host: args.host_sampling,
    }
}

fn per_second(n: usize, time: std::time::Duration) -> f64 {
    n as f64 / time.as_secs_f64().max(1e-9)
}

/// The profiles that were taken, of the prompt and of what was generated.
fn profiles(s: &Summary) -> Vec<(&'static str, Timed<'_>)> {
    let parts = [
        ("prompt", &s.prompt_profile, s.prompt_time, s.n_prompt),
        ("generation", &s.profile, s.pass_time, s.n_passes),
    ];
    let timed = parts
        .into_iter()
        .filter_map(|(what, profile, wall, n_tokens)| {
            let profile = profile.as_ref().filter(|p| !p.entries.is_empty())?;
            Some((
                what,
                Timed {
                    profile,
                    wall,
                    n_tokens,
                },
            ))
        });
    timed.collect()
}

fn summary_json(s: &Summary, model: &str, adapter: &str, seed: u64) -> serde_json::Value {
    let profiles = profiles(s).into_iter();
    let profiles: serde_json::Map<_, _> = profiles
        .map(|(what, timed)| (what.to_string(), timed.json()))
        .collect();
    let mut summary = json!({"summary": {
        "model": model,
        "adapter": adapter,
        "seed": seed,
        "finish": s.finish,
        "prompt_tokens": s.n_prompt,
        "generated_tokens": s.n_generated,
        "prompt_seconds": s.prompt_time.as_secs_f64(),
        "generation_seconds": s.pass_time.as_secs_f64(),
        "prompt_tokens_per_second": per_second(s.n_prompt, s.prompt_time),
        "generation_tokens_per_second": per_second(s.n_passes, s.pass_time),
        "mean_cycles": s.mean_cycles(),
        "exits": s.exits,
        "submissions_per_token": s.per_pass(s.work.submissions),
        "dispatches_per_token": s.per_pass(s.work.dispatches),
        "read_backs_per_token": s.per_pass(s.work.read_backs),
    }});
    if !profiles.is_empty() {
        summary["summary"]["profile"] = profiles.into();
    }
    summary
}

/// What was asked of the device for each token after the prompt.
fn stats_text(s: &Summary) -> String {
    let bytes = s.per_pass(s.work.moved.bytes());
    format!(
        "a token  {:.2} submissions, {:.1} dispatches, {:.2} read-backs; {} moved, {:.2} GB/s\n",
        s.per_pass(s.work.submissions),
        s.per_pass(s.work.dispatches),
        s.per_pass(s.work.read_backs),
        output::bytes(bytes as u64),
        s.work.moved.bytes() as f64 / s.pass_time.as_secs_f64().max(1e-9) / 1e9,
    )
}

fn summary_text(s: &Summary) -> String {
    let total: usize = s.exits.iter().sum();
    let shares: Vec<_> = (1..)
        .zip(&s.exits)
        .map(|(c, n)| {
            format!(
                "{c}: {n} ({:.0} %)",
                100.0 * *n as f64 / total.max(1) as f64
            )
        })
        .collect();
    format!(
        "\nprompt   {} tokens, {:.1} tokens/s\ngenerated {} tokens, {:.1} tokens/s\n\
         cycles   mean {:.2}, positions by cycles run: {}\n",
        s.n_prompt,
        per_second(s.n_prompt, s.prompt_time),
        s.n_generated,
        per_second(s.n_passes, s.pass_time),
        s.mean_cycles(),
        shares.join(", ")
    )
}
