//! The composed shaders as files, for compilers that are no part of this program.

use std::path::Path;

use anyhow::{Context, Result};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use wgpu::Features;
use ztt_wgpu::gpu::Kernel;
use ztt_wgpu::kernels::probes::PROBES;
use ztt_wgpu::kernels::{KERNELS, compose};

use super::constants;
use crate::shaders::parse;

/// The folder to write to.
const VARIABLE: &str = "ZTT_WRITE_SHADERS";

/// Writes `NAME.wgsl` of every kernel and probe, and `shaders.json`: the features each needs, and
/// the sets of constants it is compiled with. Ignored where no folder is named.
pub fn trial() -> Trial {
    writing("portability::write_shaders", VARIABLE, write)
}

/// A trial that writes to the folder that a variable names, and is ignored where it names none.
pub fn writing(name: &str, variable: &'static str, write: fn(&Path) -> Result<()>) -> Trial {
    let folder = std::env::var(variable).ok();
    Trial::test(name, {
        let folder = folder.clone();
        move || {
            let folder = folder.with_context(|| format!("`{variable}` names no folder"));
            let written = folder.and_then(|folder| write(Path::new(&folder)));
            written.map_err(|e| Failed::from(format!("{e:#}")))
        }
    })
    .with_kind(match folder {
        Some(_) => String::new(),
        None => format!("no folder in {variable}"),
    })
    .with_ignored_flag(folder.is_none())
}

fn write(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut shaders = Vec::new();
    for kernel in KERNELS.iter().chain(PROBES) {
        write_text(folder, kernel)?;
        shaders.push(description(kernel)?);
    }
    let list = serde_json::to_string_pretty(&shaders)?;
    std::fs::write(folder.join("shaders.json"), list)?;
    Ok(())
}

/// Writes `NAME.wgsl` of a kernel.
pub fn write_text(folder: &Path, kernel: &Kernel) -> Result<()> {
    let text = compose(kernel.source);
    std::fs::write(folder.join(kernel.name).with_extension("wgsl"), text)?;
    Ok(())
}

fn description(kernel: &Kernel) -> Result<Value> {
    let needs = [
        (Features::SHADER_F16, "f16"),
        (Features::SUBGROUP, "subgroups"),
        (Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "matrices"),
    ];
    let needs = needs.iter().filter(|n| kernel.needs.contains(n.0));
    let needs: Vec<_> = needs.map(|n| n.1).collect();
    let (module, _) = parse(kernel)?;
    let sets = constants::sets(&module)?.into_iter();
    let sets: Vec<Value> = sets.map(|set| set.into_iter().collect()).collect();
    Ok(json!({
        "name": kernel.name,
        "needs": needs,
        "constants": sets,
    }))
}
