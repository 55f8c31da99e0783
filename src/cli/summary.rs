//! The summary of a generation, for people and for programs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::output;
use super::profile::Timed;
use crate::engine::DraftCounts;
use crate::generate::Summary;

fn per_second(n: usize, time: Duration) -> f64 {
    n as f64 / time.as_secs_f64().max(1e-9)
}

/// The profiles that were taken, of the prompt and of the generation.
pub fn profiles(s: &Summary) -> Vec<(&'static str, Timed<'_>)> {
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

/// The last line of `run --json`.
pub fn json(s: &Summary, model: &str, adapter: &str, seed: u64) -> Value {
    let profiles = profiles(s).into_iter();
    let profiles: Map<_, _> = profiles
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
    if let Some(drafts) = &s.drafts {
        summary["summary"]["drafts"] = drafts.json();
    }
    if !profiles.is_empty() {
        summary["summary"]["profile"] = profiles.into();
    }
    summary
}

/// The work of the device for each token after the prompt.
pub fn work(s: &Summary) -> String {
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

/// Tokens, how fast they were, and the cycles of their positions.
pub fn text(s: &Summary) -> String {
    let exits = s.exits.by_cycles();
    let total: usize = exits.iter().sum();
    let shares: Vec<_> = (1..)
        .zip(exits)
        .map(|(c, n)| {
            format!(
                "{c}: {n} ({:.0} %)",
                100.0 * *n as f64 / total.max(1) as f64
            )
        })
        .collect();
    let drafts = s.drafts.as_ref().map(drafts).unwrap_or_default();
    format!(
        "prompt   {} tokens, {:.1} tokens/s, the first token after {:.2} s\ngenerated {} tokens, {:.1} tokens/s\n\
         cycles   mean {:.2}, positions by cycles run: {}\n{drafts}",
        s.n_prompt,
        per_second(s.n_prompt, s.prompt_time),
        s.prompt_time.as_secs_f64(),
        s.n_generated,
        per_second(s.n_passes, s.pass_time),
        s.mean_cycles(),
        shares.join(", ")
    )
}

/// How guesses turned out, by their place in a draft.
fn drafts(counts: &DraftCounts) -> String {
    let (drafted, accepted) = counts.totals();
    let places = counts.accepted.iter().zip(&counts.drafted);
    let places = (1..)
        .zip(places)
        .map(|(place, (n, of))| format!("{place}: {n} of {of}"));
    let places: Vec<String> = places.collect();
    let by_place = match places.is_empty() {
        true => String::new(),
        false => format!(", by place: {}", places.join(", ")),
    };
    format!(
        "drafts   {accepted} of {drafted} guesses kept, {:.2} tokens a pass{by_place}\n",
        counts.tokens_a_pass()
    )
}
