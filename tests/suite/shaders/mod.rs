//! The shaders' text: its order, and its agreement with the [`Kernel`]s of the host side. Needs no
//! adapter.

mod interface;
mod texts;
mod tiles;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module};
use wgpu::Features;
use ztt_wgpu::gpu::Kernel;
use ztt_wgpu::kernels::probes::PROBES;
use ztt_wgpu::kernels::{KERNELS, compose};

use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    let interface = |kernel: &&'static Kernel| {
        let kernel = *kernel;
        let name = format!("shaders::interface::{}", kernel.name);
        trial(name, move || interface::check(kernel))
    };
    let all = KERNELS.iter().chain(PROBES);
    let mut trials: Vec<Trial> = all.map(interface).collect();
    trials.push(trial(
        "shaders::negative_controls",
        interface::negative_controls,
    ));
    trials.extend(texts::trials());
    trials.extend(tiles::trials());
    trials
}

/// The shader as naga sees it, imports resolved, and the facts of naga's validator about it.
pub fn parse(kernel: &Kernel) -> Result<(Module, ModuleInfo)> {
    let source = compose(kernel.source);
    let parsed = naga::front::wgsl::parse_str(&source);
    let module = parsed.map_err(|e| anyhow::anyhow!(e.emit_to_string(&source)))?;
    // The core of WGSL and what the kernel says it needs. Naga counts the packing of f16 pairs
    // apart from the core.
    let mut allowed = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    for (feature, capability) in [
        (Features::SHADER_F16, Capabilities::SHADER_FLOAT16),
        (Features::SUBGROUP, Capabilities::SUBGROUP),
        (
            Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
            Capabilities::COOPERATIVE_MATRIX,
        ),
    ] {
        allowed.set(capability, kernel.needs.contains(feature));
    }
    let info = Validator::new(ValidationFlags::all(), allowed)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| anyhow::anyhow!(e.emit_to_string(&source)))?;
    Ok((module, info))
}

/// Names of a kernel's `override` constants, in rising order.
pub fn overrides(kernel: &Kernel) -> &'static [String] {
    static ALL: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
        let names = |kernel: &&Kernel| {
            let module = parse(kernel).map_or_else(|_| Module::default(), |parsed| parsed.0);
            let names = module.overrides.iter().filter_map(|(_, o)| o.name.clone());
            names.collect::<BTreeSet<_>>().into_iter().collect()
        };
        KERNELS.iter().map(names).collect()
    });
    let index = KERNELS.iter().position(|k| k.name == kernel.name);
    index.map_or(&[], |i| &ALL[i])
}

/// Bytes of workgroup memory that a shader takes.
pub fn workgroup_bytes(module: &Module) -> Result<u32> {
    let mut total = 0;
    for (_, variable) in module.global_variables.iter() {
        if variable.space == AddressSpace::WorkGroup {
            let size = module.types[variable.ty].inner.size(module.to_ctx());
            // naga gives 0 where the size depends on an override.
            ensure!(size > 0, "size of {:?} is not known", variable.name);
            total += size.next_multiple_of(16);
        }
    }
    Ok(total)
}
