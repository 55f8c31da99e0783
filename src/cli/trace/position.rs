//! The trace of one position of a text.

use serde::Serialize;

use crate::engine::sampling::top;
use crate::error::Result;
use crate::model::tokenizer::{TextStream, Tokenizer};
use crate::reference::Output;

/// One position, as `--json` prints it.
#[derive(Serialize)]
pub struct Position {
    pub position: usize,
    pub id: u32,
    /// The piece of text that the token adds, special tokens written out: empty for the first
    /// tokens of a character. `None` without a tokenizer.
    pub text: Option<String>,
    pub cycles: usize,
    /// Of the cycles that ran.
    pub scores: Vec<f32>,
    /// The likeliest next tokens: id, logit.
    pub top: Vec<(u32, f32)>,
    /// How these are called; ids without a tokenizer.
    #[serde(skip)]
    pub names: Vec<String>,
}

/// The positions of `ids` with their `n_top` likeliest next tokens.
pub fn positions(
    ids: &[u32],
    outputs: &[Output],
    tokenizer: Option<&Tokenizer>,
    n_top: usize,
) -> Result<Vec<Position>> {
    let mut stream = tokenizer.map(TextStream::with_special);
    let mut texts = Vec::new();
    let mut positions = Vec::new();
    for (position, (&id, output)) in ids.iter().zip(outputs).enumerate() {
        if let Some(stream) = &mut stream {
            texts.extend(stream.push(id)?);
        }
        let top = top(&output.logits, n_top);
        let names = top.iter().map(|&(id, _)| match &stream {
            Some(stream) => Ok(format!("{:?}", stream.name(id)?)),
            None => Ok(id.to_string()),
        });
        positions.push(Position {
            position,
            id,
            text: None,
            cycles: output.cycles,
            scores: output.scores.iter().take(output.cycles).copied().collect(),
            names: names.collect::<Result<_>>()?,
            top,
        });
    }
    if let Some(mut stream) = stream {
        texts.extend(stream.finish()?);
    }
    for (position, text) in positions.iter_mut().zip(texts) {
        position.text = Some(text);
    }
    Ok(positions)
}

/// The text of one token by itself, special or not.
pub fn token_text(id: u32, tokenizer: Option<&Tokenizer>) -> Result<Option<String>> {
    tokenizer.map(|t| t.decode(&[id], false)).transpose()
}

/// A token on one line: its text in quotes, or its id.
pub fn token_name(id: u32, text: Option<&str>) -> String {
    match text {
        Some(text) => format!("{text:?}"),
        None => id.to_string(),
    }
}

/// How many positions ran 1, 2, ... `n_cycles` cycles.
pub fn counts(positions: &[Position], n_cycles: usize) -> Vec<usize> {
    let mut counts = vec![0; n_cycles];
    for position in positions {
        if let Some(count) = counts.get_mut(position.cycles.wrapping_sub(1)) {
            *count += 1;
        }
    }
    counts
}
