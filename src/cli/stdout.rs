//! Standard output: the data.

use std::io::{self, IsTerminal, StdoutLock, Write};

use super::printable;

/// Standard output, locked. A pipe and a file get the output byte for byte; on a terminal,
/// characters that would steer it are written as escapes.
pub struct Stdout {
    lock: StdoutLock<'static>,
    is_terminal: bool,
}

impl Stdout {
    pub fn lock() -> Self {
        let lock = io::stdout().lock();
        Self {
            is_terminal: lock.is_terminal(),
            lock,
        }
    }
}

impl Write for Stdout {
    /// Takes whole characters, as the texts of this program are written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.lock.write(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        self.lock.write_all(printable::lines(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock.flush()
    }
}
