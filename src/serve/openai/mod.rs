//! OpenAI's format: what requests may hold, and what responses look like. Nothing here knows of a
//! connection or of a running model.

mod chat;
mod completion;
mod fields;
mod format;
mod generation;
mod logprobs;
mod message;
mod usage;

pub use chat::ChatRequest;
pub use completion::{CompletionRequest, Prompt};
pub use format::{Format, Head, Text, unix_time};
pub use generation::Generation;
pub use message::{RequestMessage, Role};
pub use usage::Usage;
