//! Lines of bytes: a line has a greatest length, and bytes that are no text do not end it.

use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail};

use crate::cli::setup;

/// Bytes that a line of a conversation may have: more than any context holds.
const MAX_LINE: usize = 16 << 20;

/// The next line with its end, as text; `None` where there are no more.
pub fn next(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    let room = MAX_LINE as u64 + 1;
    let read = input.take(room).read_until(b'\n', &mut line);
    read.context("standard input")?;
    check(&line)?;
    Ok((!line.is_empty()).then(|| text(line)))
}

/// Refuses a line that is too long.
pub fn check(line: &[u8]) -> Result<()> {
    if line.len() > MAX_LINE {
        let mib = MAX_LINE >> 20;
        bail!("standard input: expected a line of at most {mib} MiB, found a longer one");
    }
    Ok(())
}

/// A line as text. Bytes that are not UTF-8 are replaced, which is said.
pub fn text(line: Vec<u8>) -> String {
    String::from_utf8(line).unwrap_or_else(|e| {
        let at = e.utf8_error().valid_up_to();
        let byte = e.as_bytes().get(at).copied().unwrap_or_default();
        setup::warn(&[format!(
            "standard input: expected UTF-8, found the byte 0x{byte:02x}: it is read as U+FFFD"
        )]);
        String::from_utf8_lossy(e.as_bytes()).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_somewhere() {
        let next = |bytes: &mut &[u8]| next(bytes).map_err(|e| e.to_string());
        let mut bytes = &b"a\nb\xffc"[..];
        assert_eq!(next(&mut bytes), Ok(Some("a\n".to_string())));
        assert_eq!(next(&mut bytes), Ok(Some("b\u{fffd}c".to_string())));
        assert_eq!(next(&mut bytes), Ok(None));
        let mut long = vec![b'a'; MAX_LINE];
        assert_eq!(
            next(&mut &long[..]).map(|l| l.map(|l| l.len())),
            Ok(Some(MAX_LINE))
        );
        long.push(b'\n');
        assert!(next(&mut &long[..]).is_err());
    }
}
