//! Classes of kernels, and which one suits an adapter.

use wgpu::{AdapterInfo, DeviceType};

/// How kernels are written. Every class runs on every adapter; they differ in speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelClass {
    /// For GPUs: everything in buffers, neighbours work together through workgroup memory.
    Workgroup,
    /// For adapters that are programs: weights in textures, activations of one row in a uniform
    /// buffer. Mesa's llvmpipe loads from both without a loop over lanes, and from storage
    /// buffers with one, which takes twenty times as long.
    Texture,
}

/// The classes by the names flags use.
pub const CLASSES: &[(&str, KernelClass)] = &[
    ("workgroup", KernelClass::Workgroup),
    ("texture", KernelClass::Texture),
];

impl KernelClass {
    /// The class for an adapter.
    pub fn of(info: &AdapterInfo) -> Self {
        match info.device_type {
            DeviceType::Cpu => Self::Texture,
            _ => Self::Workgroup,
        }
    }

    /// The class's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workgroup => "workgroup",
            Self::Texture => "texture",
        }
    }
}
