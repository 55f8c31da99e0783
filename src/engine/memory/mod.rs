//! Memory of a session on the device: sizes, lists of rows, activations, KV caches.

pub mod activations;
pub mod buffers;
pub mod growth;
pub mod kv_cache;
pub mod layout;
pub mod rows;
pub mod sizes;
