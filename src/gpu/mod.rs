//! The device. Nothing here knows of a model.

pub mod adapter;
mod cache;
mod class;
mod cost;
mod device;
mod faults;
mod kernel;
mod memory;
mod pipelines;
mod placeholders;
pub mod plan;
pub mod read_back;
mod skip;
mod store;
mod target;
pub mod timer;
mod timestamps;

pub use class::{CLASSES, KernelClass};
pub use cost::{Cost, Traffic};
pub use device::Gpu;
pub use kernel::{Access, Binding, Call, Kernel, Resource, UNIFORM_BYTES, on_buffers};
pub use skip::Skip;
pub use store::Store;
pub use target::Target;
pub use timestamps::Timestamps;
