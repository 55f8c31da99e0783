//! The clean-up of `clean_up_tokenization_spaces`: no blank before marks and in short forms.

/// The replacements of transformers, in its order.
const REPLACED: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// Pieces of a text, a piece being a blank and what follows it, that the next piece may change.
const CHAINED: [&str; 3] = [" ", " '", " n"];
/// Pieces that more letters may change.
const BEGUN: [&str; 3] = [" n'", " 'v", " 'r"];

/// The text without these blanks.
pub fn clean(text: &str) -> String {
    let mut text = text.to_string();
    for (from, to) in REPLACED {
        text = text.replace(from, to);
    }
    text
}

/// How much of `text` is cleaned as it is in any longer text.
fn certain(text: &str) -> usize {
    let Some(mut start) = text.rfind(' ') else {
        return text.len();
    };
    let last = &text[start..];
    let mut is_certain = !CHAINED.contains(&last) && !BEGUN.contains(&last);
    // A blank that goes joins a piece to the one before it: `do n ' t`.
    while let Some(before) = text[..start].rfind(' ') {
        if !CHAINED.contains(&&text[before..start]) {
            break;
        }
        start = before;
        is_certain &= last.len() > " ve".len();
    }
    if is_certain { text.len() } else { start }
}

/// Cleans the texts of tokens as they come.
#[derive(Clone)]
pub struct Cleaning {
    /// The end of the text that is not certain yet.
    pending: String,
    /// The part of `pending`, cleaned, with which the prompt's text ends.
    base: String,
    /// Texts of tokens not given out yet. The newest may grow.
    texts: Vec<String>,
}

impl Cleaning {
    /// After a text that ends in `before`.
    pub fn after(before: &str) -> Self {
        let pending = before[certain(before)..].to_string();
        Self {
            base: clean(&pending),
            pending,
            texts: Vec::new(),
        }
    }

    /// Takes in the texts of tokens and gives out those that nothing can change any more.
    pub fn push(&mut self, texts: Vec<String>) -> Vec<String> {
        for text in texts {
            self.pending.push_str(&text);
            self.texts.push(String::new());
            self.settle(certain(&self.pending));
        }
        let is_held = !self.pending.is_empty() && !self.texts.is_empty();
        let n = self.texts.len() - usize::from(is_held);
        self.texts.drain(..n).collect()
    }

    /// The texts that are still held back, where no more tokens come.
    pub fn finish(&mut self) -> Vec<String> {
        self.settle(self.pending.len());
        std::mem::take(&mut self.texts)
    }

    fn settle(&mut self, n: usize) {
        let cleaned = clean(&self.pending[..n]);
        let n_common = super::in_common(&self.base, &cleaned);
        if let Some(text) = self.texts.last_mut() {
            text.push_str(&cleaned[n_common..]);
        }
        self.base = match n_common == cleaned.len() {
            true => self.base[n_common..].to_string(),
            false => String::new(),
        };
        self.pending.drain(..n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of a few pieces, each as a stream of every split.
    #[test]
    fn a_stream_is_cleaned_as_the_whole_is() {
        const PIECES: [&str; 9] = [" ", "'", "n", "t", " n", " .", "ve", " v", "x"];
        let n = PIECES.len();
        for i in 0..n.pow(5) {
            let pieces = [i, i / n, i / n / n, i / n.pow(3), i / n.pow(4)].map(|i| PIECES[i % n]);
            for n_prompt in [0, 2] {
                let (prompt, new) = pieces.split_at(n_prompt);
                let (before, whole) = (clean(&prompt.concat()), clean(&pieces.concat()));
                let expected = &whole[crate::model::tokenizer::in_common(&before, &whole)..];
                let mut cleaning = Cleaning::after(&prompt.concat());
                let mut texts = Vec::new();
                for piece in new {
                    texts.extend(cleaning.push(vec![piece.to_string()]));
                }
                texts.extend(cleaning.finish());
                assert_eq!(texts.len(), new.len());
                assert_eq!(texts.concat(), expected, "{pieces:?}");
            }
        }
    }
}
