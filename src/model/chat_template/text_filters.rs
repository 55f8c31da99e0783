//! Jinja's filters of texts, where the engine has none or another.

use minijinja::formatting::FormatStyle;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error as Failure, State, Value, filters};
use minijinja_contrib::filters::{filesizeformat, striptags};

use super::arguments::{Arguments, Given, failure, items, pay, split};
use super::characters::line_end;
use super::filters::as_float;
use super::python::{repr, text};
use super::string_making::{centred, formatted, replace};
use super::string_parts::strip;

/// The function that stands for the operator `%` on a text, in a template that was made ready for
/// the engine.
pub const PERCENT: &str = "__percent__";

/// Puts Jinja's filters of texts in the place of the engine's.
pub fn add(environment: &mut Environment) {
    of_text(
        environment,
        "capitalize",
        Value::from_function(filters::capitalize),
    );
    environment.add_filter("center", center);
    environment.add_filter("e", escape);
    environment.add_filter("escape", escape);
    environment.add_filter("filesizeformat", filesize);
    environment.add_filter("forceescape", |value: &Value| {
        Value::from_safe_string(escaped(&text(value)))
    });
    environment.add_filter("format", format);
    environment.add_filter("indent", indent);
    environment.add_filter("join", join);
    of_text(environment, "lower", Value::from_function(filters::lower));
    environment.add_filter("replace", replace_in);
    environment.add_filter("string", |value: &Value| match value.as_str() {
        Some(_) => value.clone(),
        None => Value::from(text(value)),
    });
    environment.add_filter("striptags", |value: &Value| striptags(text(value)));
    of_text(environment, "title", Value::from_function(filters::title));
    of_text(environment, "upper", Value::from_function(filters::upper));
    environment.add_filter("trim", |value: &Value, given: Given| {
        let arguments = Arguments::of("trim", ["chars"], given)?;
        let stripped = strip(&text(value), arguments.some_text(0)?, true, true).to_string();
        Ok::<_, Failure>(stripped)
    });
    environment.add_filter("truncate", truncate);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("wordcount", |value: &Value| {
        let text = text(value);
        let words = text.split(|c: char| c != '_' && !c.is_alphanumeric());
        words.filter(|word| !word.is_empty()).count()
    });
    environment.add_filter("xmlattr", xmlattr);
    environment.add_filter(PERCENT, percent);
}

/// The engine's filter `name`, of the text of the value it is given.
fn of_text(environment: &mut Environment, name: &'static str, engine: Value) {
    environment.add_filter(name, move |state: &mut State, value: &Value| {
        match value.as_object() {
            Some(_) => engine.call(state, &[Value::from(text(value))]),
            None => engine.call(state, std::slice::from_ref(value)),
        }
    });
}

fn center(state: &State, value: &Value, given: Given) -> Result<String, Failure> {
    let arguments = Arguments::of("center", ["width"], given)?;
    let width = usize::try_from(arguments.whole(0, 80)?).unwrap_or(0);
    let text = text(value);
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing)?;
    let left = centred(missing, width);
    Ok([" ".repeat(left), text, " ".repeat(missing - left)].concat())
}

fn escape(value: &Value) -> Value {
    match value.is_safe() {
        true => value.clone(),
        false => Value::from_safe_string(escaped(&text(value))),
    }
}

pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}

fn filesize(value: &Value, given: Given) -> Result<String, Failure> {
    let binary = Arguments::of("filesizeformat", ["binary"], given)?.flag(0, false);
    match as_float(value)? {
        Some(n) => Ok(filesizeformat(n, Some(binary))),
        None => Err(failure("filesizeformat expects a number")),
    }
}

/// `'%s' | format(...)`.
fn format(state: &State, value: &Value, given: Given) -> Result<Value, Failure> {
    let given = given.into_values();
    let (positional, keywords) = split(&given)?;
    if !positional.is_empty() && keywords.is_some() {
        return Err(failure(
            "format takes positional arguments or keywords, not both",
        ));
    }
    match keywords {
        Some(_) => formatted(state, FormatStyle::Printf, &text(value), &given),
        None => printf(state, &text(value), given),
    }
}

