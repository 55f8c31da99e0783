//! Calls into libraries that panic over bad files, where an error is wanted.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic on this thread becomes an error, and so is not to be printed.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// The result of `work`, or the message of its panic. `work` must leave nothing half done behind
/// that is used afterwards.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                usual(panic);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a fault of its own".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 7), Ok(7));
        let n = 5;
        assert_eq!(
            guarded(|| panic!("fixed")),
            Err::<(), _>("fixed".to_string())
        );
        assert_eq!(guarded(|| panic!("n {n}")), Err::<(), _>("n 5".to_string()));
        assert!(!GUARDED.get());
    }
}
