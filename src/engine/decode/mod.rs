//! Feeding the device batches, and taking their results.

pub mod batch;
pub mod pipeline;
pub mod session;
