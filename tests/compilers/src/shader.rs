//! From WGSL to SPIR-V, as wgpu translates an optimised build's kernels.

use anyhow::{Context, Result, anyhow};
use ash::vk::DescriptorType;
use hashbrown::HashMap;
use naga::back::pipeline_constants::process_overrides;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, GlobalVariable, ImageClass, Module, ShaderStage, TypeInner};

use crate::input::Constants;

const ENTRY_POINT: &str = "main";

/// A variable that a pipeline is given.
pub struct Binding {
    pub number: u32,
    pub name: String,
    pub kind: DescriptorType,
}

pub struct Shader {
    pub words: Vec<u32>,
    /// In the order of their numbers.
    pub bindings: Vec<Binding>,
}

/// Translates a kernel with its constants set, and without run-time checks.
pub fn translate(source: &str, constants: &Constants) -> Result<Shader> {
    let module = naga::front::wgsl::parse_str(source)
        .map_err(|e| anyhow!("{}", e.emit_to_string(source).trim().replace('\n', " ")))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .context("naga's validation")?;
    let values: HashMap<String, f64> = constants
        .iter()
        .map(|(name, value)| Some((name.clone(), value.as_f64()?)))
        .collect::<Option<_>>()
        .context("a constant is out of range")?;
    let stage = ShaderStage::Compute;
    let entry_point = Some((stage, ENTRY_POINT));
    let (module, info) = process_overrides(&module, &info, entry_point, &values)?;
    let pipeline = spv::PipelineOptions {
        shader_stage: stage,
        entry_point: ENTRY_POINT.into(),
    };
    Ok(Shader {
        words: spv::write_vec(&module, &info, &options(), Some(&pipeline))?,
        bindings: bindings(&module),
    })
}

/// What wgpu sets for a driver of Vulkan 1.3 or newer when its caller answers for the shader.
fn options() -> spv::Options<'static> {
    let unchecked = BoundsCheckPolicy::Unchecked;
    spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        force_loop_bounding: false,
        emit_int_div_checks: false,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    }
}

fn bindings(module: &Module) -> Vec<Binding> {
    let variables = module.global_variables.iter().map(|(_, variable)| variable);
    let mut bindings: Vec<_> = variables
        .filter_map(|variable| {
            Some(Binding {
                number: variable.binding.as_ref()?.binding,
                name: variable.name.clone().unwrap_or_default(),
                kind: kind(module, variable),
            })
        })
        .collect();
    bindings.sort_by_key(|binding| binding.number);
    bindings
}

fn kind(module: &Module, variable: &GlobalVariable) -> DescriptorType {
    match (variable.space, &module.types[variable.ty].inner) {
        (AddressSpace::Uniform, _) => DescriptorType::UNIFORM_BUFFER,
        (AddressSpace::Storage { .. }, _) => DescriptorType::STORAGE_BUFFER,
        (_, TypeInner::Image { class, .. }) => match class {
            ImageClass::Storage { .. } => DescriptorType::STORAGE_IMAGE,
            _ => DescriptorType::SAMPLED_IMAGE,
        },
        _ => DescriptorType::SAMPLER,
    }
}
