//! Limits on the components of a `tokenizer.json`: normalizer, splitter, post-processor and
//! decoder.

use serde_json::Value;

use super::limits::{
    MAX_AFFIX, MAX_COMPONENTS, MAX_CONTENT, MAX_DEPTH, MAX_GROWING, MAX_MAPPED, MAX_PATTERN,
    MAX_REPETITIONS, MAX_TEMPLATE_TEXTS, MAX_TEMPLATE_TOKENS,
};
use crate::model::json::kind;

/// A field, the expected value, and the one found.
pub type Complaint = (String, String, String);

pub fn complaint(field: &str, expected: String, found: String) -> Complaint {
    (field.to_string(), expected, found)
}

type Checked = Result<(), Complaint>;

pub fn normalizer(value: &Value) -> Checked {
    for one in flat("normalizer", "normalizers", value)? {
        pattern("normalizer", one)?;
        if let Some(text) = one.get("prepend").and_then(Value::as_str) {
            at_most("normalizer.prepend", MAX_AFFIX, "bytes", text.len())?;
        }
        if let Some(map) = one.get("precompiled_charsmap") {
            characters(map)?;
        }
    }
    Ok(())
}

pub fn pre_tokenizer(value: &Value) -> Checked {
    let all = flat("pre_tokenizer", "pretokenizers", value)?;
    let grows = |one: &&&Value| matches!(one["type"].as_str(), Some("ByteLevel" | "Metaspace"));
    let what = "components of types that make a text longer";
    at_most(
        "pre_tokenizer",
        MAX_GROWING,
        what,
        all.iter().filter(grows).count(),
    )?;
    for one in all {
        pattern("pre_tokenizer", one)?;
        if let Some(length) = one.get("length")
            && length.as_u64().is_none_or(|length| length == 0)
        {
            let expected = "a whole number of at least 1".to_string();
            return Err(complaint("pre_tokenizer.length", expected, kind(length)));
        }
    }
    Ok(())
}

pub fn decoder(value: &Value) -> Checked {
    for one in flat("decoder", "decoders", value)? {
        pattern("decoder", one)?;
        for name in ["prefix", "suffix", "pad_token", "word_delimiter_token"] {
            if let Some(text) = one.get(name).and_then(Value::as_str) {
                at_most(&format!("decoder.{name}"), MAX_AFFIX, "bytes", text.len())?;
            }
        }
    }
    Ok(())
}

/// Limits the tokens that a template adds to a text: how many tokens are `ids`, and how often the
/// text is repeated.
pub fn post_processor(value: &Value) -> Checked {
    let (mut n_tokens, mut n_texts) = (0_usize, 1_usize);
    for one in flat("post_processor", "processors", value)? {
        let mut n_repeated = 0;
        for piece in list(one, "single") {
            if let Some(text) = piece.pointer("/Sequence/id") {
                n_repeated += 1;
                if text != "A" {
                    let expected = "the text to be `A`".to_string();
                    return Err(complaint("post_processor.single", expected, kind(text)));
                }
            }
            let id = piece.pointer("/SpecialToken/id").and_then(Value::as_str);
            let Some(id) = id else {
                continue;
            };
            if one["special_tokens"].get(id).is_none() {
                let found = format!(
                    "`{}` alone in `single`",
                    id.chars().take(40).collect::<String>()
                );
                let expected = "all special tokens of the template".to_string();
                return Err(complaint("post_processor.special_tokens", expected, found));
            }
            let n_ids = list(&one["special_tokens"][id], "ids").len();
            n_tokens = n_tokens.saturating_add(n_ids);
        }
        n_texts = n_texts.saturating_mul(n_repeated.max(1));
    }
    at_most(
        "post_processor",
        MAX_TEMPLATE_TOKENS,
        "tokens added",
        n_tokens,
    )?;
    at_most(
        "post_processor",
        MAX_TEMPLATE_TEXTS,
        "times the text",
        n_texts,
    )
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn at_most(field: &str, most: usize, what: &str, found: usize) -> Checked {
    match found <= most {
        true => Ok(()),
        false => Err(complaint(
            field,
            format!("at most {most} {what}"),
            found.to_string(),
        )),
    }
}

/// The components of a nested sequence, in their order; `name` is the field that lists them.
fn flat<'v>(field: &str, name: &str, value: &'v Value) -> Result<Vec<&'v Value>, Complaint> {
    let mut all = Vec::new();
    collect(field, name, value, 0, &mut all)?;
    at_most(field, MAX_COMPONENTS, "components", all.len())?;
    Ok(all)
}

