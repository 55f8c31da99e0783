//! `devices`: the adapters of this machine.

use anyhow::Result;
use serde_json::{Value, json};
use wgpu::{AdapterInfo, CooperativeMatrixProperties, CooperativeScalarType, Features};

use super::{output, printable, setup};
use crate::gpu::Target;
use crate::gpu::adapter::{AdapterChoice, choose, list, type_name};
use crate::kernels::tiles;

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu devices
  ztt-wgpu devices --json";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    json: bool,
}

pub fn main(args: Args) -> Result<()> {
    let adapters = pollster::block_on(list());
    // The adapter that `run` takes without flags; none where a variable names one that is not
    // there.
    let chosen = pollster::block_on(choose(&AdapterChoice::default()));
    let chosen = chosen.ok().flatten().map(|adapter| adapter.get_info());
    let describe = |(i, adapter)| describe(i, adapter, chosen.as_ref());
    let mut described: Vec<Value> = adapters.iter().enumerate().map(describe).collect();
    // Of several adapters alike the first is taken.
    let first = described.iter().position(|d| d["default"] == true);
    for (i, adapter) in described.iter_mut().enumerate() {
        adapter["default"] = json!(Some(i) == first);
    }
    if args.json {
        return output::json_line(&mut output::stdout(), &described);
    }
    if described.is_empty() {
        let drivers = match setup::DRIVERS {
            "" => String::new(),
            drivers => format!("{drivers}\n"),
        };
        let none = "no adapter found: models run on the plain Rust reference";
        output::for_people(&format!("{none}\n{drivers}"))?;
    }
    for adapter in &described {
        output::for_people(&for_people(adapter))?;
    }
    output::for_people("cpu: the plain Rust reference, always there\n")
}

fn describe(index: usize, adapter: &wgpu::Adapter, chosen: Option<&AdapterInfo>) -> Value {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let features = adapter.features();
    let has = |feature| features.contains(feature);
    let target = Target::of_adapter(adapter);
    let tiles: Vec<Value> = tiles::of_a_billion(&target)
        .into_iter()
        .map(|t| json!({ "kernel": t.kernel, "batch": t.batch, "tile": t.tile }))
        .collect();
    json!({
        "index": index,
        "default": chosen == Some(&info),
        "name": info.name,
        "backend": info.backend.to_str(),
        "type": type_name(info.device_type),
        "driver": info.driver,
        "driver_info": info.driver_info,
        "limits": {
            "buffer_bytes": limits.max_buffer_size,
            "storage_binding_bytes": limits.max_storage_buffer_binding_size,
            "storage_buffers": limits.max_storage_buffers_per_shader_stage,
            "workgroup_memory_bytes": limits.max_compute_workgroup_storage_size,
            "workgroup_invocations": limits.max_compute_invocations_per_workgroup,
            "workgroups_a_dimension": limits.max_compute_workgroups_per_dimension,
            "texture_side": limits.max_texture_dimension_2d,
        },
        "subgroup_sizes": match has(Features::SUBGROUP) {
            true => json!([info.subgroup_min_size, info.subgroup_max_size]),
            false => Value::Null,
        },
        "features": {
            "f16": has(Features::SHADER_F16),
            "subgroups": has(Features::SUBGROUP),
            "timestamps": has(Features::TIMESTAMP_QUERY),
            "pipeline_cache": has(Features::PIPELINE_CACHE),
            "cooperative_matrix": has(Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
        },
        "cooperative_matrices": matrices(adapter),
        "wgpu_features": features.iter_names().map(|(name, _)| name).collect::<Vec<_>>(),
        "kernels": target.class.name(),
        "skip": target.skip.name(),
        "tiles": tiles,
    })
}

/// The products of small matrices that the adapter's matrix units have, such as
/// `16x16x16 f16 -> f32`.
fn matrices(adapter: &wgpu::Adapter) -> Vec<String> {
    let scalar = |kind| match kind {
        CooperativeScalarType::F16 => "f16",
        CooperativeScalarType::F32 => "f32",
        CooperativeScalarType::I32 => "i32",
        CooperativeScalarType::U32 => "u32",
    };
    let name = |p: &CooperativeMatrixProperties| {
        let size = format!("{}x{}x{}", p.m_size, p.n_size, p.k_size);
        format!("{size} {} -> {}", scalar(p.ab_type), scalar(p.cr_type))
    };
    adapter
        .cooperative_matrix_properties()
        .iter()
        .map(name)
        .collect()
}

fn for_people(d: &Value) -> String {
    let text = |v: &Value| printable::one_line(v.as_str().unwrap_or("")).into_owned();
    let bytes = |key: &str| output::bytes(d["limits"][key].as_u64().unwrap_or(0));
    let features: Vec<_> = d["features"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, on)| on.as_bool() == Some(true))
        .map(|(name, _)| name.as_str())
        .collect();
    let matrices: Vec<String> = match d["cooperative_matrices"].as_array() {
        Some(list) => list.iter().map(text).collect(),
        None => Vec::new(),
    };
    let matrices = if matrices.is_empty() {
        String::new()
    } else {
        format!("\n   matrices {}", matrices.join(", "))
    };
    let tiles = d["tiles"].as_array().into_iter().flatten();
    let tile = |t: &Value| {
        let [kernel, batch, tile] = ["kernel", "batch", "tile"].map(|key| text(&t[key]));
        format!(
            "
   tile of {kernel}, {batch}: {tile}"
        )
    };
    let tiles: String = tiles.map(tile).collect();
    format!(
        "{}: {} ({}, {}){}\n   driver {} {}\n   buffer {}, storage binding {}, {} storage buffers, \
         workgroup {} invocations and {}\n   features {}; subgroups of {}{matrices}\n   kernels {}, cycles skipped by {}{tiles}\n",
        d["index"],
        text(&d["name"]),
        text(&d["backend"]),
        text(&d["type"]),
        if d["default"] == true {
            ", the default"
        } else {
            ""
        },
        text(&d["driver"]),
        text(&d["driver_info"]),
        bytes("buffer_bytes"),
        bytes("storage_binding_bytes"),
        d["limits"]["storage_buffers"],
        d["limits"]["workgroup_invocations"],
        bytes("workgroup_memory_bytes"),
        if features.is_empty() {
            "none".to_string()
        } else {
            features.join(", ")
        },
        match d["subgroup_sizes"].as_array().map(Vec::as_slice) {
            Some([low, high]) if low == high => low.to_string(),
            Some([low, high]) => format!("{low} to {high}"),
            _ => "unknown size".to_string(),
        },
        text(&d["kernels"]),
        text(&d["skip"]),
    )
}
