//! Methods of strings that look for something in them, or give parts of them.

use std::ops::Range;

use minijinja::value::Tuple;
use minijinja::{Error as Failure, Value};

use super::arguments::{Arguments, failure, items};
use super::characters::{is_blank, line_end};

/// `text` without blanks, or without these characters, at its start and at its end.
pub fn strip<'a>(text: &'a str, characters: Option<&str>, start: bool, end: bool) -> &'a str {
    let stripped = |c: char| characters.map_or_else(|| is_blank(c), |these| these.contains(c));
    let text = if start {
        text.trim_start_matches(stripped)
    } else {
        text
    };
    if end {
        text.trim_end_matches(stripped)
    } else {
        text
    }
}

pub fn split<'a>(
    text: &'a str,
    separator: Option<&str>,
    most: usize,
    from_end: bool,
) -> Result<Vec<&'a str>, Failure> {
    let n = most.saturating_add(1);
    let mut parts: Vec<&str> = match (separator, from_end) {
        (Some(""), _) => return Err(failure("split() expects a separator that is not empty")),
        (Some(separator), false) => return Ok(text.splitn(n, separator).collect()),
        (Some(separator), true) => text.rsplitn(n, separator).collect(),
        (None, _) => {
            let mut parts = Vec::new();
            let mut rest = strip(text, None, !from_end, from_end);
            while !rest.is_empty() {
                if parts.len() == most {
                    parts.push(rest);
                    break;
                }
                let cut = match from_end {
                    false => rest.split_once(is_blank),
                    true => rest
                        .rsplit_once(is_blank)
                        .map(|(before, after)| (after, before)),
                };
                let (part, after) = cut.unwrap_or((rest, ""));
                parts.push(part);
                rest = strip(after, None, !from_end, from_end);
            }
            parts
        }
    };
    if from_end {
        parts.reverse();
    }
    Ok(parts)
}

pub fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (length, end) = line_end(rest);
        let kept = if keep_ends { length + end } else { length };
        lines.push(&rest[..kept]);
        rest = &rest[length + end..];
    }
    lines
}

pub fn partition(text: &str, separator: &str, from_end: bool) -> Result<Value, Failure> {
    if separator.is_empty() {
        return Err(failure("partition() expects a separator that is not empty"));
    }
    let parts = match from_end {
        false => text.split_once(separator),
        true => text.rsplit_once(separator),
    };
    let parts = match (parts, from_end) {
        (Some((before, after)), _) => [before, separator, after],
        (None, false) => [text, "", ""],
        (None, true) => ["", "", text],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

pub fn begins_or_ends<const N: usize>(
    text: &str,
    method: &str,
    arguments: &Arguments<N>,
) -> Result<bool, Failure> {
    let sought = arguments.need(0)?;
    let parts = match sought.as_str() {
        Some(_) => vec![sought.clone()],
        None if sought.is_tuple() => items(sought)?,
        None => return Err(arguments.wrong(sought, "a string or a tuple of strings")),
    };
    let Some((bytes, _)) = window(text, arguments, 1)? else {
        return Ok(false);
    };
    let text = &text[bytes];
    for part in &parts {
        let part = part
            .as_str()
            .ok_or_else(|| arguments.wrong(part, "strings"))?;
        if (method == "startswith" && text.starts_with(part))
            || (method == "endswith" && text.ends_with(part))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn search<const N: usize>(
    text: &str,
    method: &str,
    arguments: &Arguments<N>,
) -> Result<Value, Failure> {
    let part = arguments.text(0)?;
    let window = window(text, arguments, 1)?;
    if method == "count" {
        let n = window.map_or(0, |(bytes, _)| text[bytes].matches(part).count());
        return Ok(Value::from(n));
    }
    let found = window.and_then(|(bytes, before)| {
        let text = &text[bytes];
        let byte = if method.starts_with('r') {
            text.rfind(part)
        } else {
            text.find(part)
        };
        byte.map(|byte| before + text[..byte].chars().count())
    });
    match found {
        Some(place) => Ok(Value::from(place)),
        None if method.ends_with("find") => Ok(Value::from(-1)),
        None => Err(failure(format!("{method}() found no `{part}`"))),
    }
}

/// The bytes of `text[start:end]`, where the arguments from `at` on say so, and the number of
/// characters before; `None` where the start is beyond the text's end.
fn window<const N: usize>(
    text: &str,
    arguments: &Arguments<N>,
    at: usize,
) -> Result<Option<(Range<usize>, usize)>, Failure> {
    if arguments.some(at).is_none() && arguments.some(at + 1).is_none() {
        return Ok(Some((0..text.len(), 0)));
    }
    let n = text.chars().count() as i64;
    let place = |at: usize, default: i64| -> Result<i64, Failure> {
        let place = match arguments.some(at) {
            Some(_) => arguments.whole(at, default)?,
            None => default,
        };
        Ok(if place < 0 { (place + n).max(0) } else { place })
    };
    let (start, end) = (place(at, 0)?, place(at + 1, n)?.min(n));
    if start > end {
        return Ok(None);
    }
    let byte = |place: i64| {
        let found = text.char_indices().nth(place as usize);
        found.map_or(text.len(), |(byte, _)| byte)
    };
    Ok(Some((byte(start)..byte(end), start as usize)))
}
