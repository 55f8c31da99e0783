//! Texts as a stream of server-sent events.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::{Value, json};

use super::error::ApiError;
use super::form::Form;
use super::reply::Reply;
use crate::serve::batching::Event;
use crate::serve::openai::Text;

/// The last event, as OpenAI has it.
const DONE: &str = "[DONE]";

/// Responds with a stream. It waits for a sequence first, so that an error before that has a status
/// of its own.
pub async fn respond(form: Form, reply: Reply) -> Result<Response, ApiError> {
    let mut chunks = Chunks {
        form,
        reply,
        offsets: BTreeMap::new(),
        ready: VecDeque::new(),
        is_done: false,
    };
    chunks.advance().await?;
    let events = unfold(chunks, |mut chunks| async {
        let event = chunks.next().await?;
        Some((Ok::<_, Infallible>(event), chunks))
    });
    let stream = Sse::new(events).keep_alive(KeepAlive::default());
    Ok(stream.into_response())
}

/// The stream's state between events.
struct Chunks {
    form: Form,
    reply: Reply,
    /// Characters given out, by text.
    offsets: BTreeMap<usize, usize>,
    /// Events to be sent.
    ready: VecDeque<String>,
    /// Whether nothing comes after these.
    is_done: bool,
}

impl Chunks {
    async fn next(&mut self) -> Option<sse::Event> {
        while self.ready.is_empty() && !self.is_done {
            if let Err(e) = self.advance().await {
                self.ready.push_back(e.json().to_string());
                self.is_done = true;
            }
        }
        let data = self.ready.pop_front()?;
        Some(sse::Event::default().data(data))
    }

    /// Waits for the next event and makes it ready.
    async fn advance(&mut self) -> Result<(), ApiError> {
        let Some((choice, event)) = self.reply.next().await? else {
            if self.form.include_usage {
                let mut last = self.form.head.response(Vec::new());
                last["usage"] = self.reply.usage.json();
                self.ready.push_back(last.to_string());
            }
            self.ready.push_back(DONE.to_string());
            self.is_done = true;
            return Ok(());
        };
        let (pieces, finish) = match event {
            Event::Started => {
                let opening = self.form.format.opening(choice);
                opening.into_iter().for_each(|choice| self.send(choice));
                return Ok(());
            }
            Event::Pieces(pieces) => (pieces, None),
            Event::Ended(outcome) => (Vec::new(), Some(outcome.finish)),
            Event::Failed(message) => return Err(ApiError::unavailable(message)),
        };
        let offset = self.offsets.entry(choice).or_default();
        let text = Text {
            choice,
            pieces: &pieces,
            offset: *offset,
            with_logprobs: self.form.with_logprobs,
            finish,
        };
        let chunk = self.form.format.chunk(&self.form.app.tokenizer, &text)?;
        let n_characters = pieces.iter().map(|p| p.text.chars().count());
        *offset += n_characters.sum::<usize>();
        self.send(chunk);
        Ok(())
    }

    fn send(&mut self, choice: Value) {
        let mut chunk = self.form.head.response(vec![choice]);
        if self.form.include_usage {
            chunk["usage"] = json!(null);
        }
        self.ready.push_back(chunk.to_string());
    }
}
