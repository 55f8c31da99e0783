//! Files: opened by their kind, read within bounds, and written whole or not at all.

mod folder;
mod identity;
mod kind;
mod read;
mod unfinished;
mod write;

pub use folder::{Existing, NewFolder};
pub use identity::FileId;
pub use read::{MIB, is_there, metadata, open, piece, text, text_of_stream, user_text};
pub use unfinished::remove_all as remove_unfinished;
pub use write::{NewFile, check, destination, write};
