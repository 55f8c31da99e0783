//! Probabilities, in the two forms that OpenAI has for them.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::model::tokenizer::Tokenizer;
use crate::serve::batching::Piece;

/// The form of chats.
pub fn chat(tokenizer: &Tokenizer, pieces: &[Piece]) -> Result<Value> {
    let token = |id: u32, logprob: f64| -> Result<Value> {
        let text = tokenizer.decode(&[id], false)?;
        // A part of a character is no text, and what bytes it has the tokenizer does not say.
        let bytes = (!text.contains('\u{fffd}')).then_some(text.as_bytes());
        Ok(json!({"token": text, "logprob": logprob, "bytes": bytes}))
    };
    let mut content = Vec::new();
    for (piece, logprobs) in with_logprobs(pieces) {
        let mut drawn = token(piece.id, logprobs.drawn)?;
        let top = logprobs.top.iter().map(|&(id, logprob)| token(id, logprob));
        drawn["top_logprobs"] = top.collect::<Result<Vec<_>>>()?.into();
        content.push(drawn);
    }
    Ok(json!({"content": content, "refusal": null}))
}

/// The form of completions. The first of `pieces` begins `offset` characters into the text.
pub fn completion(tokenizer: &Tokenizer, pieces: &[Piece], mut offset: usize) -> Result<Value> {
    let mut tokens = Vec::new();
    let mut token_logprobs = Vec::new();
    let mut top_logprobs = Vec::new();
    let mut text_offset = Vec::new();
    for (piece, logprobs) in with_logprobs(pieces) {
        tokens.push(tokenizer.decode(&[piece.id], false)?);
        token_logprobs.push(logprobs.drawn);
        let mut top = Map::new();
        for &(id, logprob) in &logprobs.top {
            top.insert(tokenizer.decode(&[id], false)?, logprob.into());
        }
        top_logprobs.push(top);
        text_offset.push(offset);
        offset += piece.text.chars().count();
    }
    Ok(json!({
        "tokens": tokens,
        "token_logprobs": token_logprobs,
        "top_logprobs": top_logprobs,
        "text_offset": text_offset,
    }))
}

fn with_logprobs(
    pieces: &[Piece],
) -> impl Iterator<Item = (&Piece, &crate::serve::batching::TokenLogprobs)> {
    let all = pieces.iter();
    all.filter_map(|piece| Some((piece, piece.logprobs.as_ref()?)))
}
