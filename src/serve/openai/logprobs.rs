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
    let token = |text: &str, bytes: Vec<u8>, logprob: f64| json!({"token": text, "logprob": logprob, "bytes": bytes});
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
        top_logprobs.push(by_text(tokenizer, piece, logprobs));
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

/// The drawn token, be it among the likeliest or not, and the likeliest ones, by their text; the
/// drawn one has the text that it has in the answer. Of others with one text the likeliest has it,
/// and the next ones are called by their bytes, or else by their ids.
fn by_text(tokenizer: &Tokenizer, piece: &Piece, logprobs: &TokenLogprobs) -> Map<String, Value> {
    let mut map = Map::from_iter([(piece.text.clone(), logprobs.drawn.into())]);
    let others = logprobs.top.iter().filter(|other| other.id != piece.id);
    for candidate in others {
        let by_bytes = || bytes_name(&candidate_bytes(tokenizer, candidate));
        let mut name = candidate.name.clone();
        if map.contains_key(&name) {
            name = by_bytes();
        }
        if map.contains_key(&name) {
            name = format!("token_id:{}", candidate.id);
        }
        map.insert(name, candidate.logprob.into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tokenizer::{TextStream, fixture};

    fn tokenizer(kind: &str) -> Tokenizer {
        fixture(kind).1
    }

    /// The token `drawn` after `prompt`, with all of `top` as candidates.
    fn piece(tokenizer: &Tokenizer, prompt: &str, drawn: &str, top: &[&str]) -> Piece {
        let prompt = tokenizer.encode(prompt).unwrap();
        let mut stream = TextStream::after(tokenizer, &prompt).unwrap();
        let candidates = (1..).zip(top).map(|(i, token)| {
            let id = tokenizer.id(token).unwrap();
            Candidate {
                id,
                name: stream.name(id).unwrap(),
                logprob: -f64::from(i),
            }
        });
        let top: Vec<Candidate> = candidates.collect();
        let id = tokenizer.id(drawn).unwrap();
        let likely = top.iter().find(|candidate| candidate.id == id);
        let mut texts = stream.push(id).unwrap();
        texts.extend(stream.finish().unwrap());
        Piece {
            id,
            text: texts.concat(),
            logprobs: Some(TokenLogprobs {
                drawn: likely.map_or(-9.0, |candidate| candidate.logprob),
                top,
            }),
        }
    }

    #[test]
    fn tokens_of_one_text_are_told_apart() {
        let llama = tokenizer("llama");
        let top = ["a", "▁a", "<0x61>", "<0xF0>", "</s>"];
        let found = completion(&llama, &[piece(&llama, "I", "a", &top)], 0).unwrap();
        let expected = json!({"a": -1.0, " a": -2.0, "bytes:\\x61": -3.0, "bytes:\\xf0": -4.0,
                              "</s>": -5.0});
        assert_eq!(found["top_logprobs"][0], expected);
        assert_eq!(found["tokens"], json!(["a"]));
        // The drawn token has its text, be another one likelier.
        let found = completion(&llama, &[piece(&llama, "I", "<0x61>", &top)], 0).unwrap();
        assert_eq!(found["tokens"], json!(["a"]));
        assert_eq!(found["top_logprobs"][0]["a"], -3.0);
        assert_eq!(found["top_logprobs"][0]["bytes:\\x61"], -1.0);
        // The first token of a text has no blank.
        let found = completion(&llama, &[piece(&llama, "", "▁a", &["▁a", "a"])], 0).unwrap();
        assert_eq!(found["top_logprobs"][0]["a"], -1.0);
    }

    #[test]
    fn the_drawn_token_is_among_the_likeliest() {
        let llama = tokenizer("llama");
        for (drawn, top) in [
            ("a", &[][..]),
            ("a", &["▁a"]),
            // Others have its text.
            ("a", &["<0x61>", "▁a"]),
            ("<0x61>", &["a"]),
            ("<0xF0>", &["a"]),
            ("</s>", &["a", "</s>"]),
        ] {
            let found = completion(&llama, &[piece(&llama, "I", drawn, top)], 0).unwrap();
            let (text, map) = (&found["tokens"][0], &found["top_logprobs"][0]);
            let drawn_too = usize::from(!top.contains(&drawn));
            assert_eq!(map.as_object().unwrap().len(), top.len() + drawn_too);
            let value = &map[text.as_str().unwrap()];
            assert_eq!(value, &found["token_logprobs"][0], "{drawn}");
        }
    }

    #[test]
    fn many_tokens_of_one_text_have_a_name_each() {
        let llama = tokenizer("llama");
        let candidate = |id: u32| Candidate {
            id,
            name: "a".to_string(),
            logprob: -f64::from(id),
        };
        let mut drawn = piece(&llama, "I", "a", &[]);
        drawn.logprobs.as_mut().unwrap().top = [4, 5, 6].map(candidate).to_vec();
        let map = by_text(&llama, &drawn, drawn.logprobs.as_ref().unwrap());
        assert_eq!((map.len(), &map["a"]), (4, &json!(-9.0)), "{map:?}");
        for id in [4, 5, 6] {
            assert!(map.values().any(|value| *value == json!(-f64::from(id))));
        }
    }

    #[test]
    fn bytes_are_the_tokens_own() {
        for (kind, start, blank) in [("llama", "<0xF0>", "▁a"), ("byte_level", "ð", "Ġ")] {
            let tokenizer = tokenizer(kind);
            let found = chat(&tokenizer, &[piece(&tokenizer, "I", start, &[blank])]).unwrap();
            let token = &found["content"][0];
            assert_eq!(token["bytes"], json!([0xf0]), "{kind}");
            let top = &token["top_logprobs"][0];
            let text = top["token"].as_str().unwrap();
            assert!(text.starts_with(' '), "{kind}: {top}");
            assert_eq!(top["bytes"], json!(text.as_bytes()), "{kind}");
        }
    }
}
