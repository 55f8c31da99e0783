//! The text of a trace as a reader knows it, in one piece a position.

use crate::cli::printable;
use crate::error::Result;
use crate::model::tokenizer::{TextStream, Tokenizer};

/// The piece of text that each token adds: together the pieces are the text, with special tokens
/// written out. The tokens of a character that has several are empty but for the last. Without a
/// tokenizer a piece is an id and a blank.
pub fn pieces(ids: &[u32], tokenizer: Option<&Tokenizer>) -> Result<Vec<String>> {
    let Some(tokenizer) = tokenizer else {
        return Ok(ids.iter().map(|id| format!("{id} ")).collect());
    };
    let mut stream = TextStream::with_special(tokenizer);
    let mut pieces = Vec::with_capacity(ids.len());
    for &id in ids {
        pieces.extend(stream.push(id)?);
    }
    pieces.extend(stream.finish()?);
    Ok(pieces)
}

/// Text that can be shown as it is: line breaks stay, characters that could steer a terminal or
/// turn the direction of writing are written as escapes.
pub fn harmless(text: &str) -> String {
    printable::escaped(text, &['\n']).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BUILTIN, Fetch, Model};

    #[test]
    fn pieces_make_the_text() {
        let model = Model::open(BUILTIN, Fetch::Never).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        let text = "Çà et là — 日本語 🦀\n\nnaïve";
        let ids = tokenizer.encode(text).unwrap();
        let all = pieces(&ids, Some(&tokenizer)).unwrap();
        assert_eq!(all.len(), ids.len());
        assert_eq!(all.concat(), text);
        assert_eq!(pieces(&[5, 7], None).unwrap().concat(), "5 7 ");
    }

    #[test]
    fn special_tokens_are_written_out() {
        let model = Model::open(BUILTIN, Fetch::Never).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        let bos = model.bos().unwrap();
        let word = tokenizer.encode("me").unwrap()[0];
        let all = pieces(&[bos, word], Some(&tokenizer)).unwrap();
        assert_eq!(all[0], tokenizer.decode(&[bos], false).unwrap());
        assert!(!all[0].is_empty());
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            harmless("a\n\u{1b}[2J\r\t\u{9b}é"),
            "a\n\\u{1b}[2J\\r\\t\\u{9b}é"
        );
        assert_eq!(harmless("\u{202e}x"), "\\u{202e}x");
    }
}
