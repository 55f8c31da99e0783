//! Classes of kernels, and which one suits an adapter.

use wgpu::{AdapterInfo, DeviceType, Features};

/// How kernels are written. Every class runs on every adapter that has the features it needs;
/// they differ in speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelClass {
    /// For GPUs: everything in buffers, neighbours work together through subgroups where that is
    /// faster than workgroup memory.
    Subgroup,
    /// For GPUs whose subgroups are too small or unknown: everything in buffers, neighbours work
    /// together through workgroup memory alone.
    Workgroup,
    /// For software adapters: weights in storage textures, activations of one row in a uniform
    /// buffer. Mesa's llvmpipe loads from both without a loop over lanes, and from storage buffers
    /// with one, which takes twenty times as long. Lanes load a shared value once, and exchange it
    /// through subgroups.
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
        let least = self.least_lanes();
        let has_lanes = features.contains(Features::SUBGROUP) && info.subgroup_min_size >= least;
        least == 1 || has_lanes
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

    /// The requirement that an adapter lacks when it cannot run the class.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(device_type: DeviceType, least: u32) -> AdapterInfo {
        AdapterInfo {
            subgroup_min_size: least,
            ..AdapterInfo::new(device_type, wgpu::Backend::Vulkan)
        }
    }

    #[test]
    fn a_class_is_chosen_that_the_adapter_runs() {
        let of = |device_type, least, features| {
            let info = adapter(device_type, least);
            let class = KernelClass::of(&info, features);
            assert!(class.runs_on(&info, features), "{info:?}");
            (class, class.lanes(&info))
        };
        let (cpu, gpu) = (DeviceType::Cpu, DeviceType::DiscreteGpu);
        let (some, none) = (Features::SUBGROUP, Features::empty());
        assert_eq!(of(cpu, 8, some), (KernelClass::Texture, 8));
        assert_eq!(of(cpu, 4, some), (KernelClass::Texture, 4));
        assert_eq!(of(cpu, 2, some), (KernelClass::Workgroup, 1));
        assert_eq!(of(cpu, 8, none), (KernelClass::Workgroup, 1));
        assert_eq!(of(gpu, 32, some), (KernelClass::Subgroup, 8));
        assert_eq!(of(gpu, 4, some), (KernelClass::Workgroup, 1));
        // Some drivers do not say how large their subgroups are.
        assert_eq!(of(gpu, 0, some), (KernelClass::Workgroup, 1));
    }
}
