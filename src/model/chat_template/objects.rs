//! Objects that Python has as types of their own and the engine as lists or not at all.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error as Failure, ErrorKind, State, Value};

use super::arguments::{Arguments, failure, items, split};
use super::keeping::keep;
use super::python::repr;

/// Numbers that a `range` may have, as in Jinja's sandbox.
const MAX_RANGE: u64 = 100_000;

/// The result of `keys()`, `values()` or `items()` of a dictionary.
#[derive(Debug)]
pub struct View {
    pub name: &'static str,
    pub items: Vec<Value>,
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = repr(&Value::from(self.items.clone()));
        write!(f, "{}({items})", self.name)
    }
}

/// The result of a filter that goes through a sequence: to be gone through once, always true,
/// without a length.
#[derive(Debug)]
pub struct Generator(Mutex<std::vec::IntoIter<Value>>);

impl Generator {
    pub fn of(items: Vec<Value>) -> Value {
        Value::from_object(Self(Mutex::new(items.into_iter())))
    }

    /// The items that are left.
    pub fn left(&self) -> Vec<Value> {
        let items = self.0.lock();
        items.map_or(Vec::new(), |items| items.as_slice().to_vec())
    }

    fn next(&self) -> Option<Value> {
        self.0.lock().ok()?.next()
    }
}

impl Object for Generator {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let generator = self.clone();
        Enumerator::Iter(Box::new(std::iter::from_fn(move || generator.next())))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        None
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<generator object>")
    }
}

/// Python's `range`.
#[derive(Debug)]
pub struct Range {
    start: i64,
    step: i64,
    stop: i64,
    n: usize,
}

/// `range(stop)`, `range(start, stop)` or `range(start, stop, step)`.
pub fn range(given: &[Value]) -> Result<Value, Failure> {
    let arguments = Arguments::bind("range()", ["", "", ""], given)?;
    arguments.need(0)?;
    let first = arguments.whole(0, 0)?;
    let (start, stop) = match arguments.get(1) {
        Some(_) => (first, arguments.whole(1, 0)?),
        None => (0, first),
    };
    let step = arguments.whole(2, 1)?;
    let n = match step {
        0 => return Err(failure("range() expects a step that is not 0")),
        1.. if start < stop => (stop.abs_diff(start) - 1) / step.unsigned_abs() + 1,
        ..0 if start > stop => (start.abs_diff(stop) - 1) / step.unsigned_abs() + 1,
        _ => 0,
    };
    if n > MAX_RANGE {
        return Err(failure(format!(
            "range() expects at most {MAX_RANGE} numbers, found {n}"
        )));
    }
    let n = n as usize;
    Ok(Value::from_object(Range {
        start,
        step,
        stop,
        n,
    }))
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = key.as_usize().filter(|&at| at < self.n)?;
        Some(Value::from(self.start + self.step * at as i64))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.n)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            1 => write!(f, "range({}, {})", self.start, self.stop),
            step => write!(f, "range({}, {}, {step})", self.start, self.stop),
        }
    }
}

/// Whether `value` is a list or a tuple. The engine has slices of them as iterators.
pub fn is_list(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Seq => value.downcast_object_ref::<Range>().is_none(),
        ValueKind::Iterable => {
            value.downcast_object_ref::<View>().is_none()
                && value.downcast_object_ref::<Generator>().is_none()
        }
        _ => false,
    }
}

/// A method that was looked up and not called.
#[derive(Debug)]
pub struct Bound {
    pub receiver: Value,
    pub method: String,
}

impl Object for Bound {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Failure> {
        self.receiver.call_method(state, &self.method, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.receiver.kind();
        write!(f, "<built-in method {} of {kind} object>", self.method)
    }
}

/// Jinja's `cycler`.
#[derive(Debug)]
pub struct Cycler {
    pub items: Vec<Value>,
    at: AtomicUsize,
}

/// `cycler(...)`.
pub fn cycler(given: &[Value]) -> Result<Value, Failure> {
    match split(given)? {
        ([_, ..], None) => Ok(Value::from_object(Cycler {
            items: given
                .iter()
                .map(|item| keep(item, 1))
                .collect::<Result<_, _>>()?,
            at: AtomicUsize::new(0),
        })),
        _ => Err(failure("cycler() expects items, and no keywords")),
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "current" => Some(self.items[self.at.load(Ordering::Relaxed)].clone()),
            method @ ("next" | "reset") => Some(Value::from_object(Bound {
                receiver: Value::from_dyn_object(self.clone()),
                method: method.to_string(),
            })),
            _ => None,
        }
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Failure> {
        Arguments::bind(method, [], args)?;
        match method {
            "next" => {
                let at = self.at.load(Ordering::Relaxed);
                self.at
                    .store((at + 1) % self.items.len(), Ordering::Relaxed);
                Ok(self.items[at].clone())
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Failure::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// The `dict` that templates see: to be called, and with `fromkeys`.
#[derive(Debug)]
pub struct Dict;

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Failure> {
        dict("dict()", args)
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Failure> {
        if method != "fromkeys" {
            return Err(Failure::from(ErrorKind::UnknownMethod));
        }
        let arguments = Arguments::bind("fromkeys()", ["", ""], args)?;
        let value = arguments.get(1).cloned().unwrap_or(Value::from(()));
        let keys = items(arguments.need(0)?)?;
        Ok(Value::from_pairs(
            keys.into_iter().map(|key| (key, value.clone())),
        ))
    }
}

/// A dictionary of another one or of pairs, and of keywords.
pub fn dict(what: &str, given: &[Value]) -> Result<Value, Failure> {
    let (positional, keywords) = split(given)?;
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    match positional {
        [] => (),
        [other] if other.kind() == ValueKind::Map => {
            let theirs = other.as_object().and_then(|o| o.try_iter_pairs());
            pairs.extend(theirs.into_iter().flatten());
        }
        [other] => {
            for pair in items(other)? {
                match <[Value; 2]>::try_from(items(&pair)?) {
                    Ok([key, value]) => pairs.push((key, value)),
                    Err(_) => return Err(failure(format!("{what} expects pairs"))),
                }
            }
        }
        _ => return Err(failure(format!("{what} expects at most 1 argument"))),
    }
    for (name, keywords) in keywords
        .iter()
        .flat_map(|k| k.args().map(move |name| (name, k)))
    {
        pairs.push((Value::from(name), keywords.get(name)?));
    }
    Ok(Value::from_pairs(pairs))
}

/// `namespace(...)`, whose names may not begin with an underscore, as transformers has it.
pub fn namespace(given: &[Value]) -> Result<Value, Failure> {
    let attributes = dict("namespace()", given)?;
    for name in attributes.try_iter()? {
        if name.as_str().is_some_and(|name| name.starts_with('_')) {
            return Err(failure(format!("namespace() refuses the name `{name}`")));
        }
    }
    minijinja::functions::namespace(Some(keep(&attributes, 0)?.into()))
}

/// A pair, as `items` gives it.
pub fn pair(key: Value, value: Value) -> Value {
    Value::from(Tuple::from([key, value]))
}
