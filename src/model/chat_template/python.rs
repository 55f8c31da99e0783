//! Values as Python's `str` and `repr` write them.

use std::cell::Cell;

use minijinja::value::ValueKind;
use minijinja::{Error as Failure, Output, State, Value, escape_formatter};

use super::limits::{MAX_BYTES, MAX_DEPTH, fail, may_go_on};
use super::methods::is_namespace;
use super::objects::is_list;

/// Writes a value as `{{ value }}` does.
pub fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Failure> {
    use minijinja::AutoEscape;
    match state.auto_escape() {
        AutoEscape::None => match value.as_str() {
            Some(text) => Ok(out.write_str(text)?),
            None => Ok(out.write_str(&text(value))?),
        },
        _ => escape_formatter(out, state, value),
    }
}

/// Python's `str`.
pub fn text(value: &Value) -> String {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => text.to_string(),
        (None, ValueKind::Undefined) => String::new(),
        (None, _) => repr(value),
    }
}

/// Python's `repr`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

thread_local! {
    /// How deep inside a value the writing is.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

fn write_repr(out: &mut String, value: &Value) {
    let depth = DEPTH.get();
    let size = value.as_str().map_or(0, str::len) / 64;
    if depth > MAX_DEPTH || out.len() > MAX_BYTES {
        fail("a value that is too deep or too large to write");
    }
    if !may_go_on(1 + size) {
        return;
    }
    DEPTH.set(depth + 1);
    write_part(out, value);
    DEPTH.set(depth);
}

fn write_part(out: &mut String, value: &Value) {
    if let Some(text) = value.as_str() {
        return write_quoted(out, text);
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::Seq | ValueKind::Iterable if is_list(value) => {
            let (open, close) = if value.is_tuple() {
                ("(", ")")
            } else {
                ("[", "]")
            };
            out.push_str(open);
            let n = write_items(out, value);
            if value.is_tuple() && n == 1 {
                out.push(',');
            }
            out.push_str(close);
        }
        ValueKind::Map => {
            let pairs = value.as_object().and_then(|o| o.try_iter_pairs());
            out.push_str(if is_namespace(value) {
                "<Namespace {"
            } else {
                "{"
            });
            for (i, (key, value)) in pairs.into_iter().flatten().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_repr(out, &key);
                out.push_str(": ");
                write_repr(out, &value);
            }
            out.push_str(if is_namespace(value) { "}>" } else { "}" });
        }
        _ => out.push_str(&value.to_string()),
    }
}

/// Writes the items of a sequence and says how many there are.
fn write_items(out: &mut String, value: &Value) -> usize {
    let mut n = 0;
    for item in value.try_iter().into_iter().flatten() {
        if !may_go_on(1) {
            break;
        }
        out.push_str(if n == 0 { "" } else { ", " });
        write_repr(out, &item);
        n += 1;
    }
    n
}

/// A number as Python writes it.
pub fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => float(number),
        _ => value.to_string(),
    }
}

/// A float as Python writes it: with an exponent where it is 1e16 or more, or below 1e-4.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_string();
    }
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
        None => text,
    }
}

/// A string in quotes: single ones, unless it has such and no double ones.
fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ ..0x100 => out.push_str(&format!("\\x{code:02x}")),
                code @ ..0x10000 => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}

/// Python's `isprintable`. Rust escapes the same characters, but for blanks other than U+0020,
/// and for marks at the start of a text.
pub fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_whitespace() => false,
        c => {
            let text: String = ['a', c].iter().collect();
            text.escape_debug().count() == 2
        }
    }
}
