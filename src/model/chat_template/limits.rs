//! Limits on the steps, the time and the memory of a template, counted while it runs.
//!
//! The engine counts its own steps and the bytes that it makes, as fuel. The work of the modules
//! here for a template is counted on the thread that it runs on, so that code that cannot give an
//! error, such as the writing of a value, can stop early too.

use std::cell::RefCell;
use std::time::Duration;

use minijinja::Error as Failure;
use serde_json::Value;
use web_time::Instant;

use super::arguments::failure;

/// Bytes of a template's source.
pub const MAX_SOURCE: usize = 1 << 20;

/// Operators, attributes, calls, filters and brackets around a term of an expression, and
/// branches around a statement. Each may take a frame of the engine's stack.
pub const MAX_TERMS: usize = if cfg!(target_family = "wasm") {
    200
} else {
    1000
};

/// Parameters of a macro.
pub const MAX_PARAMETERS: usize = 200;

/// Values inside each other.
pub const MAX_DEPTH: usize = 200;

/// Values that one value may consist of, beside those of the conversation: one that a list holds
/// twice counts twice.
const MAX_VALUES: usize = 1_000_000;

/// Bytes that a value may take as text, and those that a template may write.
pub const MAX_BYTES: usize = 64 << 20;

/// How long a template may run, beside what each value of the conversation adds to it.
const TIME: Duration = Duration::from_secs(2);
const TIME_OF_A_VALUE: Duration = Duration::from_micros(200);

/// How long a template may run, however long the conversation.
const MAX_TIME: Duration = Duration::from_secs(10);

/// How long a template may run for a conversation of so many values.
pub fn time_for(values: usize) -> Duration {
    let values = u32::try_from(values).unwrap_or(u32::MAX);
    TIME.saturating_add(TIME_OF_A_VALUE.saturating_mul(values))
        .min(MAX_TIME)
}

/// Steps of the engine, and of the modules here, beside those for the conversation. They are
/// some tenths of a second of a template that would never end, and bound its memory: a step pays
/// for 64 bytes.
const STEPS: u64 = 2_000_000;

/// Steps for each value of the conversation.
const STEPS_OF_A_VALUE: u64 = 5000;

/// Steps after which the clock is read.
const BETWEEN_LOOKS: u64 = 1000;

/// Steps for a conversation of so many values.
pub fn steps_for(values: usize) -> u64 {
    STEPS.saturating_add(STEPS_OF_A_VALUE.saturating_mul(values as u64))
}

/// How many values `values` are with those inside them, unless these are deeper than `depth`.
pub fn count(values: &[Value], depth: usize) -> Option<usize> {
    let within = |value: &Value| match value {
        Value::Array(items) => count(items, depth.checked_sub(1)?),
        Value::Object(fields) => {
            let depth = depth.checked_sub(1)?;
            fields.values().try_fold(0, |n: usize, value| {
                Some(n + count(std::slice::from_ref(value), depth)?)
            })
        }
        _ => Some(0),
    };
    values
        .iter()
        .try_fold(0, |n: usize, value| Some(n + 1 + within(value)?))
}

/// The time, steps and values left to the template that this thread runs.
struct Left {
    end: Instant,
    time: Duration,
    steps: u64,
    until_look: u64,
    /// Values that one value may consist of.
    values: usize,
    /// Why the template has to end, where nothing could say so yet.
    failed: Option<String>,
}

thread_local! {
    /// Nothing, where no template runs, as in tests of a filter alone.
    static LEFT: RefCell<Option<Left>> = const { RefCell::new(None) };
}

/// Runs a template within its limits, for a conversation of so many values.
pub fn within_limits<T>(
    values: usize,
    run: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    LEFT.replace(Some(Left {
        end: Instant::now() + time_for(values),
        time: time_for(values),
        steps: steps_for(values),
        until_look: BETWEEN_LOOKS,
        values: MAX_VALUES.saturating_add(values),
        failed: None,
    }));
    let found = run();
    match LEFT.take().and_then(|left| left.failed) {
        Some(message) => Err(failure(message)),
        None => found,
    }
}

/// Values that one value may consist of.
pub fn max_values() -> usize {
    LEFT.with_borrow(|left| left.as_ref().map_or(usize::MAX, |left| left.values))
}

/// Takes `n` steps, and looks at the clock now and then.
pub fn steps(n: usize) -> Result<(), Failure> {
    LEFT.with_borrow_mut(|left| match left {
        Some(left) => left.take(n as u64).map_err(failure),
        None => Ok(()),
    })
}

/// Looks at the clock.
pub fn look() -> Result<(), Failure> {
    LEFT.with_borrow_mut(|left| match left {
        Some(left) => {
            left.until_look = 0;
            left.take(0).map_err(failure)
        }
        None => Ok(()),
    })
}

/// Whether `n` steps may be taken. Where they may not, the template fails at its end at the latest.
pub fn may_go_on(n: usize) -> bool {
    steps(n).is_ok()
}

/// Has the template fail with this message, even where the code at hand cannot give an error.
pub fn fail(message: &str) {
    LEFT.with_borrow_mut(|left| {
        if let Some(left) = left {
            left.failed.get_or_insert_with(|| message.to_string());
        }
    });
}

impl Left {
    fn take(&mut self, n: u64) -> Result<(), String> {
        if let Some(message) = &self.failed {
            return Err(message.clone());
        }
        let left = self.steps.checked_sub(n);
        self.steps = left.unwrap_or(0);
        self.until_look = self.until_look.saturating_sub(n);
        let late = self.until_look == 0 && {
            self.until_look = BETWEEN_LOOKS;
            Instant::now() > self.end
        };
        let message = match (left, late) {
            (None, _) => "it takes more steps than a conversation needs".to_string(),
            (_, true) => too_slow(self.time),
            _ => return Ok(()),
        };
        self.failed = Some(message.clone());
        Err(message)
    }
}

/// The error of a template that runs for too long.
pub fn too_slow(time: Duration) -> String {
    format!("it runs for more than {} seconds", time.as_secs())
}
