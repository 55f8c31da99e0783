//! Methods of Python's values: those of strings, dictionaries, lists, tuples and numbers.

use minijinja::value::ValueKind;
use minijinja::{Error as Failure, ErrorKind, State, Value};

use super::arguments::{Arguments, failure, items};
use super::limits::steps;
use super::objects::{Bound, View, is_list, pair};
use super::strings;

/// Looks an attribute up as Python's `getattr` does: methods first. The name of the function in a
/// template that was made ready for the engine.
pub const ATTRIBUTE: &str = "__attribute__";

/// Looks an item up as Jinja does: where there is none, the attribute.
pub const ITEM: &str = "__item__";

/// Methods of dictionaries.
const OF_DICTIONARIES: [&str; 5] = ["copy", "get", "items", "keys", "values"];

/// Methods of lists and tuples.
const OF_SEQUENCES: [&str; 3] = ["copy", "count", "index"];

/// Methods that change what they are called on; the sandbox of transformers refuses them.
const CHANGING: [&str; 12] = [
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "reverse",
    "setdefault",
    "sort",
    "update",
    "fromkeys",
];

/// Whether `name`, looked up and not called, may mean a method.
pub fn is_method(name: &str) -> bool {
    OF_DICTIONARIES.contains(&name)
        || OF_SEQUENCES.contains(&name)
        || strings::has(name)
        || CHANGING.contains(&name)
}

/// Calls a method that the engine does not have.
pub fn unknown_method(
    state: &mut State,
    value: &Value,
    method: &str,
    given: &[Value],
) -> Result<Value, Failure> {
    if method == ATTRIBUTE {
        let arguments = Arguments::bind(method, [""], given)?;
        return attribute(value, arguments.text(0)?);
    }
    if method == ITEM {
        let arguments = Arguments::bind(method, [""], given)?;
        let item = value.get_item(arguments.need(0)?)?;
        return match item.is_undefined() {
            true => attribute(value, arguments.text(0)?),
            false => Ok(item),
        };
    }
    let changing = CHANGING.contains(&method);
    match value.kind() {
        ValueKind::String => match value.as_str() {
            Some(text) => strings::call(state, text, method, given),
            None => Err(Failure::from(ErrorKind::UnknownMethod)),
        },
        kind @ (ValueKind::Map | ValueKind::Seq | ValueKind::Iterable)
            if changing && !value.is_tuple() =>
        {
            Err(failure(format!(
                "`{method}` of a {kind} is refused: templates may not change values"
            )))
        }
        ValueKind::Map => of_dictionary(value, method, given),
        ValueKind::Seq => of_sequence(value, method, given),
        _ if is_list(value) => of_sequence(value, method, given),
        ValueKind::Number => of_number(value, method, given),
        _ => Err(Failure::from(ErrorKind::UnknownMethod)),
    }
}

/// The attribute `name`, or the method, not called.
pub fn attribute(value: &Value, name: &str) -> Result<Value, Failure> {
    let has = match value.kind() {
        ValueKind::String => strings::has(name),
        ValueKind::Map => OF_DICTIONARIES.contains(&name) && !is_namespace(value),
        ValueKind::Seq | ValueKind::Iterable if is_list(value) => OF_SEQUENCES.contains(&name),
        _ => false,
    };
    if has {
        let (receiver, method) = (value.clone(), name.to_string());
        return Ok(Value::from_object(Bound { receiver, method }));
    }
    value.get_attr(name)
}

/// Whether `value` is what `namespace()` made, which the engine says in no other way.
pub fn is_namespace(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|object| object.type_name().ends_with("Namespace"))
}

fn of_dictionary(value: &Value, method: &str, given: &[Value]) -> Result<Value, Failure> {
    let pairs = || {
        let pairs = value.as_object().and_then(|o| o.try_iter_pairs());
        pairs.into_iter().flatten()
    };
    let view = |name, items| Ok(Value::from_object(View { name, items }));
    if method == "get" {
        let arguments = Arguments::bind("get()", ["", ""], given)?;
        let found = value.get_item(arguments.need(0)?)?;
        return Ok(match found.is_undefined() {
            true => arguments.get(1).cloned().unwrap_or(Value::from(())),
            false => found,
        });
    }
    steps(value.len().unwrap_or(0))?;
    if OF_DICTIONARIES.contains(&method) {
        Arguments::bind(method, [], given)?;
    }
    match method {
        "keys" => view("dict_keys", pairs().map(|(key, _)| key).collect()),
        "values" => view("dict_values", pairs().map(|(_, value)| value).collect()),
        "items" => view(
            "dict_items",
            pairs().map(|(key, value)| pair(key, value)).collect(),
        ),
        "copy" => Ok(Value::from_pairs(pairs())),
        _ => Err(Failure::from(ErrorKind::UnknownMethod)),
    }
}

fn of_sequence(value: &Value, method: &str, given: &[Value]) -> Result<Value, Failure> {
    match method {
        "count" => {
            let arguments = Arguments::bind("count()", [""], given)?;
            let sought = arguments.need(0)?;
            let n = items(value)?.iter().filter(|item| *item == sought).count();
            Ok(Value::from(n))
        }
        "index" => {
            let arguments = Arguments::bind("index()", ["", "", ""], given)?;
            let (sought, items) = (arguments.need(0)?, items(value)?);
            let n = items.len() as i64;
            let place = |at, default| -> Result<usize, Failure> {
                let place = arguments.whole(at, default)?;
                Ok((if place < 0 { place + n } else { place }).clamp(0, n) as usize)
            };
            let (start, end) = (place(1, 0)?, place(2, n)?);
            let found = items
                .iter()
                .take(end)
                .skip(start)
                .position(|item| item == sought);
            match found {
                Some(at) => Ok(Value::from(start + at)),
                None => Err(failure("index() found no such item")),
            }
        }
        "copy" if !value.is_tuple() => {
            Arguments::bind("copy()", [], given)?;
            Ok(Value::from(items(value)?))
        }
        _ => Err(Failure::from(ErrorKind::UnknownMethod)),
    }
}

fn of_number(value: &Value, method: &str, given: &[Value]) -> Result<Value, Failure> {
    let arguments = Arguments::bind(method, [], given);
    match (method, value.as_i64().filter(|_| value.is_integer())) {
        ("bit_length", Some(number)) => {
            arguments?;
            Ok(Value::from(
                u64::BITS - number.unsigned_abs().leading_zeros(),
            ))
        }
        ("is_integer", _) => {
            arguments?;
            let whole = f64::try_from(value.clone()).is_ok_and(|n| n.fract() == 0.0);
            Ok(Value::from(value.is_integer() || whole))
        }
        _ => Err(Failure::from(ErrorKind::UnknownMethod)),
    }
}
