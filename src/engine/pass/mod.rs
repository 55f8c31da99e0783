//! The forward pass as a list of kernels.
//!
//! Everything that changes from token to token (ids, positions, which rows are in the batch)
//! lies in buffers, so that the list is built once for a session and encoded for every batch.
//! `forward` walks over head, cycles and tail, and `recorder` keeps the calls.

pub mod forward;
pub mod recorder;
