//! Reading fields of a JSON file, with errors that name the file and the field.

use serde_json::{Map, Value};

use super::python_json::{self, not_finite};
use crate::error::{Error, Result, first_line};

/// A JSON object together with the file it came from and its place in it.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    file: &'a str,
    path: &'a str,
    fields: &'a Map<String, Value>,
}

/// Parses `text`, which must be one JSON object; numbers that are not finite may stand in it as
/// Python writes them.
pub fn parse_object(file: &str, text: &str) -> Result<Map<String, Value>> {
    match python_json::parse(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(Error::file(file, "a JSON object", kind(&other))),
        Err(e) => Err(Error::file(file, "valid JSON", first_line(e))),
    }
}

impl<'a> Object<'a> {
    pub fn new(file: &'a str, fields: &'a Map<String, Value>) -> Self {
        Self {
            file,
            path: "",
            fields,
        }
    }

    /// An object inside another; `path` is how errors name it.
    pub fn nested(file: &'a str, path: &'a str, fields: &'a Map<String, Value>) -> Self {
        Self { file, path, fields }
    }

    /// Refuses a field that is none of `known`; only requests to the server are read so strictly.
    #[cfg(feature = "cli")]
    pub fn check_names(&self, known: &[&str]) -> Result<()> {
        let unknown = self.fields.keys().find(|k| !known.contains(&k.as_str()));
        match unknown {
            None => Ok(()),
            Some(name) => {
                let names: Vec<_> = known.iter().map(|n| format!("`{n}`")).collect();
                let found = "a field that is not known";
                Err(self.error(name, &format!("only {} here", names.join(", ")), found))
            }
        }
    }

    /// The field's value, where JSON's `null` counts as absent.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|v| !v.is_null())
    }

    /// The field's value, where all that is false to Python counts as absent: `null`, `false`, 0,
    /// and what is empty.
    pub fn asked(&self, field: &str) -> Option<&'a Value> {
        self.get(field).filter(|value| match value {
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(values) => !values.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Null => false,
        })
    }

    /// The names and values of all fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.fields.iter()
    }

    /// Whether the field is there, be it null.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The nested object `field`, if there is one. `path` is how errors name it.
    pub fn object(&self, field: &str, path: &'a str) -> Result<Option<Object<'a>>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(fields)) if not_finite(&self.fields[field]).is_none() => {
                Ok(Some(Self::nested(self.file, path, fields)))
            }
            Some(other) => Err(self.error(field, "an object", &kind(other))),
        }
    }

    /// A whole number, or `None` where the field is absent.
    pub fn whole(&self, field: &str) -> Result<Option<usize>> {
        self.get(field)
            .map(|v| {
                v.as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .filter(|&n| n <= u32::MAX as usize)
                    .ok_or_else(|| self.error(field, whole_expected(v), &kind(v)))
            })
            .transpose()
    }

    /// A whole number of at least `least`, with `default` where the field is absent
    /// (`None`: the field is required).
    pub fn whole_from(&self, field: &str, least: usize, default: Option<usize>) -> Result<usize> {
        let expected = format!("a whole number of at least {least}");
        match self.whole(field)?.or(default) {
            Some(n) if n >= least => Ok(n),
            Some(n) => Err(self.error(field, &expected, &n.to_string())),
            None => Err(self.error(field, &expected, "nothing")),
        }
    }

    /// A finite number, or `None` where the field is absent.
    pub fn number(&self, field: &str) -> Result<Option<f64>> {
        self.get(field)
            .map(|v| {
                v.as_f64()
                    .filter(|x| x.is_finite())
                    .ok_or_else(|| self.error(field, "a finite number", &kind(v)))
            })
            .transpose()
    }

    /// A finite number that `fits`, or `None` where the field is absent; `expected` says which.
    pub fn number_that(
        &self,
        field: &str,
        expected: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>> {
        match self.number(field)? {
            Some(x) if !fits(x) => Err(self.error(field, expected, &x.to_string())),
            other => Ok(other),
        }
    }

    /// `true` or `false`, with a default where the field is absent.
    pub fn flag(&self, field: &str, default: bool) -> Result<bool> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(v) => Err(self.error(field, "true or false", &kind(v))),
        }
    }

    /// A string, or `None` where the field is absent.
    pub fn text(&self, field: &str) -> Result<Option<&'a str>> {
        self.get(field)
            .map(|v| {
                v.as_str()
                    .ok_or_else(|| self.error(field, "a string", &kind(v)))
            })
            .transpose()
    }

    /// One of the named values, with a default where the field is absent.
    pub fn choice<T: Copy>(&self, field: &str, names: &[(&str, T)], default: T) -> Result<T> {
        let Some(found) = self.text(field)? else {
            return Ok(default);
        };
        match names.iter().find(|(name, _)| *name == found) {
            Some((_, value)) => Ok(*value),
            None => {
                let known: Vec<_> = names.iter().map(|(n, _)| format!("`{n}`")).collect();
                Err(self.error(field, &known.join(" or "), &format!("`{found}`")))
            }
        }
    }

    /// An error about `field` of this object.
    pub fn error(&self, field: &str, expected: &str, found: &str) -> Error {
        let field = match self.path {
            "" => field.to_string(),
            path => format!("{path}.{field}"),
        };
        Error::Field {
            file: self.file.to_string(),
            field,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// The expectation that an error states where a value is no whole number, or none that a field
/// takes.
fn whole_expected(value: &Value) -> &'static str {
    match value.as_f64() {
        Some(x) if x > f64::from(u32::MAX) => "a whole number of at most 4294967295",
        Some(x) if x < 0.0 => "a whole number of at least 0",
        _ => "a whole number",
    }
}

/// How an error shows a value: itself where it is short, else its type.
pub fn kind(value: &Value) -> String {
    if let Some(word) = not_finite(value) {
        return word.to_string();
    }
    match value {
        Value::Array(_) => "an array".to_string(),
        Value::Object(_) => "an object".to_string(),
        Value::String(s) => format!("`{}`", s.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}
