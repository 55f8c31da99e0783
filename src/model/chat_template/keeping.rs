//! Values that a template gives a name to.
//!
//! Whatever is written, compared or freed is walked through, and the engine does so without an
//! end to how deep or how long. So no value gets a name that is too deep or too large for that, or
//! that would hold itself.

use std::cell::RefCell;
use std::collections::VecDeque;

use minijinja::value::ValueKind;
use minijinja::{Error as Failure, Value};

use super::arguments::{failure, items};
use super::limits::{MAX_BYTES, MAX_DEPTH, max_values, steps};
use super::methods::is_namespace;
use super::objects::{Bound, Cycler, Generator, is_list};

/// Bytes of the text of a number, with the marks around it.
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

/// `value`, not too deep, nor too large, nor with a namespace in it, unless so deep or less. A
/// value that the engine would make item by item, such as the sum of two lists, is a list
/// afterwards.
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
        generators: false,
    };
    match kept.downcast_object_ref::<Vec<Value>>() {
        // To compare lists may go through a generator, which can be done but once.
        Some(items) if items.len() >= LONG && items.iter().all(is_plain) => {
            let known = begin_like(&kept, items, namespaces);
            (walk.values, walk.bytes) = (known.values, known.bytes);
            walk.all(&items[known.n..], 0)?;
            if !walk.generators {
                remember(&kept, namespaces, &walk);
            }
        }
        _ => walk.through(&kept, 0)?,
    }
    Ok(kept)
}

/// Whether a value is no sequence of others.
fn is_plain(value: &Value) -> bool {
    !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

/// Items of a list that are worth looking for among those that are known.
const LONG: usize = 32;

/// Lists that are known.
const KNOWN: usize = 4;

thread_local! {
    /// The long lists that were kept last: lists that grow item by item are walked through once.
    static LISTS: RefCell<VecDeque<(Value, usize, Known)>> = const { RefCell::new(VecDeque::new()) };
}

/// The counts of values and bytes in the first `n` items of a list.
#[derive(Clone, Copy, Default)]
struct Known {
    n: usize,
    values: usize,
    bytes: usize,
}

/// The counts of `items` known from a list that begins like them.
fn begin_like(whole: &Value, items: &[Value], namespaces: usize) -> Known {
    LISTS.with_borrow(|lists| {
        let known = lists.iter().find(|(list, depth, known)| {
            let first = || match list.downcast_object_ref::<Vec<Value>>() {
                Some(list) => list.iter().rev().eq(items[..known.n].iter().rev()),
                None => false,
            };
            // One list is equal to itself without a look at its items.
            *depth == namespaces
                && known.n <= items.len()
                && ((known.n == items.len() && list == whole) || first())
        });
        known.map_or(Known::default(), |(_, _, known)| *known)
    })
}

fn remember(list: &Value, namespaces: usize, walk: &Walk) {
    let known = Known {
        n: list.len().unwrap_or(0),
        values: walk.values,
        bytes: walk.bytes,
    };
    LISTS.with_borrow_mut(|lists| {
        lists.push_front((list.clone(), namespaces, known));
        lists.truncate(KNOWN);
    });
}

/// About how many bytes `value` takes as text.
pub fn text_size(value: &Value) -> Result<usize, Failure> {
    let mut walk = Walk {
        values: 0,
        most: max_values(),
        bytes: 0,
        namespaces: usize::MAX,
        generators: false,
    };
    walk.through(value, 0)?;
    Ok(walk.bytes + walk.values * SCALAR)
}

struct Walk {
    values: usize,
    most: usize,
    bytes: usize,
    namespaces: usize,
    /// Whether there are generators among the values.
    generators: bool,
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
            self.generators = true;
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
