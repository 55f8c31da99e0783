//! Values that a template gives a name to.
//!
//! Whatever is written, compared or freed is walked through, and the engine does so without an
//! end to how deep or how long. So no value gets a name that is too deep or too large for that, or
//! that would hold itself.

use minijinja::value::ValueKind;
use minijinja::{Error as Failure, Value};

use super::arguments::{failure, items};
use super::limits::{MAX_BYTES, MAX_DEPTH, max_values, steps};
use super::methods::is_namespace;
use super::objects::{Bound, Cycler, Generator, is_list};

/// Bytes of the text of a number, with what stands around it.
const SCALAR: usize = 8;

/// The function that values with a name go through, and how many values deep a namespace may
/// stand in them.
pub const KEEP: &str = "__keep__";

/// The value of `KEEP(value, depth)`.
pub fn keep_given(given: &[Value]) -> Result<Value, Failure> {
    match given {
        [value, depth] => keep(value, depth.as_usize().unwrap_or(0)),
        _ => Err(failure("a value is missing")),
    }
}

/// `value`, not too deep, nor too large, nor with a namespace in it, unless so deep or less. What
/// the engine would make item by item, such as the sum of two lists, is a list afterwards.
pub fn keep(value: &Value, namespaces: usize) -> Result<Value, Failure> {
    if value.as_object().is_none() && value.as_str().is_none() {
        return Ok(value.clone());
    }
    let kept = match value.kind() == ValueKind::Iterable && is_list(value) {
        true => Value::from(items(value)?),
        false => value.clone(),
    };
    let mut walk = Walk {
        values: 0,
        most: max_values(),
        bytes: 0,
        namespaces,
    };
    walk.through(&kept, 0)?;
    Ok(kept)
}

/// About how many bytes `value` takes as text.
pub fn text_size(value: &Value) -> Result<usize, Failure> {
    let mut walk = Walk {
        values: 0,
        most: max_values(),
        bytes: 0,
        namespaces: usize::MAX,
    };
    walk.through(value, 0)?;
    Ok(walk.bytes + walk.values * SCALAR)
}

struct Walk {
    values: usize,
    most: usize,
    bytes: usize,
    namespaces: usize,
}

impl Walk {
    fn through(&mut self, value: &Value, depth: usize) -> Result<(), Failure> {
        self.values += 1;
        if let Some(text) = value.as_str() {
            self.bytes = self.bytes.saturating_add(text.len());
        }
        if self.values > self.most {
            let most = self.most;
            return Err(failure(format!(
                "a value that consists of more than {most} values"
            )));
        }
        if self.bytes > MAX_BYTES {
            let most = MAX_BYTES >> 20;
            return Err(failure(format!("a value that takes more than {most} MiB")));
        }
        if depth > MAX_DEPTH {
            return Err(failure(format!(
                "a value with more than {MAX_DEPTH} others around it"
            )));
        }
        let Some(object) = value.as_object() else {
            return Ok(());
        };
        steps(1)?;
        if let Some(bound) = object.downcast_ref::<Bound>() {
            return self.through(&bound.receiver, depth + 1);
        }
        if let Some(cycler) = object.downcast_ref::<Cycler>() {
            return self.all(&cycler.items, depth);
        }
        if let Some(generator) = object.downcast_ref::<Generator>() {
            return self.all(&generator.left(), depth);
        }
        match value.kind() {
            ValueKind::Map => {
                if is_namespace(value) && depth >= self.namespaces {
                    return Err(failure("a namespace inside another value"));
                }
                let pairs = object.try_iter_pairs().into_iter().flatten();
                for (key, value) in pairs {
                    self.through(&key, depth + 1)?;
                    self.through(&value, depth + 1)?;
                }
                Ok(())
            }
            ValueKind::Seq | ValueKind::Iterable => {
                for item in object.try_iter().into_iter().flatten() {
                    self.through(&item, depth + 1)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn all(&mut self, items: &[Value], depth: usize) -> Result<(), Failure> {
        items
            .iter()
            .try_for_each(|item| self.through(item, depth + 1))
    }
}
