//! Jinja's filters, where the engine's are others: those of sequences and numbers.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error as Failure, State, Value, filters};

use super::arguments::{Arguments, Given, failure, items};
use super::limits::{may_go_on, steps};
use super::methods::{attribute, is_namespace};
use super::objects::{Generator, is_list, pair};
use super::python::repr;
use super::to_json::{same_kind, to_json};

/// Filters that the engine has and Jinja does not.
const FOREIGN: [&str; 5] = ["bool", "chain", "lines", "split", "zip"];

/// Puts Jinja's filters of sequences and numbers in the place of the engine's.
pub fn add(environment: &mut Environment) {
    for name in FOREIGN {
        environment.remove_filter(name);
    }
    lazy(environment, "batch", Value::from_function(filters::batch));
    lazy(environment, "map", Value::from_function(filters::map));
    lazy(environment, "reject", Value::from_function(filters::reject));
    lazy(
        environment,
        "rejectattr",
        Value::from_function(filters::rejectattr),
    );
    lazy(environment, "select", Value::from_function(filters::select));
    lazy(
        environment,
        "selectattr",
        Value::from_function(filters::selectattr),
    );
    lazy(environment, "slice", Value::from_function(filters::slice));
    let names = ["case_sensitive", "by", "reverse"];
    named(
        environment,
        "dictsort",
        names,
        Value::from_function(filters::dictsort),
    );
    let names = ["reverse", "case_sensitive", "attribute"];
    named(
        environment,
        "sort",
        names,
        Value::from_function(filters::sort),
    );
    let names = ["case_sensitive", "attribute"];
    named(
        environment,
        "max",
        names,
        Value::from_function(filters::max),
    );
    named(
        environment,
        "min",
        names,
        Value::from_function(filters::min),
    );
    named(
        environment,
        "unique",
        names,
        Value::from_function(filters::unique),
    );
    environment.add_filter("attr", attr);
    environment.add_filter("d", default);
    environment.add_filter("default", default);
    environment.add_filter("float", to_float);
    environment.add_filter("int", to_int);
    environment.add_filter("items", pairs);
    environment.add_filter("list", |value: &Value| items(value));
    environment.add_filter("pprint", pprint);
    environment.add_filter("reverse", reverse);
    environment.add_filter("tojson", to_json);
}

/// The engine's filter `name`, which gives a generator.
fn lazy(environment: &mut Environment, name: &'static str, engine: Value) {
    environment.add_filter(name, move |state: &mut State, given: Given| {
        let found = engine.call(state, &given.into_values())?;
        Ok::<_, Failure>(Generator::of(items(&found)?))
    });
}

/// The engine's filter `name`, which knows its arguments by keywords alone, with Jinja's signature.
/// Values that Python cannot put in order are refused.
fn named<const N: usize>(
    environment: &mut Environment,
    name: &'static str,
    names: [&'static str; N],
    engine: Value,
) {
    environment.add_filter(
        name,
        move |state: &mut State, value: &Value, given: Given| {
            let arguments = Arguments::of(name, names, given)?;
            let mut keywords: Vec<(&str, Value)> = Vec::new();
            for (at, key) in names.into_iter().enumerate() {
                keywords.extend(arguments.some(at).map(|value| match key {
                    "attribute" if value.is_integer() => (key, Value::from(value.to_string())),
                    "attribute" | "by" => (key, value.clone()),
                    _ => (key, Value::from(value.is_true())),
                }));
            }
            let by_itself = keywords.iter().all(|(key, _)| *key != "attribute");
            if by_itself && !matches!(name, "unique" | "dictsort") {
                same_kind(items(value)?.iter())?;
            }
            let keywords: Kwargs = keywords.into_iter().collect();
            let value = match value.as_str() {
                Some(_) => Value::from(items(value)?),
                None => value.clone(),
            };
            let found = engine.call(state, &[value, keywords.into()])?;
            match name {
                "unique" => Ok(Generator::of(items(&found)?)),
                _ => Ok::<_, Failure>(found),
            }
        },
    );
}

/// An attribute, which a key of a dictionary is not.
fn attr(value: &Value, name: &str) -> Result<Value, Failure> {
    let found = attribute(value, name)?;
    match value.kind() == ValueKind::Map && found.kind() != ValueKind::Plain {
        true => Ok(Value::UNDEFINED),
        false => Ok(found),
    }
}

fn default(value: &Value, given: Given) -> Result<Value, Failure> {
    let arguments = Arguments::of("default", ["default_value", "boolean"], given)?;
    match value.is_undefined() || (arguments.flag(1, false) && !value.is_true()) {
        true => Ok(arguments.get(0).cloned().unwrap_or(Value::from(""))),
        false => Ok(value.clone()),
    }
}

/// The text of a number without blanks around it and the underscores that Python takes.
fn digits(text: &str) -> String {
    let bytes = text.trim().as_bytes();
    let alphanumeric = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let kept = (0..bytes.len()).filter(|&at| {
        !(bytes[at] == b'_' && at > 0 && alphanumeric(at - 1) && alphanumeric(at + 1))
    });
    String::from_utf8_lossy(&kept.map(|at| bytes[at]).collect::<Vec<_>>()).into_owned()
}

/// Python's `float`, or nothing.
pub fn as_float(value: &Value) -> Result<Option<f64>, Failure> {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => Ok(digits(text).parse().ok()),
        (None, ValueKind::Undefined) => Err(failure("an undefined value is no number")),
        (None, ValueKind::Bool) => Ok(Some(f64::from(value.is_true()))),
        (None, ValueKind::Number) => f64::try_from(value.clone()).map(Some),
        _ => Ok(None),
    }
}

