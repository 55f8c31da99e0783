//! The errors of the library, each in one line that names the file, tensor or field, the expected
//! value and the one found.

use std::path::Path;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of the library. `Display` is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("`{path}`: {cause}")]
    Io { path: String, cause: std::io::Error },

    /// A file as a whole is not of the expected kind.
    #[error("`{file}`: expected {expected}, found {found}")]
    File {
        file: String,
        expected: String,
        found: String,
    },

    /// A field of a JSON file has an impossible value.
    #[error("`{file}`: `{field}`: expected {expected}, found {found}")]
    Field {
        file: String,
        field: String,
        expected: String,
        found: String,
    },

    /// A tensor is missing, or has the wrong shape or type.
    #[error("`{file}`: tensor `{tensor}`: expected {expected}, found {found}")]
    Tensor {
        file: String,
        tensor: String,
        expected: String,
        found: String,
    },

    /// An option does not fit the model that it is used with.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        option: &'static str,
        expected: String,
        found: String,
    },

    /// Text is to be read or written, and the model has no tokenizer.
    #[error(
        "`{model}` has no tokenizer.json: expected one beside the weights or embedded in them, found none"
    )]
    NoTokenizer { model: String },

    /// The tokenizer could not encode or decode.
    #[error("`{model}`: tokenizer: {message}")]
    Tokenizer { model: String, message: String },

    /// A conversation is to be held, and the model does not say how it reads one.
    #[error(
        "`{model}` has no chat template: expected chat_template.jinja or `chat_template` in tokenizer_config.json, found neither"
    )]
    NoChatTemplate { model: String },

    /// The chat template could not be filled, or refused the messages.
    #[error("`{file}`: chat template: {message}")]
    ChatTemplate { file: String, message: String },

    /// More positions are asked for than the context holds.
    #[error("the prompt does not fit the context: expected at most {limit} tokens, found {found}")]
    ContextFull { limit: usize, found: usize },

    /// A prompt that has more tokens than the context holds, by its beginning alone.
    #[error(
        "the prompt does not fit the context: expected at most {limit} tokens, found more in \
         {n_bytes} bytes"
    )]
    LongPrompt { limit: usize, n_bytes: usize },

    /// A text that would take too much memory to be made into tokens.
    #[error("the text is too long: expected at most {limit} bytes, found {found}")]
    LongText { limit: usize, found: usize },

    /// A text is to be continued, and there is nothing that its first token follows.
    #[error(
        "there is nothing to generate from: expected a prompt of at least one token, found none"
    )]
    EmptyPrompt,

    /// A text has too few tokens to be scored.
    #[error("the text is too short: expected at least {least} tokens, found {found}")]
    TooFewTokens { least: usize, found: usize },

    /// A token id the model has no embedding for.
    #[error("token id {id} is outside the vocabulary: expected 0 to {}, found {id}", vocab - 1)]
    TokenOutside { id: i64, vocab: usize },

    /// No adapter answers to the request.
    #[error("no adapter matches {wanted}: found {found}")]
    NoAdapter { wanted: String, found: String },

    /// The adapter's limits are too small for the model.
    #[error(
        "{what} does not fit adapter `{adapter}`: expected at most {limit} {unit}, found {found}{advice}"
    )]
    TooLarge {
        what: String,
        adapter: String,
        limit: u64,
        found: u64,
        /// The unit of the limit: bytes, or the texels or layers of a texture.
        unit: &'static str,
        advice: String,
    },

    /// The adapter has too little memory for the model and its texts, in bytes.
    #[error(
        "`{model}` does not fit adapter `{adapter}`: expected at most {limit} bytes, found {found} \
         (weights {weights}, key-value cache {caches}, activations {activations}){advice}"
    )]
    TooLittleMemory {
        model: String,
        adapter: String,
        limit: u64,
        found: u64,
        weights: u64,
        caches: u64,
        activations: u64,
        advice: String,
    },

    /// The device reported a fault while it worked.
    #[error("adapter `{adapter}`: {message}")]
    Device { adapter: String, message: String },

    /// A computation that is to be timed gives a wrong result, or a measured figure cannot be true.
    #[error("{0}")]
    Measurement(String),

    /// There is nothing to draw.
    #[error("{0}")]
    Plot(String),

    /// The logits hold a value that is not a number.
    #[error(
        "the logits of position {position} hold a value that is not a number: expected finite weights and activations"
    )]
    NotANumber { position: usize },
}

impl Error {
    pub(crate) fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io {
            path: path.display().to_string(),
            cause,
        }
    }

    pub(crate) fn file(
        file: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::File {
            file: file.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// The first line of a message that may have many: the other lines are a detail for the log.
pub(crate) fn first_line(message: impl ToString) -> String {
    let text = message.to_string();
    let line = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    line.trim().to_string()
}
