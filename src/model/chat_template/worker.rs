//! A thread for the engine's work on a template: with a stack that is large enough, and one that
//! need not be waited for.

use std::time::Duration;

use minijinja::Error as Failure;

/// Bytes of the thread's stack: for [`MAX_TERMS`](super::limits::MAX_TERMS) frames of the engine's
/// parser, and for as many calls of macros as it allows, without optimization too.
#[cfg(not(target_family = "wasm"))]
const STACK: usize = 64 << 20;

/// Threads that may be left running.
#[cfg(not(target_family = "wasm"))]
const MAX_LEFT: usize = 4;

/// The result of `work`, or why there is none. Work that does not end in twice its `time` goes on,
/// for a while, without anybody who waits for it.
#[cfg(not(target_family = "wasm"))]
pub fn on_own_stack<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::{RecvTimeoutError, sync_channel};
    use std::thread::Builder;

    use super::arguments::failure;
    use super::limits::too_slow;
    use crate::model::guard::guarded;

    /// The engine panics over some templates.
    fn failed(message: &str) -> Failure {
        failure(format!("the template engine fails over it: {message}"))
    }

    static LEFT: AtomicUsize = AtomicUsize::new(0);
    if LEFT.load(Ordering::Relaxed) >= MAX_LEFT {
        return Err(failure(
            "other templates still run that did not end in time",
        ));
    }
    let (sender, receiver) = sync_channel(1);
    // Whether the work is done, or nobody waits for it any more: the second to say so counts.
    let ended = Arc::new(AtomicBool::new(false));
    let builder = Builder::new()
        .name("template".to_string())
        .stack_size(STACK);
    let thread = builder.spawn({
        let ended = ended.clone();
        move || {
            let done = guarded(work);
            let _ = sender.send(done.unwrap_or_else(|message| Err(failed(&message))));
            if ended.swap(true, Ordering::AcqRel) {
                LEFT.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    if let Err(e) = thread {
        return Err(failure(format!("no thread to run it on: {e}")));
    }
    // The template looks at the clock itself, almost everywhere.
    match receiver.recv_timeout(2 * time) {
        Ok(found) => found,
        Err(RecvTimeoutError::Timeout) => {
            LEFT.fetch_add(1, Ordering::Relaxed);
            if ended.swap(true, Ordering::AcqRel) {
                LEFT.fetch_sub(1, Ordering::Relaxed);
            }
            Err(failure(too_slow(time)))
        }
        Err(RecvTimeoutError::Disconnected) => Err(failed("its thread ended")),
    }
}

/// The result of `work`, where there are no threads.
#[cfg(target_family = "wasm")]
pub fn on_own_stack<T>(
    _time: Duration,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    work()
}
