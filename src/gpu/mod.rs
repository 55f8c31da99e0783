//! The device. Nothing here knows of a model.

pub mod adapter;
mod device;
mod pipelines;
pub mod plan;
pub mod shader;

pub use device::Gpu;
