//! What is typed while nothing reads it: kept as it is until it is read.

#[cfg(unix)]
use std::{io, os::fd::AsFd};

#[cfg(unix)]
use anyhow::Context;
use anyhow::Result;
#[cfg(unix)]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(unix)]
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// A terminal that keeps what is typed, until this is dropped.
///
/// By itself a terminal edits lines while nobody reads: it cuts long ones, throws away what it has
/// at Ctrl-C, and makes of Ctrl-D what an editor of lines cannot read. It also shows what is
/// typed, in the middle of an answer and once more at the prompt.
pub struct TypedAhead {
    /// Whether something was typed before: Ctrl-D in it has become a NUL, as terminals have it.
    pub is_late: bool,
    #[cfg(unix)]
    before: Termios,
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
        Ok(Self { is_late, before })
    }

    /// Consoles keep single keys as they are.
    #[cfg(not(unix))]
    pub fn keep() -> Result<Self> {
        Ok(Self { is_late: false })
    }

    /// What puts the terminal back, from any thread.
    pub fn undo(&self) -> impl Fn() + Send + 'static {
        #[cfg(unix)]
        let before = self.before.clone();
        move || {
            #[cfg(unix)]
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &before);
        }
    }
}

impl Drop for TypedAhead {
    fn drop(&mut self) {
        self.undo()();
    }
}
