//! The format of responses, whole ones and streams.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::logprobs;
use crate::error::Result;
use crate::generate::Finish;
use crate::model::tokenizer::Tokenizer;
use crate::serve::batching::Piece;

/// The two kinds of response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Chat,
    Completion,
}

/// A text, or the part of it that is new.
pub struct Text<'a> {
    /// Which of the request's texts.
    pub choice: usize,
    pub pieces: &'a [Piece],
    /// Characters of the text before these pieces.
    pub offset: usize,
    pub with_logprobs: bool,
    /// Why it ends here, if it does.
    pub finish: Option<Finish>,
}

impl Format {
    /// A choice of a whole response.
    pub fn choice(self, tokenizer: &Tokenizer, text: &Text) -> Result<Value> {
        Ok(self.whole(text, self.logprobs(tokenizer, text)?))
    }

    fn whole(self, text: &Text, logprobs: Value) -> Value {
        let content = text.content();
        let finish_reason = text.finish.map(finish_reason);
        let (key, value) = match self {
            Self::Chat => {
                let message = json!({"role": "assistant", "content": content, "refusal": null});
                ("message", message)
            }
            Self::Completion => ("text", content.into()),
        };
        json!({
            "index": text.choice,
            key: value,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        })
    }

    /// A choice of a part of a stream.
    pub fn chunk(self, tokenizer: &Tokenizer, text: &Text) -> Result<Value> {
        // A part without tokens has no probabilities either.
        let logprobs = if text.pieces.is_empty() {
            Value::Null
        } else {
            self.logprobs(tokenizer, text)?
        };
        match self {
            Self::Completion => Ok(self.whole(text, logprobs)),
            Self::Chat => {
                let delta = match (text.pieces.is_empty(), text.finish) {
                    (true, Some(_)) => json!({}),
                    _ => json!({"content": text.content()}),
                };
                Ok(delta_choice(text.choice, delta, logprobs, text.finish))
            }
        }
    }

    /// The choice that a stream's text begins with, where there is one.
    pub fn opening(self, choice: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        (self == Self::Chat).then(|| delta_choice(choice, delta, Value::Null, None))
    }

    /// Where they are asked for, be there no tokens.
    fn logprobs(self, tokenizer: &Tokenizer, text: &Text) -> Result<Value> {
        match (text.with_logprobs, self) {
            (false, _) => Ok(Value::Null),
            (true, Self::Chat) => logprobs::chat(tokenizer, text.pieces),
            (true, Self::Completion) => logprobs::completion(tokenizer, text.pieces, text.offset),
        }
    }
}

impl Text<'_> {
    fn content(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
    }
}

fn delta_choice(choice: usize, delta: Value, logprobs: Value, finish: Option<Finish>) -> Value {
    json!({
        "index": choice,
        "delta": delta,
        "logprobs": logprobs,
        "finish_reason": finish.map(finish_reason),
    })
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Eos | Finish::StopString | Finish::Interrupted => "stop",
        Finish::Length | Finish::Context => "length",
    }
}

/// The fields that all parts of a response begin with.
pub struct Head {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
}

impl Head {
    /// Of a response that is made now.
    pub fn new(format: Format, stream: bool, model: &str) -> Self {
        let (prefix, object) = match (format, stream) {
            (Format::Chat, false) => ("chatcmpl", "chat.completion"),
            (Format::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
            (Format::Completion, _) => ("cmpl", "text_completion"),
        };
        Self {
            id: format!("{prefix}-{:032x}", rand::random::<u128>()),
            object,
            created: unix_time(),
            model: model.to_string(),
        }
    }

    /// A response or a part of one.
    pub fn response(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}

/// Seconds since 1970.
pub fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_without_tokens_have_empty_probabilities() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/tokenizers/llama.json"
        );
        let text = std::fs::read_to_string(file).unwrap();
        let tokenizer = Tokenizer::parse("m", file, &text).unwrap();
        let lists = json!({"tokens": [], "token_logprobs": [], "top_logprobs": [],
                           "text_offset": []});
        for (format, expected) in [
            (Format::Chat, json!({"content": [], "refusal": null})),
            (Format::Completion, lists),
        ] {
            let mut text = Text {
                choice: 0,
                pieces: &[],
                offset: 0,
                with_logprobs: true,
                finish: Some(Finish::Eos),
            };
            let whole = format.choice(&tokenizer, &text).unwrap();
            assert_eq!(whole["logprobs"], expected);
            let chunk = format.chunk(&tokenizer, &text).unwrap();
            assert_eq!(chunk["logprobs"], Value::Null);
            text.with_logprobs = false;
            let whole = format.choice(&tokenizer, &text).unwrap();
            assert_eq!(whole["logprobs"], Value::Null);
        }
    }
}
