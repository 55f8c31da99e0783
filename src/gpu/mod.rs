//! The device. Nothing here knows of a model.

pub mod adapter;
mod device;
mod pipelines;
pub mod plan;
pub mod shader;
pub mod timer;

pub use device::Gpu;
