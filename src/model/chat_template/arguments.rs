//! Arguments bound to the names of a Python signature, and converted as Python converts them.

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error as Failure, ErrorKind, State, Value};

use super::limits::{MAX_BYTES, steps};

/// An error of a template; `message` names the call that failed.
pub fn failure(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidOperation, message.into())
}

/// The arguments after the value that a filter or a test is applied to, or those of a function.
pub type Given = Rest<ValueOrKwargs>;

/// The arguments of one call, in the order of its signature; `None` stands for one left out.
pub struct Arguments<'a, const N: usize> {
    what: &'a str,
    names: [&'a str; N],
    values: [Option<Value>; N],
}

impl<'a, const N: usize> Arguments<'a, N> {
    /// Binds `given` to `names`. A name that is empty stands for one that has no keyword.
    pub fn bind(what: &'a str, names: [&'a str; N], given: &[Value]) -> Result<Self, Failure> {
        let (positional, keywords) = split(given)?;
        let mut values = [const { None }; N];
        if positional.len() > N {
            let n = positional.len();
            return Err(failure(format!(
                "{what} takes at most {N} arguments, found {n}"
            )));
        }
        for (place, value) in values.iter_mut().zip(positional) {
            *place = Some(value.clone());
        }
        for name in keywords.iter().flat_map(Kwargs::args) {
            match names.iter().position(|n| n == &name) {
                Some(at) if values[at].is_none() => {
                    values[at] = Some(
                        keywords
                            .as_ref()
                            .map_or(Ok(Value::UNDEFINED), |k| k.get(name))?,
                    );
                }
                Some(_) => return Err(failure(format!("{what} was given `{name}` twice"))),
                None => return Err(failure(format!("{what} takes no argument `{name}`"))),
            }
        }
        Ok(Self {
            what,
            names,
            values,
        })
    }

    /// Binds the arguments that the engine hands to filters and functions to `names`.
    pub fn of(what: &'a str, names: [&'a str; N], given: Given) -> Result<Self, Failure> {
        Self::bind(what, names, &given.into_values())
    }

    /// The argument as it was given.
    pub fn get(&self, at: usize) -> Option<&Value> {
        self.values[at].as_ref()
    }

    /// An argument that must be given.
    pub fn need(&self, at: usize) -> Result<&Value, Failure> {
        self.get(at).ok_or_else(|| {
            let name = self.names[at];
            failure(format!("{} needs an argument {name}", self.what))
        })
    }

    /// An argument that is absent or `None`, or else something.
    pub fn some(&self, at: usize) -> Option<&Value> {
        self.get(at).filter(|v| !v.is_none())
    }

    /// A string that must be given.
    pub fn text(&self, at: usize) -> Result<&str, Failure> {
        let value = self.need(at)?;
        value.as_str().ok_or_else(|| self.wrong(value, "a string"))
    }

    /// A string, where one is given that is not `None`.
    pub fn some_text(&self, at: usize) -> Result<Option<&str>, Failure> {
        match self.some(at) {
            Some(_) => self.text(at).map(Some),
            None => Ok(None),
        }
    }

    /// A whole number, or `default`. Python's `True` is 1.
    pub fn whole(&self, at: usize, default: i64) -> Result<i64, Failure> {
        match self.get(at) {
            None => Ok(default),
            Some(value) if value.kind() == ValueKind::Bool => Ok(i64::from(value.is_true())),
            Some(value) if value.is_integer() => {
                value.as_i64().ok_or_else(|| self.wrong(value, "a number"))
            }
            Some(value) => Err(self.wrong(value, "a whole number")),
        }
    }

    /// Whether an argument is true, as Python has it.
    pub fn flag(&self, at: usize, default: bool) -> bool {
        self.get(at).map_or(default, Value::is_true)
    }

    /// The error where `value` is not `expected`.
    pub fn wrong(&self, value: &Value, expected: &str) -> Failure {
        let (what, found) = (self.what, value.kind());
        failure(format!("{what} expects {expected}, found {found}"))
    }
}

/// The positional arguments of a call, and its keywords, which stand last.
pub fn split(given: &[Value]) -> Result<(&[Value], Option<Kwargs>), Failure> {
    match given.split_last() {
        Some((last, rest)) if last.is_kwargs() => Ok((rest, Some(Kwargs::try_from(last.clone())?))),
        _ => Ok((given, None)),
    }
}

/// The items that Python's `for` goes through: a string's characters too, but none of `None`.
pub fn items(value: &Value) -> Result<Vec<Value>, Failure> {
    match value.kind() {
        ValueKind::None => Err(failure("`None` is not iterable")),
        _ => match value.as_str() {
            Some(text) => {
                steps(text.len())?;
                Ok(text.chars().map(|c| Value::from(c.to_string())).collect())
            }
            None => {
                let items = value.try_iter()?.checked();
                items
                    .map(|item| item.and_then(|item| steps(1).map(|()| item)))
                    .collect()
            }
        },
    }
}

/// Takes fuel for `n` bytes before they are made, as the engine takes it for bytes that were made.
pub fn pay(state: &State, n: usize) -> Result<(), Failure> {
    if n > MAX_BYTES {
        let most = MAX_BYTES >> 20;
        return Err(failure(format!("a text of more than {most} MiB")));
    }
    steps(n / 64)?;
    state.consume_fuel((n / 64) as u64)
}
