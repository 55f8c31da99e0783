//! Classes of kernels, and which one suits an adapter.

use wgpu::{AdapterInfo, DeviceType, Features};

/// How kernels are written. Every class runs on every adapter that has the features it needs;
/// they differ in speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelClass {
    /// For GPUs: everything in buffers, neighbours work together through subgroups where that is
    /// faster than workgroup memory.
    Subgroup,
    /// The same through workgroup memory alone.
    Workgroup,
    /// For adapters that are programs: weights in textures, activations of one row in a uniform
    /// buffer. Mesa's llvmpipe loads from both without a loop over lanes, and from storage
    /// buffers with one, which takes twenty times as long.
    Texture,
}

/// The classes by the names flags use.
pub const CLASSES: &[(&str, KernelClass)] = &[
    ("subgroup", KernelClass::Subgroup),
    ("workgroup", KernelClass::Workgroup),
    ("texture", KernelClass::Texture),
];

impl KernelClass {
    /// The class for an adapter of these features.
    pub fn of(info: &AdapterInfo, features: Features) -> Self {
        match info.device_type {
            DeviceType::Cpu => Self::Texture,
            _ if Self::Subgroup.runs_on(info, features) => Self::Subgroup,
            _ => Self::Workgroup,
        }
    }

    /// Whether an adapter has what the class needs.
    pub fn runs_on(self, info: &AdapterInfo, features: Features) -> bool {
        match self {
            // Eight neighbouring lanes must be in one subgroup.
            Self::Subgroup => features.contains(Features::SUBGROUP) && info.subgroup_min_size >= 8,
            Self::Workgroup | Self::Texture => true,
        }
    }

    /// The class's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subgroup => "subgroup",
            Self::Workgroup => "workgroup",
            Self::Texture => "texture",
        }
    }
}
