//! Direct3D's shading language, and the limits that every Direct3D 12 device has.

use anyhow::{Context, Result, ensure};
use naga::back::hlsl::{BindTarget, Options, PipelineOptions, ShaderModel, Writer};
use naga::valid::ModuleInfo;
use naga::{Binding, BuiltIn, Module};
use wgpu::Features;
use ztt_wgpu::gpu::Kernel;

use super::usage::Usage;

/// Limits of feature level 11.0. Source: Direct3D 11.3 Functional Specification, compute shaders.
const LIMITS: Usage = Usage {
    // Uniform ones alone stop at 14, read ones at 128.
    buffers: 14,
    textures: 128,
    written: 8,
    workgroup_bytes: 32 << 10,
    invocations: 1024,
};

/// The lowest shader model that has what a kernel needs; `None` where wgpu has it on no model.
fn lowest(kernel: &Kernel) -> Option<ShaderModel> {
    let needs = |feature| kernel.needs.contains(feature);
    if needs(Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        None
    } else if needs(Features::SHADER_F16) {
        Some(ShaderModel::V6_2)
    } else if needs(Features::SUBGROUP) {
        Some(ShaderModel::V6_0)
    } else {
        Some(ShaderModel::V5_1)
    }
}

/// Translates a shader, for the oldest compiler and a new one, and holds it against the limits.
pub fn check(module: &Module, info: &ModuleInfo, kernel: &Kernel) -> Result<()> {
    Usage::of(module)?.ensure_within(&LIMITS)?;
    ensure_no_counts(module)?;
    let Some(lowest) = lowest(kernel) else {
        return Ok(());
    };
    for model in [lowest, ShaderModel::V6_6] {
        let text = translate(module, info, model)?;
        ensure!(text.contains("void main("), "{text}");
    }
    Ok(())
}

/// The text of a shader, every resource in a register of its own.
fn translate(module: &Module, info: &ModuleInfo, shader_model: ShaderModel) -> Result<String> {
    let bindings = module
        .global_variables
        .iter()
        .filter_map(|(_, v)| v.binding);
    let target = |binding: naga::ResourceBinding| {
        let target = BindTarget {
            register: binding.binding,
            restrict_indexing: true,
            ..BindTarget::default()
        };
        (binding, target)
    };
    let options = Options {
        shader_model,
        binding_map: bindings.map(target).collect(),
        fake_missing_bindings: false,
        zero_initialize_workgroup_memory: false,
        ..Options::default()
    };
    let mut text = String::new();
    let pipeline_options = PipelineOptions::default();
    let mut writer = Writer::new(&mut text, &options, &pipeline_options);
    let written = writer.write(module, info, None)?;
    let entry = written
        .entry_point_names
        .first()
        .context("no entry point")?;
    entry.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(text)
}

/// Direct3D does not tell a shader how many workgroups there are. wgpu does, except where an
/// indirect dispatch is not validated, and those of the engine are not.
fn ensure_no_counts(module: &Module) -> Result<()> {
    let arguments = module
        .entry_points
        .iter()
        .flat_map(|e| &e.function.arguments);
    let counts = Some(Binding::BuiltIn(BuiltIn::NumWorkGroups));
    let mut bindings = arguments.map(|a| a.binding.clone());
    ensure!(!bindings.any(|b| b == counts), "reads `num_workgroups`");
    Ok(())
}

/// A shader that asks how many workgroups there are.
pub fn control() -> Result<()> {
    const SOURCE: &str = "
        @compute @workgroup_size(1)
        fn main(@builtin(num_workgroups) n: vec3<u32>) {}
    ";
    let module = naga::front::wgsl::parse_str(SOURCE)?;
    ensure!(
        ensure_no_counts(&module).is_err(),
        "a forbidden builtin passes"
    );
    Ok(())
}
