//! Conversations: messages by turns, held over one engine whose KV cache keeps the positions that
//! they have in common.

mod conversation;
mod session;

pub use conversation::{Conversation, Message};
pub use session::{Answer, AnswerOptions, ChatSession};
