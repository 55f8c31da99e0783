//! From the body of a request to the jobs it asks for.

use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant as Deadline;

use super::conversation;
use super::error::ApiError;
use super::reply::timed_out;
use crate::error::{Error, Result};
use crate::generate::StopRules;
use crate::model::check_ids;
use crate::serve::app::App;
use crate::serve::batching::{Event, Job};
use crate::serve::openai::{ChatRequest, CompletionRequest, Format, Generation, Prompt};

/// A request that can be run.
pub struct Prepared {
    pub format: Format,
    pub generation: Generation,
    pub with_logprobs: bool,
    pub jobs: Vec<Job>,
    pub events: UnboundedReceiver<(usize, Event)>,
    /// Tokens of all prompts.
    pub n_prompt: usize,
}

/// When a request came, and when it is late.
#[derive(Clone, Copy)]
pub struct Times {
    pub since: Instant,
    pub deadline: Deadline,
}

impl Times {
    /// Ends the work on a request that nobody waits for any more.
    pub fn check(self) -> Result<(), ApiError> {
        match Deadline::now() < self.deadline {
            true => Ok(()),
            false => Err(timed_out()),
        }
    }
}

/// Of the body of a chat.
pub fn chat(app: &App, body: &[u8], times: Times) -> Result<Prepared, ApiError> {
    let request = ChatRequest::parse(body)?;
    check_model(app, &request.generation)?;
    check_count(app, request.generation.n, 1)?;
    check_depth(app, &request.generation)?;
    let prompt = conversation::ids(app, request.messages, &request.variables, times)?;
    let (generation, n_top) = (request.generation, request.n_top);
    prepare(app, Format::Chat, vec![prompt], generation, n_top, times)
}

/// Of the body of a completion.
pub fn completion(app: &App, body: &[u8], times: Times) -> Result<Prepared, ApiError> {
    let request = CompletionRequest::parse(body)?;
    check_model(app, &request.generation)?;
    check_count(app, request.generation.n, request.prompts.len())?;
    check_depth(app, &request.generation)?;
    let prompts = request.prompts.into_iter().map(|prompt| {
        times.check()?;
        ids(app, prompt)
    });
    let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
    let (generation, n_top) = (request.generation, request.n_top);
    prepare(app, Format::Completion, prompts, generation, n_top, times)
}

fn check_model(app: &App, generation: &Generation) -> Result<(), ApiError> {
    let name = &app.settings.name;
    match &generation.model {
        Some(asked) if asked != name => Err(no_model(asked, name)),
        _ => Ok(()),
    }
}

/// There is one model.
pub fn no_model(asked: &str, name: &str) -> ApiError {
    let message = format!("no model is called `{asked}`: expected `{name}`");
    ApiError::new(StatusCode::NOT_FOUND, message)
        .with_param("model")
        .with_code("model_not_found")
}

/// The tokens of a prompt; where an empty text has none, it is the token that every text begins
/// with.
fn ids(app: &App, prompt: Prompt) -> Result<Vec<u32>, ApiError> {
    let ids = match prompt {
        Prompt::Text(text) => {
            check_length(app, &text, "prompt")?;
            app.tokenizer.encode(&text)?
        }
        Prompt::Ids(ids) => ids,
    };
    match (ids.is_empty(), app.bos) {
        (false, _) => Ok(ids),
        (true, Some(bos)) => Ok(vec![bos]),
        (true, None) => {
            let message = "the model has no `bos_token_id` to start from: expected a prompt, found an empty one";
            Err(ApiError::new(StatusCode::BAD_REQUEST, message).with_param("prompt"))
        }
    }
}

/// Refuses a text that has more tokens than the context holds, before it is made into them.
pub fn check_length(app: &App, text: &str, param: &str) -> Result<(), ApiError> {
    match app.max_prompt_bytes {
        Some(most) if text.len() > most => {
            let message = format!(
                "the prompt is too long: expected at most {} tokens, found {} bytes, and more than \
                 {most} are always more tokens",
                app.n_ctx,
                text.len()
            );
            let error = ApiError::new(StatusCode::BAD_REQUEST, message);
            let error = error.with_param(param);
            Err(error.with_code("context_length_exceeded"))
        }
        _ => {
            let fits = app.tokenizer.check_length(text, app.n_ctx);
            fits.map_err(|e| ApiError::from(e).with_param(param))
        }
    }
}

