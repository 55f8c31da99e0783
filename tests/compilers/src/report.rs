//! The result of compiling one pipeline for one card: a line of the program's output.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ash::vk::DescriptorType;
use serde::{Deserialize, Serialize};

use crate::assembly::Program;
use crate::driver::{Compiled, Driver};
use crate::input::{Constants, Input, Pipeline};
use crate::loops::{self, Loop};
use crate::shader::{self, Binding};

/// The variable that kernels have their weights in.
const WEIGHTS: &str = "weights";

/// A folder for the assembly of every pipeline.
const WRITE_ASSEMBLY: &str = "ZTT_WRITE_ASSEMBLY";

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub kernel: String,
    pub constants: Constants,
    pub uses: Vec<String>,
    pub card: String,
    /// Vector registers a lane.
    pub vgprs: u64,
    /// Registers that did not fit, scalar ones included.
    pub spilled: u64,
    /// Bytes of memory that a subgroup has for spilled registers and for indexed variables.
    pub scratch: u64,
    /// Subgroups that fit a SIMD beside each other.
    pub occupancy: u64,
    /// Bytes of a workgroup.
    pub workgroup_memory: u64,
    pub code_bytes: u64,
    pub instructions: u64,
    #[serde(rename = "loop")]
    pub busiest: Option<Loop>,
    /// Bytes that the loop loads for each byte of weights that it works through.
    pub fetched: Option<f64>,
    /// Bytes of weights of a turn of the loop, where the host has said so.
    pub weight_bytes: Option<u64>,
}

impl Report {
    /// Compiles a pipeline on a device.
    pub fn make(driver: &Driver, card: &str, input: &Input, pipeline: &Pipeline) -> Result<Self> {
        let source = input.source(&pipeline.kernel)?;
        let shader = shader::translate(&source, &pipeline.constants)?;
        let compiled = driver.compile(&shader)?;
        write_assembly(&compiled, card, pipeline)?;
        let weights = weights(&shader.bindings);
        let program = Program::parse(&compiled.assembly).context("the assembly")?;
        let busiest = loops::busiest(&program, weights).context("the assembly")?;
        let statistic = |name| compiled.statistic(name);
        let spilled = statistic("Spilled VGPRs")? + statistic("Spilled SGPRs")?;
        let scratch = statistic("Scratch size")?;
        if spilled == 0 && scratch == 0 {
            // A load that the reader of the assembly does not know would count for nothing.
            let accesses = program.instructions.iter().filter(|i| i.is_memory());
            let (counted, read) = (statistic("VMEM")?, accesses.count() as u64);
            ensure!(
                counted == read,
                "the driver counts {counted} accesses to memory, its assembly shows {read}"
            );
        }
        Ok(Self {
            kernel: pipeline.kernel.clone(),
            constants: pipeline.constants.clone(),
            uses: pipeline.uses.clone(),
            card: card.to_string(),
            vgprs: statistic("VGPRs")?,
            spilled,
            scratch,
            occupancy: statistic("Subgroups per SIMD")?,
            workgroup_memory: statistic("LDS size")?,
            code_bytes: statistic("Code size")?,
            instructions: statistic("Instructions")?,
            fetched: busiest.as_ref().and_then(|l| fetched(l, pipeline)),
            weight_bytes: pipeline.weight_bytes,
            busiest,
        })
    }
}

/// The number of the weights' binding. The sizes of descriptors are known of buffers alone.
fn weights(bindings: &[Binding]) -> Option<u32> {
    let buffers = [
        DescriptorType::UNIFORM_BUFFER,
        DescriptorType::STORAGE_BUFFER,
    ];
    let are_buffers = bindings.iter().all(|b| buffers.contains(&b.kind));
    let found = bindings.iter().find(|b| b.name == WEIGHTS);
    found.filter(|_| are_buffers).map(|b| b.number)
}

fn fetched(busiest: &Loop, pipeline: &Pipeline) -> Option<f64> {
    let weights = pipeline.weight_bytes.unwrap_or(busiest.weights);
    (weights > 0).then(|| busiest.bytes as f64 / weights as f64)
}

fn write_assembly(compiled: &Compiled, card: &str, pipeline: &Pipeline) -> Result<()> {
    let Some(folder) = std::env::var_os(WRITE_ASSEMBLY) else {
        return Ok(());
    };
    let folder = Path::new(&folder).join(card);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}.txt", pipeline.name().replace(' ', ",")));
    std::fs::write(&file, &compiled.assembly).with_context(|| format!("`{}`", file.display()))
}
