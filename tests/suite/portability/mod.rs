//! Checks for other platforms without their machines: every shader, with every set of constants
//! that the engine gives it, in the languages of Metal and Direct3D and within their limits. Needs
//! no adapter. The texts can be written out for other compilers.

pub mod constants;
mod direct3d;
mod metal;
mod pipelines;
mod shapes;
pub mod usage;
mod written;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use naga::Module;
use naga::back::pipeline_constants::process_overrides;
use naga::valid::ModuleInfo;
use ztt_wgpu::gpu::Kernel;
use ztt_wgpu::kernels::KERNELS;
use ztt_wgpu::kernels::probes::PROBES;

use crate::fixtures::trial;
use crate::shaders::parse;
use constants::Set;

/// A language's translator, and its name.
type Translator = (
    &'static str,
    fn(&Module, &ModuleInfo, &Kernel) -> Result<()>,
);

const TRANSLATORS: [Translator; 2] = [("metal", metal::check), ("direct3d", direct3d::check)];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (platform, check) in TRANSLATORS {
        for kernel in KERNELS.iter().chain(PROBES) {
            let name = format!("portability::{platform}::{}", kernel.name);
            trials.push(trial(name, move || with_every_set(kernel, check)));
        }
    }
    trials.push(trial(
        "portability::every_constant_is_used",
        constants::all_used,
    ));
    trials.push(trial("portability::controls::limits", usage::controls));
    trials.push(trial("portability::controls::direct3d", direct3d::control));
    trials.push(written::trial());
    trials.push(pipelines::trial());
    trials
}

/// Calls `check` on a kernel once for each of its sets of constants.
fn with_every_set(
    kernel: &Kernel,
    check: fn(&Module, &ModuleInfo, &Kernel) -> Result<()>,
) -> Result<()> {
    let (module, info) = parse(kernel)?;
    for set in constants::sets(&module)? {
        let (fixed, info) = fixed(&module, &info, &set)?;
        check(&fixed, &info, kernel).with_context(|| format!("with {set:?}"))?;
    }
    Ok(())
}

/// A module with its constants set.
pub fn fixed(module: &Module, info: &ModuleInfo, set: &Set) -> Result<(Module, ModuleInfo)> {
    let values = set.iter().map(|(name, v)| (name.clone(), f64::from(*v)));
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) = process_overrides(module, info, entry, &values.collect())?;
    Ok((module.into_owned(), info.into_owned()))
}