/// Refuses `n` texts of each prompt where those are more than one request may have.
fn check_count(app: &App, n: usize, n_prompts: usize) -> Result<(), ApiError> {
    let most = app.queue.most_of_one();
    let n_texts = n_prompts.saturating_mul(n);
    if n_texts <= most {
        return Ok(());
    }
    let message = format!(
        "too many texts for one request: expected at most {most}, half of what `--parallel` and \
         `--queue` have room for, found {n_texts}"
    );
    let param = if n_prompts > most { "prompt" } else { "n" };
    Err(ApiError::new(StatusCode::BAD_REQUEST, message).with_param(param))
}

/// Refuses more cycles than the model runs here, and exits on scores that it does not have.
fn check_depth(app: &App, generation: &Generation) -> Result<(), ApiError> {
    if generation.depth.asks_for_exits() && !app.has_scores {
        const FIELD: &str = "ztt.exit_threshold";
        let message = format!(
            "request: `{FIELD}`: expected none for a model whose cycles have no scores, found one"
        );
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message).with_param(FIELD));
    }
    let most = app.n_cycles;
    match generation.depth.cycles {
        Some(n) if n > most => {
            let message = format!(
                "request: `ztt.cycles`: expected 1 to {most}, the cycles that the model runs here, \
                 found {n}"
            );
            Err(ApiError::new(StatusCode::BAD_REQUEST, message).with_param("ztt.cycles"))
        }
        _ => Ok(()),
    }
}

/// Every text of every prompt.
fn prepare(
    app: &App,
    format: Format,
    prompts: Vec<Vec<u32>>,
    generation: Generation,
    n_top: Option<usize>,
    times: Times,
) -> Result<Prepared, ApiError> {
    let (sender, events) = unbounded_channel();
    let settings = &app.settings;
    let seed = generation.seed.or(settings.seed);
    let seed = seed.unwrap_or_else(rand::random);
    let n_prompt = prompts.iter().map(Vec::len).sum();
    let mut jobs = Vec::new();
    for prompt in prompts {
        check_ids(&prompt, app.n_vocab)?;
        let rules = StopRules {
            max_tokens: max_tokens(app, prompt.len(), generation.max_tokens)?,
            eos: match format {
                Format::Chat => app.eos.iter().copied().chain(app.turn_end).collect(),
                Format::Completion => app.eos.clone(),
            },
            strings: generation.stop.clone(),
            interrupt: Default::default(),
        };
        for i in 0..generation.n {
            jobs.push(Job {
                prompt: prompt.clone(),
                sampling: generation.sampling(&settings.sampling, seed, i),
                rules: rules.clone(),
                depth: generation.depth.over(app.rules),
                drafts: generation.depth.drafts(app.drafts),
                n_top,
                choice: jobs.len(),
                events: sender.clone(),
                since: times.since,
            });
        }
    }
    Ok(Prepared {
        format,
        generation,
        with_logprobs: n_top.is_some(),
        jobs,
        events,
        n_prompt,
    })
}

/// The tokens that may be generated after a prompt of `n_prompt` tokens. The last token of a text
/// is not run, so that it needs no room in the context.
fn max_tokens(app: &App, n_prompt: usize, asked: Option<usize>) -> Result<usize, ApiError> {
    let limit = app.n_ctx;
    match asked {
        _ if n_prompt > limit => Err(Error::ContextFull {
            limit,
            found: n_prompt,
        }
        .into()),
        Some(n) if n.saturating_sub(1) > limit - n_prompt => {
            let most = limit - n_prompt + 1;
            let message = format!(
                "prompt and `max_tokens` do not fit the context of {limit} tokens: expected at \
                 most {most} after a prompt of {n_prompt}, found {n}"
            );
            let error = ApiError::new(StatusCode::BAD_REQUEST, message);
            Err(error
                .with_param("max_tokens")
                .with_code("context_length_exceeded"))
        }
        Some(n) => Ok(n),
        None => Ok(app.settings.max_tokens),
    }
}
