//! `trace`: what every position of a text did.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

use super::args::{EngineArgs, ModelArgs};
use super::{output, prompt, setup};
use crate::engine::Logits;
use crate::engine::sampling::top;
use crate::error::Error;
use crate::model::Model;
use crate::model::tokenizer::Tokenizer;
use crate::reference::Output;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The text; `-` reads standard input. Without one, a piped standard input is read where
    /// MODEL is given, and else the trace is of the token a text begins with
    #[arg(conflicts_with = "ids")]
    text: Option<String>,

    /// Token ids instead of a text, separated by blanks or commas; needs no tokenizer
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    ids: Option<String>,

    /// Feed the positions one by one instead of as a prompt
    #[arg(long)]
    decode: bool,

    /// Show this many of the likeliest next tokens
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,

    /// Print JSON lines, one a position
    #[arg(long)]
    json: bool,

    /// Write logits `[T, vocab]`, cycles `[T]` and scores `[T, cycles]` to a safetensors file
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineArgs,
}

/// One position.
#[derive(Serialize)]
struct Line {
    position: usize,
    id: u32,
    /// `None` without a tokenizer.
    text: Option<String>,
    cycles: usize,
    /// Of the cycles that ran.
    scores: Vec<f32>,
    /// The likeliest next tokens: id, logit.
    top: Vec<(u32, f32)>,
}

pub fn main(args: Args) -> Result<()> {
    let name = args.model.name();
    let model = args.model.open()?;
    let text = match args.ids {
        Some(_) => None,
        None => prompt::text(None, args.text.as_deref(), args.model.model.is_some())?,
    };
    let text = text.filter(|text| !text.is_empty());
    let needs_text = text.is_some();
    let tokenizer = match model.has_tokenizer() || needs_text {
        true => Some(model.tokenizer()?),
        false => None,
    };
    let ids = token_ids(
        args.ids.as_deref(),
        text.as_deref(),
        &model,
        tokenizer.as_ref(),
    )?;
    let limit = setup::n_ctx(args.engine.ctx, &model)?;
    if ids.len() > limit {
        let found = ids.len();
        return Err(Error::ContextFull { limit, found }.into());
    }
    let ready = setup::engine(&args.engine, &model, Logits::All)?;
    let mut engine = ready.engine;
    let outputs = pollster::block_on(async {
        match args.decode {
            false => engine.forward(&ids, Logits::All).await,
            true => {
                let mut outputs = Vec::new();
                for &id in &ids {
                    outputs.extend(engine.forward(&[id], Logits::Last).await?);
                }
                Ok(outputs)
            }
        }
    })?;
    if let Some(path) = &args.logits {
        write_logits(path, &outputs, model.config.vocab)?;
    }
    setup::warn(&ready.warnings);
    eprintln!("model    {name}\nadapter  {}", ready.adapter);
    let mut out = output::stdout();
    for (position, (&id, output)) in ids.iter().zip(&outputs).enumerate() {
        let line = Line {
            position,
            id,
            text: tokenizer
                .as_ref()
                .map(|t| t.decode(&[id], false))
                .transpose()?,
            cycles: output.cycles,
            scores: output.scores.iter().take(output.cycles).copied().collect(),
            top: top(&output.logits, args.top),
        };
        match args.json {
            true => output::json_line(&mut out, &line)?,
            false => output::text(&mut out, &for_people(&line, tokenizer.as_ref())?)?,
        }
    }
    Ok(())
}

/// The ids to trace, from `--ids`, the text, or the model's first token.
fn token_ids(
    ids: Option<&str>,
    text: Option<&str>,
    model: &Model,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<u32>> {
    let ids = match (ids, text, tokenizer) {
        (Some(list), _, _) => parse_ids(list, model.config.vocab)?,
        (None, Some(text), Some(tokenizer)) => tokenizer.encode(text)?,
        _ => Vec::new(),
    };
    let ids = match (ids.is_empty(), model.bos()) {
        (true, Some(bos)) => vec![bos],
        (true, None) => anyhow::bail!(
            "`{}` has no `bos_token_id` to start from: expected a text or `--ids`, found neither",
            model.name
        ),
        (false, _) => ids,
    };
    model.check_ids(&ids)?;
    Ok(ids)
}

fn parse_ids(list: &str, vocab: usize) -> Result<Vec<u32>> {
    let words = list.split([' ', ',', '\n', '\t']).filter(|w| !w.is_empty());
    let ids: Result<Vec<u32>> = words
        .map(|word| {
            let id: i64 = word
                .parse()
                .ok()
                .with_context(|| format!("--ids: expected token ids, found `{word}`"))?;
            let inside = u32::try_from(id).ok().filter(|&id| (id as usize) < vocab);
            Ok(inside.ok_or(Error::TokenOutside { id, vocab })?)
        })
        .collect();
    match ids {
        Ok(ids) if ids.is_empty() => anyhow::bail!("--ids: expected token ids, found none"),
        other => other,
    }
}

/// A line for people: position, token, cycles, scores, likeliest next tokens.
fn for_people(line: &Line, tokenizer: Option<&Tokenizer>) -> Result<String> {
    let show = |id: u32, text: Option<&str>| match text {
        Some(text) => format!("{text:?}"),
        None => id.to_string(),
    };
    let scores: Vec<_> = line.scores.iter().map(|s| format!("{s:.3}")).collect();
    let mut next = Vec::new();
    for &(id, logit) in &line.top {
        let text = tokenizer.map(|t| t.decode(&[id], false)).transpose()?;
        next.push(format!("{} {logit:.2}", show(id, text.as_deref())));
    }
    Ok(format!(
        "{:>5}  {:<14}  cycles {}  scores {:<21}  next {}\n",
        line.position,
        show(line.id, line.text.as_deref()),
        line.cycles,
        if scores.is_empty() {
            "-".to_string()
        } else {
            scores.join(" ")
        },
        next.join(", ")
    ))
}

/// F32 `logits` `[T, vocab]`, I32 `cycles` `[T]`, and with a pool F32 `scores` `[T, cycles]`.
fn write_logits(path: &Path, outputs: &[Output], vocab: usize) -> Result<()> {
    let logits: Vec<f32> = outputs
        .iter()
        .flat_map(|o| o.logits.iter().copied())
        .collect();
    let cycles: Vec<i32> = outputs.iter().map(|o| o.cycles as i32).collect();
    let scores: Vec<f32> = outputs
        .iter()
        .flat_map(|o| o.scores.iter().copied())
        .collect();
    let n = outputs.len();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).context("tensor");
    let mut tensors = vec![
        (
            "logits",
            view(Dtype::F32, vec![n, vocab], bytemuck::cast_slice(&logits))?,
        ),
        (
            "cycles",
            view(Dtype::I32, vec![n], bytemuck::cast_slice(&cycles))?,
        ),
    ];
    if !scores.is_empty() {
        let shape = vec![n, scores.len() / n];
        tensors.push((
            "scores",
            view(Dtype::F32, shape, bytemuck::cast_slice(&scores))?,
        ));
    }
    let shown = path.display();
    let bytes = safetensors::serialize(tensors, None)?;
    std::fs::write(path, bytes).with_context(|| format!("`{shown}`"))
}
