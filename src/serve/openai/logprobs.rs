//! Probabilities, in the two forms that OpenAI has for them.
//!
//! The texts of the drawn tokens join to the text, and so do their bytes: the first tokens of a
//! character have bytes and no text, special tokens that the text leaves out have neither. Tokens
//! that were not drawn have names where they have no text.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::model::tokenizer::{Tokenizer, bytes_name};
use crate::serve::batching::{Candidate, Piece, TokenLogprobs};

/// The form of chats.
pub fn chat(tokenizer: &Tokenizer, pieces: &[Piece]) -> Result<Value> {
    let token = |text: &str, bytes: Vec<u8>, logprob: f64| {
        json!({"token": text, "logprob": logprob, "bytes": bytes})
    };
    let mut content = Vec::new();
    for (piece, logprobs) in with_logprobs(pieces) {
        let bytes = tokenizer.bytes(piece.id, &piece.text);
        let top = logprobs.top.iter().map(|candidate| {
            let (text, bytes) = match candidate.id == piece.id {
                true => (&piece.text, bytes.clone()),
                false => (&candidate.name, candidate_bytes(tokenizer, candidate)),
            };
            token(text, bytes, candidate.logprob)
        });
        let top: Vec<Value> = top.collect();
        let mut drawn = token(&piece.text, bytes, logprobs.drawn);
        drawn["top_logprobs"] = top.into();
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
        tokens.push(piece.text.as_str());
        token_logprobs.push(logprobs.drawn);
        top_logprobs.push(by_text(tokenizer, piece, &logprobs.top));
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

/// Candidates by their text, the drawn token by that in the text. Of two with one text, the
/// drawn or else the likelier one has it, and the other one is called by its bytes.
fn by_text(tokenizer: &Tokenizer, piece: &Piece, top: &[Candidate]) -> Map<String, Value> {
    let mut map = Map::new();
    let drawn = top.iter().find(|candidate| candidate.id == piece.id);
    if let Some(drawn) = drawn {
        map.insert(piece.text.clone(), drawn.logprob.into());
    }
    for candidate in top.iter().filter(|candidate| candidate.id != piece.id) {
        let mut name = candidate.name.clone();
        if map.contains_key(&name) {
            name = bytes_name(&candidate_bytes(tokenizer, candidate));
        }
        map.entry(name).or_insert_with(|| candidate.logprob.into());
    }
    map
}

fn candidate_bytes(tokenizer: &Tokenizer, candidate: &Candidate) -> Vec<u8> {
    tokenizer.bytes(candidate.id, &candidate.name)
}

fn with_logprobs(pieces: &[Piece]) -> impl Iterator<Item = (&Piece, &TokenLogprobs)> {
    let all = pieces.iter();
    all.filter_map(|piece| Some((piece, piece.logprobs.as_ref()?)))
}