fn collect<'v>(
    field: &str,
    name: &str,
    value: &'v Value,
    depth: usize,
    all: &mut Vec<&'v Value>,
) -> Checked {
    let found = depth.max(depth_of_others(value, name));
    at_most(field, MAX_DEPTH, "levels of sequences", found)?;
    match value.get(name).and_then(Value::as_array) {
        Some(inner) => inner
            .iter()
            .try_for_each(|value| collect(field, name, value, depth + 1, all)),
        None => {
            all.push(value);
            Ok(())
        }
    }
}

/// How deep the fields of a component are nested, but for `name`.
fn depth_of_others(value: &Value, name: &str) -> usize {
    let Some(fields) = value.as_object() else {
        return depth(value);
    };
    let others = fields.iter().filter(|(other, _)| *other != name);
    others.map(|(_, value)| depth(value)).max().unwrap_or(0)
}

/// The JSON parser ends at 128 levels.
fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(all) => all.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

/// Checks the pattern that a component looks for, and its replacement.
fn pattern(field: &str, one: &Value) -> Checked {
    let field = |name: &str| format!("{field}.{name}");
    if let Some(content) = one.get("content").and_then(Value::as_str) {
        at_most(&field("content"), MAX_CONTENT, "bytes", content.len())?;
    }
    let pattern = &one["pattern"];
    for name in ["String", "Regex"] {
        if let Some(text) = pattern[name].as_str() {
            at_most(&field("pattern"), MAX_PATTERN, "bytes", text.len())?;
        }
    }
    match pattern["Regex"].as_str() {
        Some(regex) if repetitions(regex) > MAX_REPETITIONS => {
            let expected = format!("at most {MAX_REPETITIONS} repetitions in all");
            Err(complaint(&field("pattern"), expected, "more".to_string()))
        }
        _ => Ok(()),
    }
}

/// The product of the counts `{n}`, `{n,}` and `{n,m}` in a pattern, which may be nested.
fn repetitions(regex: &str) -> u64 {
    let openings = regex.match_indices('{').map(|(at, _)| regex.split_at(at));
    let counts = openings.filter_map(|(before, after)| {
        let (inside, _) = after[1..].split_once('}')?;
        let numbers = inside.split(',').map(str::trim);
        let numbers = numbers.filter(|number| !number.is_empty());
        let numbers = numbers.map(|number| {
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| number.parse().unwrap_or(u64::MAX))
        });
        let numbers: Option<Vec<u64>> = numbers.collect();
        numbers?
            .into_iter()
            .max()
            .filter(|_| !names_character(before))
    });
    counts.fold(1, |product, count| product.saturating_mul(count.max(1)))
}

/// Whether braces after `before` hold the number of a character, as in `\x{3000}`.
fn names_character(before: &str) -> bool {
    let escape = before.strip_suffix(['x', 'u', 'U']).unwrap_or("");
    let n_backslashes = escape.len() - escape.trim_end_matches('\\').len();
    n_backslashes % 2 == 1
}

/// Checks a table of characters as SentencePiece has it: the size of a tree of 32-bit numbers, the
/// tree, and texts that end in a zero each.
fn characters(map: &Value) -> Checked {
    let field = "normalizer.precompiled_charsmap";
    let expected = "a table of characters in base64";
    let Some(bytes) = map.as_str().and_then(|text| base64::decode(text).ok()) else {
        return Err(complaint(field, expected.to_string(), kind(map)));
    };
    let size = bytes
        .first_chunk()
        .map(|size| u32::from_le_bytes(*size) as usize);
    let texts = size
        .filter(|&size| size >= 4)
        .and_then(|size| bytes.get(4 + size / 4 * 4..));
    let Some(texts) = texts else {
        let found = format!("{} bytes that are cut short", bytes.len());
        return Err(complaint(field, expected.to_string(), found));
    };
    let longest = texts.split(|&byte| byte == 0).map(<[u8]>::len).max();
    let what = "bytes for a character";
    at_most(field, MAX_MAPPED, what, longest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_counted_as_if_they_were_nested() {
        assert_eq!(repetitions(r"\p{N}{1,3}|\x{3000}a{2}|[^\s]+"), 6);
        assert_eq!(repetitions(r"(a{20,}){,50}"), 1000);
        assert_eq!(repetitions(r"\\x{3000}"), 3000);
        assert_eq!(repetitions("a{99999999999999999999}b{2"), u64::MAX);
    }
}
