//! Feeding the device batches, and taking their results.

pub mod ahead;
pub mod batch;
pub mod session;
