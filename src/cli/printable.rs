//! Text of others made safe to print: names, configs, vocabularies and generated text may hold
//! characters that steer a terminal or turn the direction of writing.

use std::borrow::Cow;
use std::io;

use serde_json::ser::{CompactFormatter, Formatter};

/// The control characters that a text may hold: line breaks and tabs.
const LINES: &[char] = &['\n', '\t'];

/// `text` on one line: everything that cannot be shown is written as an escape, such as `\u{1b}`.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, &[])
}

/// `text` with its line breaks and tabs as they are, and escapes for all other characters that
/// cannot be shown.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, LINES)
}

/// `text` with an escape for each character that cannot be shown, but for those in `kept`.
pub fn escaped<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let is_escaped = |c: char| is_unprintable(c) && !kept.contains(&c);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_escaped(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Whether a character steers the terminal, breaks the line, or turns the direction of writing.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON on one line whose strings hold escapes for the characters that JSON itself lets through:
/// readers find the same strings in it.
pub struct PrintableJson;

impl Formatter for PrintableJson {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unprintable) {
            let (before, from) = rest.split_at(at);
            let mut chars = from.chars();
            CompactFormatter.write_string_fragment(writer, before)?;
            if let Some(c) = chars.next() {
                // All of them have four digits.
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        let text = "a\n\u{1b}[2J\r\t\u{9b}\u{7f}\u{202e}é 日本 🦀";
        assert_eq!(
            one_line(text),
            "a\\n\\u{1b}[2J\\r\\t\\u{9b}\\u{7f}\\u{202e}é 日本 🦀"
        );
        assert_eq!(
            lines(text),
            "a\n\\u{1b}[2J\\r\t\\u{9b}\\u{7f}\\u{202e}é 日本 🦀"
        );
        assert!(matches!(lines("a\tb\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_strings() {
        use serde::Serialize;
        let text = "\u{9b}a\"\\\n\u{1b}é\u{202e}\u{7f}";
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, PrintableJson);
        text.serialize(&mut serializer).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert_eq!(json, "\"\\u009ba\\\"\\\\\\n\\u001bé\\u202e\\u007f\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
