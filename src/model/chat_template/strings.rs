//! The methods of Python's strings.

use std::ops::Range;

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::Tuple;
use minijinja::{Error as Failure, ErrorKind, State, Value};

use super::arguments::{Arguments, failure, items, pay};
use super::characters::{
    capitalized, folded, is_blank, is_identifier, is_title, line_end, swapped, titled,
};
use super::characters::{is_decimal, is_digit, is_numeric};
use super::objects::dict;
use super::python::is_printable;

/// The names of all methods here, and of those that are refused.
pub const METHODS: [&str; 46] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// Calls `method` of `text`.
///
/// # Errors
/// [`ErrorKind::UnknownMethod`] where there is none of this name.
pub fn call(state: &State, text: &str, method: &str, given: &[Value]) -> Result<Value, Failure> {
    if let Some(plain) = plain(text, method) {
        Arguments::bind(method, [], given)?;
        return Ok(plain);
    }
    let bind = |names| Arguments::bind(method, names, given);
    Ok(match method {
        "strip" | "lstrip" | "rstrip" => {
            let arguments = Arguments::bind(method, [""], given)?;
            Value::from(strip(
                text,
                arguments.some_text(0)?,
                method != "rstrip",
                method != "lstrip",
            ))
        }
        "split" | "rsplit" => {
            let arguments = bind(["sep", "maxsplit"])?;
            let most = usize::try_from(arguments.whole(1, -1)?).unwrap_or(usize::MAX);
            let parts = split(text, arguments.some_text(0)?, most, method == "rsplit")?;
            parts.into_iter().map(Value::from).collect()
        }
        "splitlines" => {
            let keep = Arguments::bind(method, ["keepends"], given)?.flag(0, false);
            lines(text, keep).into_iter().map(Value::from).collect()
        }
        "partition" | "rpartition" => {
            let arguments = Arguments::bind(method, [""], given)?;
            partition(text, arguments.text(0)?, method == "rpartition")?
        }
        "removeprefix" | "removesuffix" => {
            let arguments = Arguments::bind(method, [""], given)?;
            let stripped = match method {
                "removeprefix" => text.strip_prefix(arguments.text(0)?),
                _ => text.strip_suffix(arguments.text(0)?),
            };
            Value::from(stripped.unwrap_or(text))
        }
        "startswith" | "endswith" => {
            let arguments = Arguments::bind(method, ["", "", ""], given)?;
            Value::from(begins_or_ends(text, method, &arguments)?)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let arguments = Arguments::bind(method, ["", "", ""], given)?;
            search(text, method, &arguments)?
        }
        "replace" => {
            let arguments = Arguments::bind(method, ["", "", "count"], given)?;
            let (old, new) = (arguments.text(0)?, arguments.text(1)?);
            Value::from(replace(state, text, [old, new], arguments.whole(2, -1)?)?)
        }
        "join" => {
            let arguments = Arguments::bind(method, [""], given)?;
            Value::from(join(state, text, arguments.need(0)?)?)
        }
        "center" | "ljust" | "rjust" | "zfill" => {
            let arguments = bind(["", ""])?;
            Value::from(pad(state, text, method, &arguments)?)
        }
        "expandtabs" => {
            let arguments = Arguments::bind(method, ["tabsize"], given)?;
            let size = arguments.whole(0, 8)?.max(0) as usize;
            pay(state, text.matches('\t').count().saturating_mul(size))?;
            Value::from(expand_tabs(text, size))
        }
        "translate" => translate(text, Arguments::bind(method, [""], given)?.need(0)?)?,
        "maketrans" => make_translation(&Arguments::bind(method, ["", "", ""], given)?)?,
        "format" => formatted(state, FormatStyle::StrFormat, text, given)?,
        "format_map" => {
            let fields = Arguments::bind(method, [""], given)?.need(0)?.clone();
            let pairs = fields
                .as_object()
                .and_then(|o| o.try_iter_pairs())
                .into_iter()
                .flatten();
            let pairs = pairs.map(|(key, value)| (key.to_string(), value));
            let fields: minijinja::value::Kwargs = pairs.collect();
            formatted(state, FormatStyle::StrFormat, text, &[fields.into()])?
        }
        _ => return Err(Failure::from(ErrorKind::UnknownMethod)),
    })
}

/// The methods that take nothing.
fn plain(text: &str, method: &str) -> Option<Value> {
    let all = |test: fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(test));
    let cased = |one: fn(char) -> bool, other: fn(char) -> bool| {
        Value::from(text.chars().any(one) && !text.chars().any(other))
    };
    Some(match method {
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "casefold" => Value::from(folded(text)),
        "swapcase" => Value::from(swapped(text)),
        "title" => Value::from(titled(text)),
        "capitalize" => Value::from(capitalized(text)),
        "isupper" => cased(char::is_uppercase, char::is_lowercase),
        "islower" => cased(char::is_lowercase, char::is_uppercase),
        "istitle" => Value::from(is_title(text)),
        "isspace" => all(is_blank),
        "isdigit" => all(is_digit),
        "isdecimal" => all(is_decimal),
        "isnumeric" => all(is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(|c| c.is_alphanumeric() || is_numeric(c)),
        "isascii" => Value::from(text.is_ascii()),
        "isprintable" => Value::from(text.chars().all(is_printable)),
        "isidentifier" => Value::from(is_identifier(text)),
        _ => return None,
    })
}

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

