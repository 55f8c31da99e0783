//! Jinja as transformers sets it up.

use jiff::ZonedDateTime;
use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error as Failure, State, Value};
use minijinja_contrib::globals::joiner;

use super::arguments::{Arguments, Given, failure, items};
use super::dates::strftime;
use super::keeping::{KEEP, keep, keep_given};
use super::limits::look;
use super::objects::{Dict, Generator, View, cycler, namespace, range};
use super::source::ITERATE;
use super::string_making::{CONCAT, concat};
use super::{checks, filters, methods, python, text_filters};

/// The environment that templates are rendered in, with `steps` to take; `now` is the time, the
/// clock's where nothing is set.
pub fn environment<'a>(now: Option<DateTime>, steps: u64) -> Environment<'a> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(steps));
    environment.set_formatter(python::write_value);
    environment.set_unknown_method_callback(methods::unknown_method);
    checks::add(&mut environment);
    filters::add(&mut environment);
    text_filters::add(&mut environment);
    environment.remove_global("debug");
    environment.add_global("dict", Value::from_object(Dict));
    environment.add_function("cycler", |given: Given| cycler(&given.into_values()));
    environment.add_function("joiner", |given: Given| {
        let arguments = Arguments::of("joiner()", ["sep"], given)?;
        let separator = arguments.get(0).map(|value| keep(value, 0)).transpose()?;
        Ok::<_, Failure>(joiner(separator))
    });
    environment.add_function("namespace", |given: Given| namespace(&given.into_values()));
    environment.add_function("range", |given: Given| range(&given.into_values()));
    environment.add_function("raise_exception", |given: Given| {
        let arguments = Arguments::of("raise_exception()", ["message"], given)?;
        Err::<Value, _>(failure(python::text(arguments.need(0)?)))
    });
    environment.add_function("strftime_now", move |given: Given| {
        let arguments = Arguments::of("strftime_now()", ["format"], given)?;
        let now = now.unwrap_or_else(|| ZonedDateTime::now().datetime());
        strftime(arguments.text(0)?, now)
    });
    environment.add_function(CONCAT, |state: &State, given: Given| {
        concat(state, &given.into_values())
    });
    environment.add_function(KEEP, |given: Given| keep_given(&given.into_values()));
    environment.add_function(ITERATE, |given: Given| iterate(&given.into_values()));
    environment
}

/// The items of a loop: a list where the value has no length of its own, so that the loop knows how
/// long it is; several values stand for a tuple of them.
fn iterate(given: &[Value]) -> Result<Value, Failure> {
    match given {
        [value] if value.is_none() => Err(failure("`None` is not iterable")),
        [value] => {
            let listed = value.downcast_object_ref::<Generator>().is_some()
                || value.downcast_object_ref::<View>().is_some();
            let value = keep(value, 2)?;
            let counted = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
                && value.len().is_some();
            match listed || counted {
                true => Ok(timed(items(&value)?)),
                false => Ok(value),
            }
        }
        several => keep(&Value::from(minijinja::value::Tuple::from(several)), 2),
    }
}

/// A list for a loop, which ends with an error once it has run for too long.
fn timed(items: Vec<Value>) -> Value {
    Value::make_object_iterable(items, |items| {
        let items = items.iter().cloned();
        Box::new(items.map(|item| look().map_or_else(Value::from, |()| item)))
    })
}
