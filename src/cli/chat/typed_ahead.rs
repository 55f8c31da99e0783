//! Input typed while nothing reads the terminal: kept as it is until it is read.

#[cfg(unix)]
use std::fs::File;
#[cfg(unix)]
use std::io::{self, Write};
#[cfg(unix)]
use std::os::fd::AsFd;

#[cfg(unix)]
use anyhow::Context;
use anyhow::Result;
#[cfg(unix)]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(unix)]
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// The escape sequence that has a terminal put no marks round pasted text.
#[cfg(unix)]
const PASTE_WITHOUT_MARKS: &[u8] = b"\x1b[?2004l";

/// A terminal that keeps typed input, until this is dropped.
///
/// By itself a terminal edits lines while nobody reads: it cuts long ones, throws away its input at
/// Ctrl-C, and makes of Ctrl-D a byte that an editor of lines cannot read. It also shows typed
/// input, in the middle of an answer and once more at the prompt.
pub struct TypedAhead {
    /// Whether something was typed before: Ctrl-D in it has become a NUL, as terminals have it.
    pub is_late: bool,
    #[cfg(unix)]
    before: Termios,
    /// Whether an editor of lines has pasted text put between marks.
    #[cfg(unix)]
    has_marks: bool,
}

impl TypedAhead {
    /// Standard input must be a terminal.
    #[cfg(unix)]
    pub fn keep() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("the terminal")?;
        let mut mode = before.clone();
        mode.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHONL);
        // Ctrl-C is still a signal, and takes nothing along.
        mode.local_flags.insert(LocalFlags::NOFLSH);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &mode).context("the terminal")?;
        let stdin = io::stdin();
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let is_late = poll(&mut fds, PollTimeout::ZERO).context("the terminal")? > 0;
        Ok(Self {
            is_late,
            before,
            has_marks: true,
        })
    }

    /// Keeps typed lines in a terminal that edits lines itself: Ctrl-C does not discard them.
    /// Standard input must be a terminal.
    #[cfg(unix)]
    pub fn keep_lines() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("the terminal")?;
        let mut mode = before.clone();
        mode.local_flags.insert(LocalFlags::NOFLSH);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &mode).context("the terminal")?;
        Ok(Self {
            is_late: false,
            before,
            has_marks: false,
        })
    }

    /// Consoles keep single keys as they are.
    #[cfg(not(unix))]
    pub fn keep() -> Result<Self> {
        Ok(Self { is_late: false })
    }

    /// A function that restores the terminal, from any thread.
    pub fn undo(&self) -> impl Fn() + Send + 'static {
        #[cfg(unix)]
        let (before, has_marks) = (self.before.clone(), self.has_marks);
        move || {
            #[cfg(unix)]
            {
                let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
                if !has_marks {
                    return;
                }
                // At a prompt the editor has pasted text put between marks. Whoever is printing an
                // answer holds the lock of standard output: this goes round it.
                if let Ok(out) = io::stdout().as_fd().try_clone_to_owned() {
                    let _ = File::from(out).write_all(PASTE_WITHOUT_MARKS);
                }
            }
        }
    }
}

/// From now on signals that end the program call `leave` before they do.
#[cfg(unix)]
pub fn leave_on_signals(leave: impl Fn() + Send + 'static) -> Result<()> {
    use tokio::signal::unix::SignalKind;

    use crate::cli::interrupt::on_signal;

    let kinds = [
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ];
    let watching = on_signal(&kinds, move |status| {
        leave();
        std::process::exit(status);
    });
    watching.context("cannot watch for signals")
}

/// Elsewhere closing the console ends the program, and there is no terminal to put back.
#[cfg(not(unix))]
pub fn leave_on_signals(_: impl Fn() + Send + 'static) -> Result<()> {
    Ok(())
}

impl Drop for TypedAhead {
    fn drop(&mut self) {
        self.undo()();
    }
}
