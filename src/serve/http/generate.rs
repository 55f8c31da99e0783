//! The part that chats and completions have in common: jobs are queued, and their texts given out,
//! whole or as a stream.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::error::ApiError;
use super::form::Form;
use super::prepare::Prepared;
use super::reply::Reply;
use super::stream;
use super::track::Tally;
use crate::generate::Finish;
use crate::serve::app::App;
use crate::serve::batching::{Event, Piece};
use crate::serve::openai::{Head, Text};

/// Queues the jobs, all or none, and responds.
pub async fn respond(
    app: Arc<App>,
    prepared: Prepared,
    deadline: Instant,
    tally: Arc<Tally>,
) -> Result<Response, ApiError> {
    let generation = &prepared.generation;
    let counts = [prepared.jobs.len(), generation.n, prepared.n_prompt];
    let reply = Reply::new(prepared.events, deadline, counts, tally);
    app.queue.push(prepared.jobs)?;
    let form = Form {
        format: prepared.format,
        head: Head::new(prepared.format, generation.stream, &app.settings.name),
        with_logprobs: prepared.with_logprobs,
        include_usage: generation.include_usage,
        app,
    };
    match generation.stream {
        true => stream::respond(form, reply).await,
        false => whole(form, reply, counts[0]).await,
    }
}

/// All texts in one response.
async fn whole(form: Form, mut reply: Reply, n_texts: usize) -> Result<Response, ApiError> {
    let mut texts: Vec<(Vec<Piece>, Option<Finish>)> = Vec::new();
    texts.resize_with(n_texts, Default::default);
    while let Some((choice, event)) = reply.next().await? {
        let (pieces, finish) = &mut texts[choice];
        match event {
            Event::Pieces(new) => pieces.extend(new),
            Event::Ended(outcome) => *finish = Some(outcome.finish),
            Event::Started | Event::Failed(_) => {}
        }
    }
    let choices = texts.iter().enumerate().map(|(choice, (pieces, finish))| {
        let text = Text {
            choice,
            pieces,
            offset: 0,
            with_logprobs: form.with_logprobs,
            finish: *finish,
        };
        form.format.choice(&form.app.tokenizer, &text)
    });
    let mut response = form.head.response(choices.collect::<crate::Result<_>>()?);
    response["usage"] = reply.usage.json();
    Ok(Json(response).into_response())
}