/// `'%s' % value`: a tuple's items, a dictionary's by their names, or the value itself.
fn percent(state: &State, template: &str, value: &Value) -> Result<Value, Failure> {
    match value.kind() {
        ValueKind::Map if template.contains("%(") => {
            let pairs = value.as_object().and_then(|o| o.try_iter_pairs());
            let pairs = pairs.into_iter().flatten();
            let fields: Kwargs = pairs.map(|(key, value)| (text(&key), value)).collect();
            formatted(state, FormatStyle::Printf, template, &[fields.into()])
        }
        _ if value.is_tuple() => printf(state, template, items(value)?),
        _ => printf(state, template, vec![value.clone()]),
    }
}

/// Puts values in their places, in a template that names none.
fn printf(state: &State, template: &str, mut values: Vec<Value>) -> Result<Value, Failure> {
    let mut prepared = String::with_capacity(template.len());
    let mut n = 0;
    let mut rest = template;
    while let Some((before, conversion)) = rest.split_once('%') {
        let spec = |c: char| "-+ #0.".contains(c) || c.is_ascii_digit();
        let letter = conversion.trim_start_matches(spec);
        let flags = &conversion[..conversion.len() - letter.len()];
        let letter = letter.chars().next().unwrap_or('%');
        let value = if letter == '%' {
            None
        } else {
            values.get_mut(n)
        };
        n += usize::from(letter != '%');
        // The engine knows neither of these letters, nor cuts numbers that are not whole.
        let known = match (letter, value) {
            ('r', Some(value)) => {
                *value = Value::from(repr(value));
                's'
            }
            ('s', Some(value)) => {
                if value.as_object().is_some() {
                    *value = Value::from(text(value));
                }
                's'
            }
            ('d' | 'i' | 'u', Some(value)) => {
                if let (false, Ok(number)) = (value.is_integer(), f64::try_from(value.clone())) {
                    *value = Value::from(number as i128);
                }
                'd'
            }
            (letter, _) => letter,
        };
        prepared.extend([before, "%", flags]);
        prepared.push(known);
        rest = conversion[flags.len()..]
            .get(letter.len_utf8()..)
            .unwrap_or("");
    }
    prepared.push_str(rest);
    if n != values.len() {
        let found = values.len();
        return Err(failure(format!(
            "the text has places for {n} values, found {found}"
        )));
    }
    formatted(state, FormatStyle::Printf, &prepared, &values)
}

fn indent(state: &State, value: &str, given: Given) -> Result<String, Failure> {
    let arguments = Arguments::of("indent", ["width", "first", "blank"], given)?;
    let margin = match arguments.get(0).and_then(Value::as_str) {
        Some(text) => text.to_string(),
        None => {
            let width = usize::try_from(arguments.whole(0, 4)?).unwrap_or(0);
            pay(state, width)?;
            " ".repeat(width)
        }
    };
    let (first, blank) = (arguments.flag(1, false), arguments.flag(2, false));
    let mut out = String::new();
    let mut rest = value;
    for i in 0.. {
        let (length, end) = line_end(rest);
        if i > 0 {
            out.push('\n');
        }
        if (i == 0 && first) || (i > 0 && (blank || length > 0)) {
            pay(state, margin.len())?;
            out.push_str(&margin);
        }
        out.push_str(&rest[..length]);
        rest = &rest[length + end..];
        if end == 0 {
            break;
        }
    }
    Ok(out)
}

fn join(state: &mut State, value: &Value, given: Given) -> Result<String, Failure> {
    let arguments = Arguments::of("join", ["d", "attribute"], given)?;
    let separator = arguments.get(0).map_or(String::new(), text);
    let parts = match arguments.some(1) {
        Some(attribute) => {
            let keywords: Kwargs = [("attribute", attribute.clone())].into_iter().collect();
            items(&state.apply_filter("map", &[value.clone(), keywords.into()])?)?
        }
        None => items(value)?,
    };
    pay(state, separator.len().saturating_mul(parts.len()))?;
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        let part = text(part);
        pay(state, part.len())?;
        out.push_str(if i == 0 { "" } else { &separator });
        out.push_str(&part);
    }
    Ok(out)
}

