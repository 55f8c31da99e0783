//! Ctrl-C: ends what is being generated, not the program, so that it can say how far it came.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// The status of a program that Ctrl-C ended: 128 and the number of the signal, as shells,
/// ripgrep and llama.cpp have it.
pub const STATUS: u8 = 130;

/// How long what runs may take to end by itself: a device cannot be stopped in the middle of a
/// submission.
const GRACE: Duration = Duration::from_millis(700);

/// The work was interrupted, and all there is to say has been said.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Once `is_ready` is set, Ctrl-C sets the flag that is returned, and the program goes on; before,
/// it ends the program, after `leave` has tidied up.
pub fn watch_when(
    is_ready: Arc<AtomicBool>,
    leave: impl Fn() + Send + 'static,
) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    handle(move || {
        set.store(true, Ordering::Relaxed);
        if !is_ready.load(Ordering::Relaxed) {
            leave();
            process::exit(i32::from(STATUS));
        }
    })?;
    Ok(flag)
}

/// From now on Ctrl-C sets the flag that is returned, and a program that has not ended [`GRACE`] later is ended, after `late` has said
/// what there is to say.
pub fn watch_and_end(late: impl Fn() + Send + 'static) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    handle(move || {
        set.store(true, Ordering::Relaxed);
        thread::sleep(GRACE);
        late();
        process::exit(i32::from(STATUS));
    })?;
    Ok(flag)
}

fn handle(handler: impl Fn() + Send + 'static) -> Result<()> {
    let handled = ctrlc::set_handler(handler).map_err(|e| match e {
        ctrlc::Error::System(cause) => cause,
        other => io::Error::other(other),
    });
    handled.context("cannot watch for Ctrl-C")
}
