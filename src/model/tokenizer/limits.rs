//! How large the parts of a tokenizer may be: many times the sizes in tokenizers of models.

/// The largest id: behind the last one the library counts on, in 32 bits.
pub const MAX_ID: u64 = (1 << 31) - 1;

/// Bytes of a token.
pub const MAX_TOKEN: usize = 4096;

/// Bytes of a Unigram's token, and of all of them: the library keeps them in a tree that is as
/// deep as the longest one, and takes some hundred bytes for each byte.
pub const MAX_UNIGRAM: usize = 1024;
pub const MAX_UNIGRAM_BYTES: usize = 16 << 20;

/// Added tokens, and bytes of all of them.
const MAX_ADDED: usize = 1_000_000;
const MAX_ADDED_BYTES: usize = 32 << 20;

/// Bytes of a prefix or suffix of each token or text.
pub const MAX_AFFIX: usize = 256;

/// Characters of a word of a WordPiece, which takes time as their number cubed.
pub const MAX_WORD: u64 = 1000;

/// How deep sequences of components may be nested, and the components in all.
pub const MAX_DEPTH: usize = 8;
pub const MAX_COMPONENTS: usize = 256;

/// Components in a row that each may make a text longer, in a splitter.
pub const MAX_GROWING: usize = 4;

/// Bytes of a pattern, and the largest product of the repetitions that it asks for.
pub const MAX_PATTERN: usize = 16 << 10;
pub const MAX_REPETITIONS: u64 = 1_000_000;

/// Bytes that a pattern is replaced by.
pub const MAX_CONTENT: usize = 4096;

/// Bytes that one character is replaced by in a table of characters.
pub const MAX_MAPPED: usize = 64;

/// Tokens that a post-processor adds to a text, and how often it repeats the text.
pub const MAX_TEMPLATE_TOKENS: usize = 1024;
pub const MAX_TEMPLATE_TEXTS: usize = 8;

/// A text may grow to this many times its size as it is normalized or decoded, and a little more.
pub const MAX_GROWTH: usize = 16;
pub const GROWTH_SLACK: usize = 1024;

/// Counts the added tokens of a file.
#[derive(Default)]
pub struct Tokens {
    n: usize,
    n_bytes: usize,
}

impl Tokens {
    /// Counts one more.
    ///
    /// # Errors The expected value and the one found.
    pub fn add(&mut self, content: &str) -> Result<(), (String, String)> {
        self.n += 1;
        self.n_bytes += content.len();
        if content.len() > MAX_TOKEN {
            let expected = format!("tokens of at most {MAX_TOKEN} bytes");
            return Err((expected, format!("one of {}", content.len())));
        }
        if self.n > MAX_ADDED {
            return Err((format!("at most {MAX_ADDED} tokens"), "more".to_string()));
        }
        if self.n_bytes > MAX_ADDED_BYTES {
            let expected = format!("at most {MAX_ADDED_BYTES} bytes of tokens");
            return Err((expected, "more".to_string()));
        }
        Ok(())
    }
}
