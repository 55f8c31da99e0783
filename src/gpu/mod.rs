//! The device. Nothing here knows of a model.

pub mod adapter;
mod cache;
mod class;
mod device;
mod faults;
mod pipelines;
pub mod plan;
pub mod read_back;
pub mod shader;
pub mod timer;

pub use class::{CLASSES, KernelClass};
pub use device::Gpu;
