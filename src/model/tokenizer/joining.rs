//! How the texts of tokens become one text, and which part of it may still change as tokens follow.

use std::collections::HashMap;
use std::sync::LazyLock;

use tokenizers::DecoderWrapper;

use super::steps::Decoding;

/// How far a token's text depends on the tokens after it. That it may depend on whether a token
/// stands before it (a blank that only the first one loses) goes without saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Not at all.
    Local,
    /// Tokens are bytes in the alphabet of byte-level tokenizers: a character may be incomplete.
    Bytes,
    /// Tokens `<0xNN>` in a row are bytes, decoded together: all of them are U+FFFD where they are
    /// no UTF-8 in the end.
    Runs,
    /// In no way that is known here.
    Whole,
}

impl Joining {
    /// Of a tokenizer's decoder; without one, tokens are joined by blanks.
    pub fn of(decoder: Option<&Decoding>) -> Self {
        let mut steps = Vec::new();
        if let Some(decoder) = decoder {
            flatten(&decoder.whole, &mut steps);
        }
        let mut joining = Self::Local;
        // Once all is one string, only changes to its beginning are harmless.
        let mut is_fused = false;
        for step in steps {
            match step {
                DecoderWrapper::Strip(strip) if is_fused && strip.stop == 0 => {}
                DecoderWrapper::Fuse(_) => is_fused = true,
                _ if is_fused => return Self::Whole,
                DecoderWrapper::ByteLevel(_) if joining == Self::Local => {
                    joining = Self::Bytes;
                    is_fused = true;
                }
                DecoderWrapper::ByteLevel(_) => return Self::Whole,
                DecoderWrapper::ByteFallback(_) => joining = Self::Runs,
                _ => {}
            }
        }
        joining
    }
}

fn flatten<'d>(decoder: &'d DecoderWrapper, steps: &mut Vec<&'d DecoderWrapper>) {
    match decoder {
        DecoderWrapper::Sequence(all) => all.get_decoders().iter().for_each(|d| flatten(d, steps)),
        one => steps.push(one),
    }
}

/// The byte that a token `<0xNN>` stands for, read as the library reads it.
pub fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The characters that stand for bytes in byte-level tokenizers.
pub fn alphabet() -> impl Iterator<Item = char> {
    ALPHABET.keys().copied()
}

/// The bytes of a token of a byte-level tokenizer. One that has other characters than the
/// alphabet's, as added tokens may, is its own text.
pub fn alphabet_bytes(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(|c| ALPHABET.get(&c).copied()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// GPT-2's alphabet: bytes that can be printed are themselves, the others follow from U+0100 on.
static ALPHABET: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let is_itself = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|&b| !is_itself(b));
    let others = ('\u{100}'..).zip(others);
    let same = (0..=u8::MAX).filter(|&b| is_itself(b));
    same.map(|b| (char::from(b), b)).chain(others).collect()
});

/// How many bytes at the end of `bytes` begin a character that may yet be completed.
pub fn incomplete_tail(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .rev()
        .find(|&n| {
            let tail = &bytes[bytes.len() - n..];
            // No error length says that the end came too early.
            let is_open = |e: std::str::Utf8Error| e.valid_up_to() == 0 && e.error_len().is_none();
            std::str::from_utf8(tail).is_err_and(is_open)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_the_librarys() {
        use tokenizers::pre_tokenizers::byte_level::ByteLevel;
        let mut theirs: Vec<char> = ByteLevel::alphabet().into_iter().collect();
        let mut ours: Vec<char> = ALPHABET.keys().copied().collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
        assert_eq!(alphabet_bytes("Ġa"), b" a");
        assert_eq!(alphabet_bytes("Ċ"), b"\n");
        assert_eq!(alphabet_bytes("日"), "日".as_bytes());
    }

    #[test]
    fn a_tail_is_what_may_be_completed() {
        assert_eq!(incomplete_tail(b"a\xe2\x82"), 2);
        assert_eq!(incomplete_tail(b"\xf0\x9f\xa6"), 3);
        assert_eq!(incomplete_tail("€".as_bytes()), 0);
        assert_eq!(incomplete_tail(b"\x82\x82"), 0);
        assert_eq!(incomplete_tail(b"\xe0\x80"), 0);
        assert_eq!(incomplete_tail(b"\xc3"), 1);
    }

    #[test]
    fn bytes_are_read_from_their_tokens() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(fallback_byte("<0xe2>"), Some(0xe2));
        assert_eq!(fallback_byte("<0x0>"), None);
        assert_eq!(fallback_byte("<0xzz>"), None);
        assert_eq!(fallback_byte("a"), None);
    }
}
