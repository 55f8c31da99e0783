//! The patterns that texts are split and changed by. The library stops in silence where one takes
//! too many steps, which changes the ids; here that is an error, and so is too much time.

use std::cell::Cell;
use std::time::Duration;

use fancy_regex::Regex;
use serde::Deserialize;
use tokenizers::pattern::Pattern;
use tokenizers::{Offsets, Result};
use web_time::Instant;

/// The time that all patterns together may take for a text: this, and as much again for each MiB.
const MOST_TIME: Duration = Duration::from_secs(10);

thread_local! {
    /// When the patterns must be done with a text; `None`: nothing is limited.
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs `work` on a text of `n_bytes` with limited time for patterns.
pub fn limited<T>(n_bytes: usize, work: impl FnOnce() -> T) -> T {
    let outer = END.replace(Some(
        Instant::now() + MOST_TIME * (1 + (n_bytes >> 20) as u32),
    ));
    let result = work();
    END.set(outer);
    result
}

/// A pattern as a `tokenizer.json` has it.
#[derive(Deserialize)]
pub enum Source {
    String(String),
    Regex(String),
}

/// A pattern that is ready for use.
pub struct Matcher(Regex);

impl Matcher {
    pub fn new(source: &Source) -> Result<Self> {
        let regex = match source {
            Source::String(text) => Regex::new(&fancy_regex::escape(text)),
            Source::Regex(regex) => Regex::new(regex),
        };
        Ok(Self(regex?))
    }
}

impl Pattern for &Matcher {
    /// The parts of `text` in their order, and whether each one matches, as the library finds them.
    fn find_matches(&self, text: &str) -> Result<Vec<(Offsets, bool)>> {
        if text.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let mut parts = Vec::new();
        let mut end = 0;
        for found in self.0.find_iter(text) {
            if END.get().is_some_and(|end| Instant::now() > end) {
                return Err("a pattern takes too much time".into());
            }
            let found = found.map_err(|e| format!("a pattern takes too many steps: {e}"))?;
            if end != found.start() {
                parts.push(((end, found.start()), false));
            }
            parts.push(((found.start(), found.end()), true));
            end = found.end();
        }
        if end != text.len() {
            parts.push(((end, text.len()), false));
        }
        Ok(parts)
    }
}

/// Parts that were found before.
pub struct Found(pub Vec<(Offsets, bool)>);

impl Pattern for Found {
    fn find_matches(&self, _: &str) -> Result<Vec<(Offsets, bool)>> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_end_in_time() {
        let matcher = Matcher::new(&Source::Regex("a".to_string())).unwrap();
        let find = || (&matcher).find_matches("bab");
        let parts = vec![((0, 1), false), ((1, 2), true), ((2, 3), false)];
        assert_eq!(limited(3, find).unwrap(), parts);
        let late = limited(3, || {
            END.set(Some(Instant::now() - Duration::from_secs(1)));
            find().unwrap_err().to_string()
        });
        assert!(late.contains("too much time"), "{late}");
        assert_eq!(find().unwrap(), parts);
    }

    #[test]
    fn patterns_end_after_too_many_steps() {
        let matcher = Matcher::new(&Source::Regex("(?=a)(a|aa)+(?!b)c".to_string())).unwrap();
        let error = (&matcher).find_matches(&"a".repeat(60)).unwrap_err();
        assert!(error.to_string().contains("too many steps"), "{error}");
    }
}
