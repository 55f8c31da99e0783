//! The two executors of batches, and the stages of a batch on the device.

pub mod batch;
pub mod executor;
pub mod host;
mod kept;
mod results;
mod segments;
pub mod session;
mod stages;
mod staging;
