//! Compute pipelines: made once for each kernel and set of constants.

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::DiskCache;
use super::kernel::{Access, Kernel};

/// Values of a kernel's `override` constants.
pub type Constants = Vec<(&'static str, u32)>;

/// The pipelines made so far.
pub(super) struct Pipelines {
    made: HashMap<(&'static str, Constants), Arc<wgpu::ComputePipeline>>,
    disk: Option<DiskCache>,
}

impl Pipelines {
    pub(super) fn new(disk: Option<DiskCache>) -> Self {
        Self {
            made: HashMap::new(),
            disk,
        }
    }

    /// The pipeline of `kernel` with `constants`.
    pub(super) fn get(
        &mut self,
        device: &wgpu::Device,
        kernel: &'static Kernel,
        constants: &Constants,
    ) -> Arc<wgpu::ComputePipeline> {
        let key = (kernel.name, constants.clone());
        let cache = self.disk.as_ref().map(|disk| &disk.cache);
        let make = || Arc::new(pipeline(device, kernel, constants, cache));
        Arc::clone(self.made.entry(key).or_insert_with(make))
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.as_ref().filter(|_| !self.made.is_empty()) {
            disk.save();
        }
    }
}

fn pipeline(
    device: &wgpu::Device,
    kernel: &Kernel,
    constants: &Constants,
    cache: Option<&wgpu::PipelineCache>,
) -> wgpu::ComputePipeline {
    let source = wgpu::ShaderModuleDescriptor {
        label: Some(kernel.name),
        source: wgpu::ShaderSource::Wgsl((kernel.compose)(kernel.source).into()),
    };
    let module = match cfg!(debug_assertions) {
        true => device.create_shader_module(source),
        // SAFETY: unchecked shaders must not read or write out of bounds nor loop forever. These
        // are this crate's own; the tests run the same text with the checks on.
        false => unsafe {
            device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
        },
    };
    let entry = |binding: usize, ty: wgpu::BindingType| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty,
        count: None,
    };
    let buffer = |ty: wgpu::BufferBindingType| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: false,
        min_binding_size: None,
    };
    use wgpu::TextureViewDimension::{D2, D2Array};
    let storage_texture = |access, format, view_dimension| wgpu::BindingType::StorageTexture {
        access,
        format,
        view_dimension,
    };
    use wgpu::StorageTextureAccess::{ReadOnly, WriteOnly};
    use wgpu::TextureFormat::{Rgba32Float, Rgba32Uint};
    let storage = |read_only| buffer(wgpu::BufferBindingType::Storage { read_only });
    let uniform = entry(0, buffer(wgpu::BufferBindingType::Uniform));
    let others = (1..).zip(kernel.bindings).map(|(i, binding)| {
        let ty = match binding.access {
            Access::Read => storage(true),
            Access::ReadWrite => storage(false),
            Access::Uniform => buffer(wgpu::BufferBindingType::Uniform),
            Access::Texture => storage_texture(ReadOnly, Rgba32Uint, D2),
            Access::FloatTexture => storage_texture(ReadOnly, Rgba32Float, D2),
            Access::WriteTexture => storage_texture(WriteOnly, Rgba32Float, D2),
            Access::TextureArray => storage_texture(ReadOnly, Rgba32Uint, D2Array),
            Access::WriteTextureArray => storage_texture(WriteOnly, Rgba32Uint, D2Array),
            Access::SampledTexture => wgpu::BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Uint,
                view_dimension: D2,
                multisampled: false,
            },
        };
        entry(i, ty)
    });
    let entries: Vec<_> = std::iter::once(uniform).chain(others).collect();
    let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.name),
        entries: &entries,
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(kernel.name),
        bind_group_layouts: &[Some(&bindings)],
        immediate_size: 0,
    });
    let constants: Vec<_> = constants.iter().map(|&(k, v)| (k, f64::from(v))).collect();
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.name),
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            // Every kernel writes workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache,
    })
}
