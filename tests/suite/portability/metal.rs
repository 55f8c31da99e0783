//! Metal's shading language, and the limits that every Metal device has.

use anyhow::{Context, Result, ensure};
use naga::back::msl::{BindTarget, EntryPointResources, Options, PipelineOptions, write_string};
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Module};
use ztt_wgpu::gpu::Kernel;

use super::usage::Usage;

/// Limits of the family Apple 4 and of Macs, but for the threads: some of Apple's own GPUs run a
/// pipeline with 512 only. Source: Metal Feature Set Tables, Apple.
const LIMITS: Usage = Usage {
    // 31, and one tells the shader how long the others are.
    buffers: 30,
    textures: 31,
    // Textures alone; Metal counts no buffers here.
    written: 8,
    workgroup_bytes: 32 << 10,
    invocations: 512,
};

/// The language version of macOS 11 and iOS 14.
const VERSION: (u8, u8) = (2, 3);

/// Translates a shader, with slots as wgpu gives them, and holds it against the limits.
pub fn check(module: &Module, info: &ModuleInfo, _: &Kernel) -> Result<()> {
    Usage::of(module)?.ensure_within(&LIMITS)?;
    let mut resources = EntryPointResources::default();
    let (mut n_buffers, mut n_textures) = (0, 0);
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = variable.binding else {
            continue;
        };
        let next = |is_of_kind: bool, n: &mut u8| {
            is_of_kind.then(|| {
                *n += 1;
                *n - 1
            })
        };
        let is_texture = variable.space == AddressSpace::Handle;
        let target = BindTarget {
            buffer: next(!is_texture, &mut n_buffers),
            texture: next(is_texture, &mut n_textures),
            mutable: true,
            ..BindTarget::default()
        };
        resources.resources.insert(binding, target);
    }
    resources.sizes_buffer = Some(n_buffers);
    let options = Options {
        lang_version: VERSION,
        per_entry_point_map: [("main".to_string(), resources)].into(),
        fake_missing_bindings: false,
        zero_initialize_workgroup_memory: false,
        ..Options::default()
    };
    let (text, translated) = write_string(module, info, &options, &PipelineOptions::default())?;
    let entry = translated
        .entry_point_names
        .first()
        .context("no entry point")?;
    let entry = entry.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?;
    ensure!(text.contains(&format!("kernel void {entry}(")), "{text}");
    Ok(())
}