fn replace_in(state: &State, value: &Value, given: Given) -> Result<String, Failure> {
    let arguments = Arguments::of("replace", ["old", "new", "count"], given)?;
    let most = match arguments.some(2) {
        Some(_) => arguments.whole(2, -1)?,
        None => -1,
    };
    let (old, new) = (text(arguments.need(0)?), text(arguments.need(1)?));
    replace(state, &text(value), [&old, &new], most)
}

fn truncate(value: &str, given: Given) -> Result<String, Failure> {
    let names = ["length", "killwords", "end", "leeway"];
    let arguments = Arguments::of("truncate", names, given)?;
    let size = |at, default| -> Result<usize, Failure> {
        let number = match arguments.some(at) {
            Some(_) => arguments.whole(at, default)?,
            None => default,
        };
        usize::try_from(number).map_err(|_| failure("truncate expects no negative numbers"))
    };
    let (length, leeway) = (size(0, 255)?, size(3, 5)?);
    let end = arguments.some_text(2)?.unwrap_or("...");
    let n_end = end.chars().count();
    if n_end > length {
        return Err(failure(format!(
            "truncate expects a length of {n_end}, found {length}"
        )));
    }
    if value.chars().count() <= length.saturating_add(leeway) {
        return Ok(value.to_string());
    }
    let kept: String = value.chars().take(length - n_end).collect();
    let kept = match arguments.flag(1, false) {
        true => kept.as_str(),
        false => kept
            .rsplit_once(' ')
            .map_or(kept.as_str(), |(words, _)| words),
    };
    Ok(kept.to_string() + end)
}

fn urlencode(value: &Value) -> Result<String, Failure> {
    let pairs: Vec<Value> = match value.kind() {
        ValueKind::Map => {
            let pairs = value.as_object().and_then(|o| o.try_iter_pairs());
            pairs
                .into_iter()
                .flatten()
                .map(|(k, v)| Value::from(vec![k, v]))
                .collect()
        }
        ValueKind::Seq | ValueKind::Iterable => items(value)?,
        _ => return Ok(quoted(&text(value), "/")),
    };
    let mut parts = Vec::new();
    for pair in &pairs {
        let [key, value] =
            <[Value; 2]>::try_from(items(pair)?).map_err(|_| failure("urlencode expects pairs"))?;
        let [key, value] = [key, value].map(|v| quoted(&text(&v), "").replace("%20", "+"));
        parts.push(format!("{key}={value}"));
    }
    Ok(parts.join("&"))
}

fn quoted(text: &str, kept: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        match c.is_ascii_alphanumeric() || "_.-~".contains(c) || kept.contains(c) {
            true => out.push(c),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn xmlattr(value: &Value, given: Given) -> Result<String, Failure> {
    let arguments = Arguments::of("xmlattr", ["autospace"], given)?;
    let pairs = value.as_object().filter(|_| value.kind() == ValueKind::Map);
    let pairs = pairs
        .ok_or_else(|| arguments.wrong(value, "a map"))?
        .try_iter_pairs();
    let mut parts = Vec::new();
    for (key, value) in pairs.into_iter().flatten() {
        let key = text(&key);
        if key.contains(|c: char| c.is_whitespace() || "/>=".contains(c)) {
            return Err(failure(format!("xmlattr expects names, found `{key}`")));
        }
        if !value.is_none() && !value.is_undefined() {
            parts.push(format!("{}=\"{}\"", escaped(&key), text(&escape(&value))));
        }
    }
    let space = if arguments.flag(0, true) && !parts.is_empty() {
        " "
    } else {
        ""
    };
    Ok(space.to_string() + &parts.join(" "))
}
