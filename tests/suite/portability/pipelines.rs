//! The pipelines that an adapter of AMD is asked for at the shapes of public models, written for a
//! compiler that is no part of this program; see `docs/compilers.md`. With them the cost of a token
//! of these models, which `docs/cost.md` tells.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure, format_err};
use libtest_mimic::Trial;
use serde_json::json;
use wgpu::{Backends, Features, InstanceDescriptor, Limits, NoopBackendOptions};
use ztt_wgpu::engine::{DeviceModel, Recorded, recorded_cases, recorded_pass};
use ztt_wgpu::gpu::{Gpu, Kernel, KernelClass, Traffic};
use ztt_wgpu::kernels::{KERNELS, KvType};
use ztt_wgpu::model::quant::Quant;
use ztt_wgpu::model::{Fetch, Model};

use super::shapes::{SHAPES, Shape};
use super::written::{write_text, writing};

/// The folder to write to.
const VARIABLE: &str = "ZTT_WRITE_PIPELINES";

/// The smallest and the largest subgroups of the cards.
const SUBGROUPS: [[u32; 2]; 2] = [[32, 64], [64, 64]];

const FORMATS: [(&str, Option<Quant>); 3] = [
    ("f16", None),
    ("q8_0", Some(Quant::Q8_0)),
    ("q4_0", Some(Quant::Q4_0)),
];

/// Rows of a batch, and positions before them: keys that are split and keys that are not.
const BATCHES: [(usize, usize); 7] = [
    (1, 300),
    (1, 4095),
    (2, 300),
    (4, 300),
    (4, 4092),
    (512, 0),
    (512, 3584),
];

/// Positions before the token whose cost is told.
const COST_DEPTH: usize = 512;

/// Bytes a second of the two cards that floors are told for.
const CARDS: [f64; 2] = [500e9, 3300e9];

/// Writes `NAME.wgsl` of every kernel that is asked for, `pipelines.jsonl`, a line for each set of
/// its constants, and `cost.md`, the table of `docs/cost.md`.
pub fn trial() -> Trial {
    writing("portability::write_pipelines", VARIABLE, write)
}

/// Kernel, constants, subgroups.
type Key = (&'static str, BTreeMap<&'static str, u32>, [u32; 2]);

fn write(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut pipelines: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    let mut costs = String::new();
    for shape in &SHAPES {
        for (format, quant) in FORMATS {
            let models = SUBGROUPS.map(|subgroup| model(shape, 1, quant, subgroup));
            for (subgroup, model) in SUBGROUPS.into_iter().zip(&models) {
                let model = model.as_ref().map_err(|e| format_err!("{e:#}"))?;
                for (n_rows, depth) in BATCHES {
                    let calls = recorded_cases(model, n_rows, depth, KvType::F16)?;
                    let batch = format!("{} {format}, {n_rows} rows at {depth}", shape.name);
                    for call in calls {
                        let constants = call.constants.iter().copied().collect();
                        let uses = pipelines
                            .entry((call.kernel.name, constants, subgroup))
                            .or_default();
                        uses.push(format!("{batch}: {}", call.role));
                    }
                }
            }
            let [one, _] = models;
            let two = model(shape, 2, quant, SUBGROUPS[0])?;
            cost(&mut costs, shape, format, [&one?, &two])?;
        }
    }
    let is_used = |kernel: &&&Kernel| pipelines.keys().any(|key| key.0 == kernel.name);
    for kernel in KERNELS.iter().filter(is_used) {
        write_text(folder, kernel)?;
    }
    let mut lines = String::new();
    for ((kernel, constants, subgroup), mut uses) in pipelines {
        uses.dedup();
        let line = json!({
            "kernel": kernel,
            "constants": constants,
            "subgroup": subgroup,
            "uses": uses,
        });
        writeln!(lines, "{line}")?;
    }
    std::fs::write(folder.join("pipelines.jsonl"), lines)?;
    std::fs::write(folder.join("cost.md"), &costs)?;
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cost.md");
    let document = std::fs::read_to_string(document)?;
    for line in costs.lines() {
        ensure!(document.contains(line), "docs/cost.md has no line `{line}`");
    }
    Ok(())
}

/// A model of this shape on an adapter of class `subgroup` that computes nothing.
fn model(
    shape: &Shape,
    layers: usize,
    quant: Option<Quant>,
    subgroup: [u32; 2],
) -> Result<Arc<DeviceModel>> {
    let folder = tempfile::tempdir()?;
    shape.write(folder.path(), layers, quant)?;
    let name = folder.path().to_str().context("a folder's name")?;
    let model = Model::open(name, Fetch::Never)?;
    // The adapter says that it is a software one.
    let gpu = adapter(subgroup)?.with_kernels(Some(KernelClass::Subgroup))?;
    let gpu = Arc::new(gpu);
    let no_progress = &mut |_| {};
    let device_model = DeviceModel::random(gpu, &model, no_progress);
    Ok(Arc::new(pollster::block_on(device_model)?))
}

fn adapter(subgroup: [u32; 2]) -> Result<Gpu> {
    let mut description = InstanceDescriptor::new_without_display_handle();
    description.backends = Backends::NOOP;
    description.backend_options.noop = NoopBackendOptions {
        limits: Some(Limits {
            max_compute_workgroups_per_dimension: 65_535,
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroup_size_x: 1024,
            max_compute_workgroup_storage_size: 64 << 10,
            ..Limits::unlimited()
        }),
        features: Some(Features::SUBGROUP),
        subgroup_min_size: Some(subgroup[0]),
        subgroup_max_size: Some(subgroup[1]),
        ..NoopBackendOptions::enabled()
    };
    let instance = wgpu::Instance::new(description);
    let adapters = pollster::block_on(instance.enumerate_adapters(Backends::NOOP));
    let adapter = adapters
        .first()
        .context("no adapter that computes nothing")?;
    Ok(pollster::block_on(Gpu::open(adapter))?)
}

/// Dispatches, bytes and operations of a token.
#[derive(Clone, Copy, Default)]
struct Token {
    dispatches: u64,
    moved: Traffic,
}

impl Token {
    fn of(calls: &[Recorded]) -> Self {
        let mut token = Token::default();
        for call in calls {
            token.dispatches += 1;
            token.moved += call.moved;
        }
        token
    }

    /// Of `n` layers, from those of one and of two.
    fn of_layers(n: u64, one: Token, two: Token) -> Token {
        let of = |one: u64, two: u64| one + (n - 1) * (two - one);
        Token {
            dispatches: of(one.dispatches, two.dispatches),
            moved: Traffic {
                read: of(one.moved.read, two.moved.read),
                written: of(one.moved.written, two.moved.written),
                flops: of(one.moved.flops, two.moved.flops),
            },
        }
    }
}

/// Adds the line of a model's token to the table.
///
/// `models` of one layer and of two.
fn cost(
    table: &mut String,
    shape: &Shape,
    format: &str,
    models: [&Arc<DeviceModel>; 2],
) -> Result<()> {
    let [one, two] = models.map(|model| recorded_pass(model, 1, COST_DEPTH, KvType::F16));
    let [one, two] = [Token::of(&one?), Token::of(&two?)];
    let token = Token::of_layers(shape.layers as u64, one, two);
    let bytes = token.moved.bytes() as f64;
    let floors = CARDS.map(|speed| bytes / speed * 1e3);
    writeln!(
        table,
        "| {} | {format} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} |",
        shape.name,
        token.dispatches,
        bytes / 1e6,
        token.moved.flops as f64 / 1e9,
        floors[0],
        floors[1],
        1e3 / floors[1],
    )?;
    Ok(())
}
