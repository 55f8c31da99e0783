//! The log that `RUST_LOG` asks for, on standard error.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::EnvFilter;

use super::printable;

/// Begins to write the log.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    let colored = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Printable { colored })
        .with_ansi(colored)
        // It would be printed with `eprintln!`, which panics where standard error cannot be
        // written.
        .log_internal_errors(false);
    log.init();
}

/// Takes a whole line at a time, as the log writes them.
struct Printable {
    /// Whether the line holds colours. The escape characters of what is logged have become
    /// readable before they are added.
    colored: bool,
}

impl Write for Printable {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let colors: &[char] = match self.colored {
            true => &['\u{1b}'],
            false => &[],
        };
        let line_end = format!("{}\n", printable::escaped(text, colors));
        let _ = io::stderr().write_all(line_end.as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
