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
    /// For adapters that are programs: weights in storage textures, activations of one row in a
    /// uniform buffer. Mesa's llvmpipe loads from both without a loop over lanes, and from storage
    /// buffers with one, which takes twenty times as long. What lanes need alike they load once,
    /// and exchange through subgroups.
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
            DeviceType::Cpu if Self::Texture.runs_on(info, features) => Self::Texture,
            _ if Self::Subgroup.runs_on(info, features) => Self::Subgroup,
            _ => Self::Workgroup,
        }
    }

    /// Whether an adapter has what the class needs.
    pub fn runs_on(self, info: &AdapterInfo, features: Features) -> bool {
        let least = match features.contains(Features::SUBGROUP) {
            true => info.subgroup_min_size,
            false => 1,
        };
        least >= self.least_lanes()
    }

    /// Neighbouring lanes that must share a subgroup.
    fn least_lanes(self) -> u32 {
        match self {
            Self::Subgroup => 8,
            Self::Workgroup => 1,
            Self::Texture => 4,
        }
    }

    /// Neighbouring lanes that the class's kernels count on sharing a subgroup: the more an
    /// adapter has, up to eight, the fewer loads.
    pub fn lanes(self, info: &AdapterInfo) -> u32 {
        match self {
            Self::Texture if info.subgroup_min_size >= 8 => 8,
            _ => self.least_lanes(),
        }
    }

    /// What an adapter lacks that does not run the class.
    pub fn need(self) -> String {
        format!("subgroups of {} or more", self.least_lanes())
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
