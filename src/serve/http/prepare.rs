//! From the body of a request to the jobs it asks for.

use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::conversation;
use super::error::ApiError;
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

/// Of the body of a chat.
pub fn chat(app: &App, body: &[u8], since: Instant) -> Result<Prepared, ApiError> {
    let request = ChatRequest::parse(body)?;
    check_model(app, &request.generation)?;
    let prompt = conversation::ids(app, request.messages)?;
    let (generation, n_top) = (request.generation, request.n_top);
    prepare(app, Format::Chat, vec![prompt], generation, n_top, since)
}

/// Of the body of a completion.
pub fn completion(app: &App, body: &[u8], since: Instant) -> Result<Prepared, ApiError> {
    let request = CompletionRequest::parse(body)?;
    check_model(app, &request.generation)?;
    let prompts = request.prompts.into_iter().map(|prompt| ids(app, prompt));
    let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
    let (generation, n_top) = (request.generation, request.n_top);
    prepare(app, Format::Completion, prompts, generation, n_top, since)
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

/// The tokens of a prompt; where an empty text has none, it is what every text begins with.
fn ids(app: &App, prompt: Prompt) -> Result<Vec<u32>, ApiError> {
    let ids = match prompt {
        Prompt::Text(text) => app.tokenizer.encode(&text)?,
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

/// Every text of every prompt.
fn prepare(
    app: &App,
    format: Format,
    prompts: Vec<Vec<u32>>,
    generation: Generation,
    n_top: Option<usize>,
    since: Instant,
) -> Result<Prepared, ApiError> {
    let (sender, events) = unbounded_channel();
    let settings = &app.settings;
    let seed = generation.seed.or(settings.seed);
    let seed = seed.unwrap_or_else(rand::random);
    let n_texts = prompts.len() * generation.n;
    if n_texts > app.queue.capacity() {
        let message = format!(
            "too many texts for one request: expected at most {}, found {n_texts}",
            app.queue.capacity()
        );
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message).with_param("n"));
    }
    let n_prompt = prompts.iter().map(Vec::len).sum();
    let mut jobs = Vec::with_capacity(n_texts);
    for prompt in prompts {
        check_ids(&prompt, app.n_vocab)?;
        let rules = StopRules {
            max_tokens: max_tokens(app, prompt.len(), generation.max_tokens)?,
            eos: app.eos.clone(),
            strings: generation.stop.clone(),
            interrupt: Default::default(),
        };
        for i in 0..generation.n {
            jobs.push(Job {
                prompt: prompt.clone(),
                sampling: generation.sampling(&settings.sampling, seed, i),
                rules: rules.clone(),
                n_top,
                choice: jobs.len(),
                events: sender.clone(),
                since,
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

/// What a text of a prompt of `n_prompt` tokens may grow by.
fn max_tokens(app: &App, n_prompt: usize, asked: Option<usize>) -> Result<usize, ApiError> {
    let limit = app.n_ctx;
    match asked {
        _ if n_prompt > limit => Err(Error::ContextFull {
            limit,
            found: n_prompt,
        }
        .into()),
        Some(n) if n_prompt + n > limit => {
            let message = format!(
                "prompt and `max_tokens` do not fit the context: expected at most {limit} tokens, \
                 found {n_prompt} and {n}"
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
