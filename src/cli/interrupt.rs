//! Ctrl-C: ends the generation, not the program, so that it can say how far it came. And signals
//! that end the program: nothing half written stays behind.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
#[cfg(unix)]
use tokio::signal::unix::SignalKind;

use crate::files;

/// The status of a program that Ctrl-C ended: 128 and the number of the signal, as shells,
/// ripgrep and llama.cpp have it.
pub const STATUS: u8 = 130;

/// How long the work under way may take to end by itself: a device cannot be stopped in the middle
/// of a submission.
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

/// From now on Ctrl-C sets the flag that is returned. A program that has not ended [`GRACE`] later
/// is ended, after `late` has told how far it came.
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

/// Sets up signals before anything else: a file that grows beyond the limit of the user is an error
/// like any other. Unless the subcommand `watches_itself`, signals that end the program first
/// remove unfinished files.
pub fn prepare(watches_itself: bool) -> Result<()> {
    #[cfg(unix)]
    {
        // SAFETY: ignoring a signal runs no code of this program.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        if !watches_itself {
            remove_unfinished_on_signals().context("cannot watch for signals")?;
        }
    }
    #[cfg(not(unix))]
    if !watches_itself {
        handle(|| {
            files::remove_unfinished();
            process::exit(i32::from(STATUS));
        })?;
    }
    Ok(())
}

/// Signals that end the program at once remove unfinished files first.
#[cfg(unix)]
fn remove_unfinished_on_signals() -> io::Result<()> {
    let mut kinds = vec![
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    // A signal that whoever started the program has it ignore, as `nohup` does, stays ignored.
    kinds.retain(|kind| !is_ignored(kind.as_raw_value()));
    on_signal(&kinds, |status| {
        files::remove_unfinished();
        // At once, since a driver that is at work cannot be waited for.
        // SAFETY: ends the process, whose memory nobody looks at any more.
        unsafe { libc::_exit(status) }
    })
}

/// Pairs of descriptors that suffice for a runtime and its signals.
#[cfg(unix)]
const N_PAIRS: usize = 3;

/// From now on the first of these signals calls `act`, on a thread of its own, with the status that
/// a shell gives a program that it has ended.
///
/// # Errors
/// Where the operating system gives no descriptors or no thread.
#[cfg(unix)]
pub fn on_signal(kinds: &[SignalKind], act: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    use std::os::unix::net::UnixStream;

    use tokio::signal::unix::signal;

    if kinds.is_empty() {
        return Ok(());
    }
    // Tokio panics where it gets no descriptors for signals, so as many as it needs are tried
    // first.
    let spare: io::Result<Vec<_>> = (0..N_PAIRS).map(|_| UnixStream::pair()).collect();
    drop(spare?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let watched = {
        let _inside = runtime.enter();
        let watch = |&kind| Ok((signal(kind)?, kind.as_raw_value()));
        kinds.iter().map(watch).collect::<io::Result<Vec<_>>>()?
    };
    thread::Builder::new().spawn(move || {
        let ended = watched.into_iter().map(|(mut signal, number)| {
            Box::pin(async move {
                signal.recv().await;
                number
            })
        });
        let (number, ..) = runtime.block_on(futures_util::future::select_all(ended));
        act(128 + number);
    })?;
    Ok(())
}

/// Whether the program was started with the signal ignored.
#[cfg(unix)]
fn is_ignored(number: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills in the present one, for which there is room.
    let action = unsafe {
        if libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return false;
        }
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

fn handle(handler: impl Fn() + Send + 'static) -> Result<()> {
    let handled = ctrlc::set_handler(handler).map_err(|e| match e {
        ctrlc::Error::System(cause) => cause,
        other => io::Error::other(other),
    });
    handled.context("cannot watch for Ctrl-C")
}