fn to_float(value: &Value, given: Given) -> Result<Value, Failure> {
    let arguments = Arguments::of("float", ["default"], given)?;
    let default = arguments.get(0).cloned().unwrap_or(Value::from(0.0));
    Ok(as_float(value)?.map_or(default, Value::from))
}

fn to_int(value: &Value, given: Given) -> Result<Value, Failure> {
    let arguments = Arguments::of("int", ["default", "base"], given)?;
    let default = arguments.get(0).cloned().unwrap_or(Value::from(0));
    let base = u32::try_from(arguments.whole(1, 10)?).unwrap_or(0);
    if value.is_integer() {
        return Ok(value.clone());
    }
    if let Some(number) = value.as_str().and_then(|text| whole(&digits(text), base)) {
        return Ok(Value::from(number));
    }
    let number = as_float(value)?.filter(|n| n.abs() < 1e38);
    Ok(number.map_or(default, |n| Value::from(n as i128)))
}

/// Python's `int` of a text.
fn whole(text: &str, base: u32) -> Option<i128> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = rest.get(..2).map(str::to_ascii_lowercase);
    let (base, rest) = match (prefix.as_deref(), base) {
        (Some("0x"), 16 | 0) => (16, &rest[2..]),
        (Some("0o"), 8 | 0) => (8, &rest[2..]),
        (Some("0b"), 2 | 0) => (2, &rest[2..]),
        (_, 0) => (10, rest),
        (_, 2..=36) => (base, rest),
        _ => return None,
    };
    let unsigned = !rest.starts_with(['-', '+']);
    i128::from_str_radix(rest, base)
        .ok()
        .filter(|_| unsigned)
        .map(|n| sign * n)
}

fn pairs(value: &Value) -> Result<Value, Failure> {
    match value.kind() {
        ValueKind::Undefined => Ok(Generator::of(Vec::new())),
        ValueKind::Map => {
            steps(value.len().unwrap_or(0))?;
            let pairs = value.as_object().and_then(|o| o.try_iter_pairs());
            let pairs = pairs.into_iter().flatten();
            Ok(Generator::of(
                pairs.map(|(key, value)| pair(key, value)).collect(),
            ))
        }
        kind => Err(failure(format!("items expects a map, found {kind}"))),
    }
}

/// Python's `pprint` of a value that fits a line.
fn pprint(value: &Value) -> Result<String, Failure> {
    let text = repr(&sorted(value));
    match text.chars().count() {
        ..80 => Ok(text),
        n => Err(failure(format!(
            "pprint expects a value of at most 79 characters, found {n}"
        ))),
    }
}

/// `value` with dictionaries in the order of their keys.
fn sorted(value: &Value) -> Value {
    let within = || {
        value
            .try_iter()
            .into_iter()
            .flatten()
            .take_while(|_| may_go_on(1))
            .map(|item| sorted(&item))
    };
    match value.kind() {
        ValueKind::Map if !is_namespace(value) => {
            let pairs = value.as_object().and_then(|o| o.try_iter_pairs());
            let mut pairs: Vec<_> = pairs.into_iter().flatten().collect();
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::from_pairs(pairs.into_iter().map(|(key, value)| (key, sorted(&value))))
        }
        ValueKind::Seq if value.is_tuple() => {
            Value::from(minijinja::value::Tuple::new(within().collect()))
        }
        _ if is_list(value) => Value::from(within().collect::<Vec<_>>()),
        _ => value.clone(),
    }
}

fn reverse(value: &Value) -> Result<Value, Failure> {
    match value.as_str() {
        Some(text) => Ok(Value::from(text.chars().rev().collect::<String>())),
        None => Ok(Generator::of(items(value)?.into_iter().rev().collect())),
    }
}
