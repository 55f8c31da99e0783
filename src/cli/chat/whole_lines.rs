//! A terminal that cannot edit lines, such as `TERM=dumb`: it hands them over whole.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, tcflush, tcgetattr, tcsetattr};

use super::typed_ahead::TypedAhead;
use super::{PROMPT, bounded};
use crate::cli::output;

/// How often Ctrl-C is looked for while nothing is typed: the signal may reach any thread.
const GLANCE_MS: u16 = 100;

pub struct WholeLines {
    /// Standard input without a buffer: input that is not asked for stays with the terminal.
    stdin: File,
    pub typed_ahead: TypedAhead,
}

impl WholeLines {
    pub fn open() -> Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        Ok(Self {
            stdin: stdin.context("the terminal")?.into(),
            typed_ahead: TypedAhead::keep_lines()?,
        })
    }

    /// The next line; `None` where there are no more, or where Ctrl-C, which sets `interrupt`,
    /// comes before anything is typed.
    pub fn next(&mut self, interrupt: &AtomicBool) -> Result<Option<String>> {
        // One that came too late for the answer before.
        interrupt.store(false, Ordering::Relaxed);
        let mut line = Vec::new();
        prompt()?;
        while !line.ends_with(b"\n") {
            if interrupt.swap(false, Ordering::Relaxed) {
                // The terminal still holds a part of the typed line.
                if !self.drop_typed()? && line.is_empty() {
                    new_line()?;
                    return Ok(None);
                }
                line.clear();
                new_line()?;
                prompt()?;
            }
            if !self.is_readable(PollTimeout::from(GLANCE_MS))? {
                continue;
            }
            let mut bytes = [0; 4096];
            let n = self.stdin.read(&mut bytes).context("the terminal")?;
            if n == 0 {
                break;
            }
            line.extend_from_slice(&bytes[..n]);
            bounded::check(&line)?;
        }
        Ok((!line.is_empty()).then(|| bounded::text(line)))
    }

    /// Drops the line that is being typed; whether there was one. Only a terminal that hands over
    /// single keys says so.
    fn drop_typed(&self) -> Result<bool> {
        let lines = tcgetattr(&self.stdin).context("the terminal")?;
        let mut keys = lines.clone();
        keys.local_flags.remove(LocalFlags::ICANON);
        tcsetattr(&self.stdin, SetArg::TCSANOW, &keys).context("the terminal")?;
        let is_typed = self.is_readable(PollTimeout::ZERO);
        let dropped = tcflush(&self.stdin, FlushArg::TCIFLUSH);
        tcsetattr(&self.stdin, SetArg::TCSANOW, &lines).context("the terminal")?;
        dropped.context("the terminal")?;
        is_typed
    }

    fn is_readable(&self, timeout: PollTimeout) -> Result<bool> {
        let mut fds = [PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(n) => Ok(n > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e).context("the terminal"),
        }
    }
}

fn prompt() -> Result<()> {
    output::text(&mut output::stdout(), PROMPT)
}

/// After `^C`, which the terminal shows.
fn new_line() -> Result<()> {
    output::text(&mut output::stdout(), "\n")
}
