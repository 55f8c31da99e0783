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
    /// Whether the line holds colours. The escape characters of logged texts have become readable
    /// before they are added.
    colored: bool,
}

impl Printable {
    /// A logged message as one line.
    fn show(&self, line: &str) -> String {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let colors: &[char] = match self.colored {
            true => &['\u{1b}'],
            false => &[],
        };
        format!("{}\n", printable::escaped(line, colors))
    }
}

impl Write for Printable {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = self.show(&String::from_utf8_lossy(line));
        let _ = io::stderr().write_all(shown.as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        let shown = |colored, line| Printable { colored }.show(line);
        assert_eq!(shown(false, "a\n\u{1b}[2J\r\n"), "a\\n\\u{1b}[2J\\r\n");
        assert_eq!(shown(true, "\u{1b}[2ma\u{9b}\n"), "\u{1b}[2ma\\u{9b}\n");
    }
}
