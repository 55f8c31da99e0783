//! The methods of Python's strings.

use minijinja::formatting::FormatStyle;
use minijinja::value::Kwargs;
use minijinja::{Error as Failure, ErrorKind, State, Value};

use super::arguments::{Arguments, pay};
use super::characters::{capitalized, folded, is_blank, is_identifier, is_title, swapped, titled};
use super::characters::{is_decimal, is_digit, is_numeric};
use super::limits::steps;
use super::python::is_printable;
use super::string_making::{
    expand_tabs, formatted, join, make_translation, pad, replace, translate,
};
use super::string_parts::{begins_or_ends, lines, partition, search, split, strip};

/// The names of all methods.
const METHODS: &str = "capitalize casefold center count encode endswith expandtabs find format format_map index \
    isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace \
    istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace rfind \
    rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title \
    translate upper zfill";

/// Whether strings have a method of this name.
pub fn has(name: &str) -> bool {
    METHODS.split(' ').any(|method| method == name)
}

/// Calls `method` of `text`.
///
/// # Errors
/// [`ErrorKind::UnknownMethod`] where there is none of this name.
pub fn call(state: &State, text: &str, method: &str, given: &[Value]) -> Result<Value, Failure> {
    steps(1 + text.len() / 64)?;
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
        "translate" => translate(state, text, Arguments::bind(method, [""], given)?.need(0)?)?,
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
            let fields: Kwargs = pairs.collect();
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
