//! Methods of strings that make others.

use minijinja::formatting::{FormatStyle, format};
use minijinja::{AutoEscape, Error as Failure, State, Value};

use super::arguments::{Arguments, failure, items, pay};
use super::keeping::text_size;
use super::objects::dict;
use super::python;
use super::text_filters::escaped;

/// The function that stands for the operator `~`.
pub const CONCAT: &str = "__concat__";

/// Values joined as texts. Where output is escaped and any of the values already is, the others are
/// escaped too.
pub fn concat(state: &State, parts: &[Value]) -> Result<Value, Failure> {
    let safe = parts.iter().filter(|part| part.is_safe()).count();
    let escaping = !matches!(state.auto_escape(), AutoEscape::None);
    let mut out = String::new();
    for part in parts {
        let text = match escaping && safe > 0 && !part.is_safe() {
            true => escaped(&python::text(part)),
            false => python::text(part),
        };
        pay(state, text.len())?;
        out.push_str(&text);
    }
    match safe == parts.len() || (escaping && safe > 0) {
        true => Ok(Value::from_safe_string(out)),
        false => Ok(Value::from(out)),
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
    let n = text.matches(old).count().min(most);
    pay(state, n.saturating_mul(new.len().saturating_sub(old.len())))?;
    Ok(text.replacen(old, new, most))
}

pub fn join(state: &State, separator: &str, parts: &Value) -> Result<String, Failure> {
    let mut out = String::new();
    for (i, part) in items(parts)?.iter().enumerate() {
        if i > 0 {
            pay(state, separator.len())?;
            out.push_str(separator);
        }
        let found = part.kind();
        let part = part.as_str();
        let part = part.ok_or_else(|| failure(format!("join() expects strings, found {found}")))?;
        pay(state, part.len())?;
        out.push_str(part);
    }
    Ok(out)
}

pub fn pad<const N: usize>(
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

pub fn expand_tabs(text: &str, size: usize) -> String {
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

pub fn translate(state: &State, text: &str, table: &Value) -> Result<Value, Failure> {
    let mut out = String::new();
    for c in text.chars() {
        let to = table.get_item(&Value::from(u32::from(c)))?;
        match (to.as_str(), to.as_i64()) {
            (Some(text), _) => {
                pay(state, text.len())?;
                out.push_str(text);
            }
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

pub fn make_translation<const N: usize>(arguments: &Arguments<N>) -> Result<Value, Failure> {
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
    // Each place may take the largest of the values.
    let places = template.matches(['{', '%']).count();
    let sizes = given.iter().map(text_size).collect::<Result<Vec<_>, _>>()?;
    let largest = sizes.into_iter().max().unwrap_or(0);
    pay(state, places.saturating_mul(largest))?;
    format(style, template, given).map(Value::from)
}
