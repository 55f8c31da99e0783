//! Which tokens are traced.

use anyhow::{Context, Result};

use crate::error::Error;
use crate::model::Model;
use crate::model::tokenizer::Tokenizer;

/// The ids to trace, from `--ids`, the text, be it empty, or the model's first token.
pub fn token_ids(
    ids: Option<&str>,
    text: Option<&str>,
    model: &Model,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<u32>> {
    let ids = match (ids, text, tokenizer) {
        (Some(list), _, _) => parse_ids(list, model.config.vocab)?,
        (None, text, Some(tokenizer)) => tokenizer.encode(text.unwrap_or_default())?,
        _ => Vec::new(),
    };
    let ids = match (ids.is_empty(), model.bos()) {
        (true, Some(bos)) => vec![bos],
        (true, None) => anyhow::bail!(
            "`{}` has no `bos_token_id` to start from: expected a text or `--ids`, found neither",
            model.name
        ),
        (false, _) => ids,
    };
    model.check_ids(&ids)?;
    Ok(ids)
}

fn parse_ids(list: &str, vocab: usize) -> Result<Vec<u32>> {
    let words = list.split([' ', ',', '\n', '\t']).filter(|w| !w.is_empty());
    let ids: Result<Vec<u32>> = words
        .map(|word| {
            let id: i64 = word
                .parse()
                .ok()
                .with_context(|| format!("--ids: expected token ids, found `{word}`"))?;
            let inside = u32::try_from(id).ok().filter(|&id| (id as usize) < vocab);
            Ok(inside.ok_or(Error::TokenOutside { id, vocab })?)
        })
        .collect();
    match ids {
        Ok(ids) if ids.is_empty() => anyhow::bail!("--ids: expected token ids, found none"),
        other => other,
    }
}