fn split<'a>(
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

fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
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

fn partition(text: &str, separator: &str, from_end: bool) -> Result<Value, Failure> {
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

fn begins_or_ends<const N: usize>(
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

fn search<const N: usize>(
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

/// Replaces the first `most` of `old` by `new`, or all, where that is negative.
pub fn replace(
    state: &State,
    text: &str,
    [old, new]: [&str; 2],
    most: i64,
) -> Result<String, Failure> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let n = (text.len() / old.len().max(1) + 1).min(most);
    pay(state, n.saturating_mul(new.len().saturating_sub(old.len())))?;
    Ok(text.replacen(old, new, most))
}

fn join(state: &State, separator: &str, parts: &Value) -> Result<String, Failure> {
    let mut out = String::new();
    for (i, part) in items(parts)?.iter().enumerate() {
        if i > 0 {
            pay(state, separator.len())?;
            out.push_str(separator);
        }
        let found = part.kind();
        out.push_str(
            part.as_str()
                .ok_or_else(|| failure(format!("join() expects strings, found {found}")))?,
        );
    }
    Ok(out)
}

fn pad<const N: usize>(
    state: &State,
    text: &str,
    method: &str,
    arguments: &Arguments<N>,
) -> Result<String, Failure> {
    arguments.need(0)?;
    let width = usize::try_from(arguments.whole(0, 0)?).unwrap_or(0);
    let fill = match arguments.get(1) {
        Some(_) => arguments.text(1)?,
        None if method == "zfill" => "0",
        None => " ",
    };
    if fill.chars().count() != 1 {
        return Err(failure(format!(
            "{method}() expects one character to fill with"
        )));
    }
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing.saturating_mul(fill.len()))?;
    let left = match method {
        "ljust" => 0,
        "rjust" | "zfill" => missing,
        _ => centred(missing, width),
    };
    let signed = method == "zfill" && text.starts_with(['-', '+']);
    let (sign, rest) = text.split_at(usize::from(signed));
    Ok([sign, &fill.repeat(left), rest, &fill.repeat(missing - left)].concat())
}

/// How many of `missing` characters Python's `center` puts to the left.
pub fn centred(missing: usize, width: usize) -> usize {
    missing / 2 + (missing & width & 1)
}

fn expand_tabs(text: &str, size: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let n = size - column % size;
                out.extend(std::iter::repeat_n(' ', n));
                column += n;
            }
            '\t' => (),
            _ => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') {
                    0
                } else {
                    column + 1
                };
            }
        }
    }
    out
}

fn translate(text: &str, table: &Value) -> Result<Value, Failure> {
    let mut out = String::new();
    for c in text.chars() {
        let to = table.get_item(&Value::from(u32::from(c)))?;
        match (to.as_str(), to.as_i64()) {
            (Some(text), _) => out.push_str(text),
            (None, Some(code)) => {
                let c = u32::try_from(code).ok().and_then(char::from_u32);
                out.push(
                    c.ok_or_else(|| failure("translate() found a number that is no character"))?,
                );
            }
            _ if to.is_undefined() => out.push(c),
            _ if to.is_none() => (),
            _ => return Err(failure("translate() expects numbers, strings or `None`")),
        }
    }
    Ok(Value::from(out))
}

fn make_translation<const N: usize>(arguments: &Arguments<N>) -> Result<Value, Failure> {
    let (from, to) = (arguments.text(0)?, arguments.text(1)?);
    if from.chars().count() != to.chars().count() {
        return Err(failure("maketrans() expects two strings of one length"));
    }
    let code = |c: char| Value::from(u32::from(c));
    let mut pairs: Vec<_> = from
        .chars()
        .zip(to.chars())
        .map(|(a, b)| (code(a), code(b)))
        .collect();
    let gone = arguments.some_text(2)?.unwrap_or_default();
    pairs.extend(gone.chars().map(|c| (code(c), Value::from(()))));
    let pairs = Value::from_pairs(pairs);
    dict("maketrans()", &[pairs])
}

/// `template` with `given` put in.
pub fn formatted(
    state: &State,
    style: FormatStyle,
    template: &str,
    given: &[Value],
) -> Result<Value, Failure> {
    // Widths can ask for more than there is memory for.
    let widths = template.split(|c: char| !c.is_ascii_digit());
    let n = widths
        .filter(|w| !w.is_empty())
        .map(|w| w.parse().unwrap_or(usize::MAX));
    pay(state, n.fold(0, usize::saturating_add))?;
    format(style, template, given).map(Value::from)
}
