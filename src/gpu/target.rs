//! What kernels have to know of an adapter: the way they are written for it, and its limits.

use wgpu::{AdapterInfo, CooperativeMatrixProperties, DeviceType, Features, Limits};

use super::class::KernelClass;
use super::skip::Skip;
use crate::error::{Error, Result};

/// An adapter as kernels see it. Made when the adapter is opened; whoever has to choose between
/// ways of computing asks it, and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub class: KernelClass,
    /// Lanes of a subgroup, the fewest and the most; zeros where the adapter does not say, or has
    /// no subgroups.
    pub subgroup: [u32; 2],
    pub limits: Limits,
    pub skip: Skip,
    /// Sizes and types of cooperative matrices; empty without the feature.
    pub matrices: Vec<CooperativeMatrixProperties>,
}

impl Target {
    /// The target of an adapter, with the class of kernels that suits it.
    pub fn of(
        info: &AdapterInfo,
        features: Features,
        limits: Limits,
        matrices: Vec<CooperativeMatrixProperties>,
    ) -> Self {
        let subgroup = match features.contains(Features::SUBGROUP) {
            true => [info.subgroup_min_size, info.subgroup_max_size],
            false => [0, 0],
        };
        let is_software = info.device_type == DeviceType::Cpu;
        Self {
            class: KernelClass::of(is_software, subgroup[0]),
            subgroup,
            limits,
            skip: Skip::of(info),
            matrices,
        }
    }

    /// The target of an adapter that has not been opened.
    pub fn of_adapter(adapter: &wgpu::Adapter) -> Self {
        Self::of(
            &adapter.get_info(),
            adapter.features(),
            adapter.limits(),
            adapter.cooperative_matrix_properties(),
        )
    }

    /// This target with the class of kernels `class`.
    ///
    /// # Errors
    /// [`Error::Option`] when the adapter lacks what the class needs.
    pub fn with_class(self, class: KernelClass) -> Result<Self> {
        match class.runs_on(self.subgroup[0]) {
            true => Ok(Self { class, ..self }),
            false => Err(Error::Option {
                option: "--kernels",
                expected: "a class that the adapter can run".to_string(),
                found: format!("{}, which needs {}", class.name(), class.need()),
            }),
        }
    }

    /// This target for models whose matrices do not fit its textures.
    pub fn without_textures(&self) -> Self {
        Self {
            class: match self.class {
                KernelClass::Software => KernelClass::Workgroup,
                class => class,
            },
            ..self.clone()
        }
    }

    /// Whether matrices, the KV cache and the activations of many rows lie in textures.
    pub fn uses_textures(&self) -> bool {
        self.class == KernelClass::Software
    }

    /// Whether compiling a kernel takes as long as some hundred rows: few rows then had better run
    /// with the kernels of one.
    pub fn compiles_slowly(&self) -> bool {
        self.class == KernelClass::Software
    }

    /// Rows up to which kernels read the weights as those of one row do, and give a row the same
    /// bits: what a text is must not depend on the texts beside it.
    pub fn few_rows(&self) -> usize {
        8
    }

    /// Lanes of a workgroup that stands alone, or for a whole row: the more, up to `most`, the sooner
    /// a GPU is done. Software adapters go through them one after the other.
    pub fn workgroup_of(&self, most: u32) -> u32 {
        let limit = self.limits.max_compute_invocations_per_workgroup;
        match self.class {
            KernelClass::Software => 64,
            KernelClass::Subgroup | KernelClass::Workgroup => 1 << limit.min(most).max(64).ilog2(),
        }
    }

    /// Neighbouring lanes that kernels on textures count on sharing a subgroup; those of class
    /// `subgroup` count on eight, and take as many as there are.
    pub fn lanes(&self) -> u32 {
        self.class.lanes(self.subgroup[0])
    }

    /// Bytes that one binding can hold. Shaders count elements in 32 bits, and bytes are no fewer.
    pub fn binding_limit(&self) -> u64 {
        let binding = self.limits.max_storage_buffer_binding_size;
        let buffer = self.limits.max_buffer_size;
        binding.min(buffer).min(u32::MAX.into())
    }

    /// Texels of the longest side of a texture.
    pub fn texture_limit(&self) -> usize {
        self.limits.max_texture_dimension_2d as usize
    }
}
