//! OpenAI's format: the fields of requests and of responses. Nothing here knows of a connection or
//! of a running model.

mod calls;
mod chat;
mod completion;
mod content;
mod depth;
mod fields;
mod format;
mod generation;
mod logprobs;
mod message;
mod neutral;
mod parsing;
mod prompts;
mod usage;

pub use chat::ChatRequest;
pub use completion::CompletionRequest;
pub use format::{Format, Head, Text, unix_time};
pub use generation::Generation;
pub use message::{RequestMessage, Role};
pub use parsing::BODY;
pub use prompts::Prompt;
pub use usage::Usage;
