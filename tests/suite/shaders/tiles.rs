//! The tiles that kernels choose, against the limits of the adapters that they are chosen for.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use wgpu::Limits;
use ztt_wgpu::gpu::{Kernel, KernelClass, Skip, Target};
use ztt_wgpu::kernels::{BatchKind, Heads, attention, linear};
use ztt_wgpu::model::quant::Quant;
use ztt_wgpu::model::tensor::Dtype;

use super::parse;
use crate::fixtures::trial;
use crate::portability::fixed;
use crate::portability::usage::Usage;

/// An adapter as tiles see it: its name, whether it is a software adapter, lanes of a subgroup (0
/// where there are none), invocations and bytes of a workgroup, storage buffers.
type Profile = (&'static str, bool, [u32; 2], u32, u32, u32);

const PROFILES: [Profile; 7] = [
    ("WebGPU's minimum", false, [0, 0], 256, 16 << 10, 8),
    ("Apple", false, [32, 32], 1024, 32 << 10, 31),
    ("RDNA", false, [32, 64], 1024, 64 << 10, 1 << 20),
    ("NVIDIA", false, [32, 32], 1024, 48 << 10, 1 << 19),
    ("Intel", false, [8, 32], 1024, 64 << 10, 1 << 20),
    ("llvmpipe", true, [8, 8], 1024, 32 << 10, 32),
    ("SwiftShader", true, [4, 4], 256, 32 << 10, 65_536),
];

const KINDS: [BatchKind; 5] = [
    BatchKind::OneRow,
    BatchKind::FewRows(2),
    BatchKind::FewRows(4),
    BatchKind::OneSequence,
    BatchKind::SeveralSequences,
];

/// Inputs of matrices, from tests' models to models of some billion parameters.
const N_IN: [u32; 8] = [1, 64, 576, 1536, 2048, 5632, 8192, 9728];

/// Outputs: the largest vocabularies are among them.
const N_OUT: [u32; 6] = [1, 576, 16_384, 128_256, 151_936, 262_144];

/// Weights with tiles of their own, and others.
const DTYPES: [Dtype; 3] = [
    Dtype::F16,
    Dtype::Quantized(Quant::Q8_0),
    Dtype::Quantized(Quant::Q4_0),
];

/// Heads, KV heads, dimensions of a head.
const HEADS: [(u32, u32, u32); 9] = [
    (1, 1, 2),
    (9, 3, 64),
    (12, 12, 64),
    (32, 8, 64),
    (16, 16, 128),
    (32, 8, 128),
    (6, 2, 80),
    (18, 1, 96),
    (8, 1, 256),
];

const N_CTX: [u32; 5] = [1, 100, 512, 4096, 131_072];

fn target(&(_, is_software, subgroup, invocations, bytes, buffers): &Profile) -> Target {
    Target {
        class: KernelClass::of(is_software, subgroup[0]),
        subgroup,
        limits: Limits {
            max_compute_invocations_per_workgroup: invocations,
            max_compute_workgroup_size_x: invocations,
            max_compute_workgroup_storage_size: bytes,
            max_storage_buffers_per_shader_stage: buffers,
            ..Limits::default()
        },
        skip: Skip::ZeroCount,
        matrices: Vec::new(),
    }
}

pub fn trials() -> Vec<Trial> {
    let of_profile = |profile: &'static Profile| {
        let name = profile.0.replace(' ', "_");
        trial(format!("shaders::tiles::{name}"), move || check(profile))
    };
    let mut trials: Vec<Trial> = PROFILES.iter().map(of_profile).collect();
    trials.push(trial("shaders::tiles::negative_controls", controls));
    trials
}

/// Every tile that kernels choose for a profile.
fn check(profile: &Profile) -> Result<()> {
    let target = target(profile);
    let mut seen = Vec::new();
    let mut checked =
        |kernel: &'static Kernel, constants: Vec<(&'static str, u32)>| -> Result<()> {
            let key = (kernel.name, constants);
            if seen.contains(&key) {
                return Ok(());
            }
            ensure_fits(&target, kernel, &key.1).with_context(|| format!("{key:?}"))?;
            seen.push(key);
            Ok(())
        };
    for kind in KINDS {
        for n_in in N_IN {
            for n_out in N_OUT {
                for dtype in DTYPES {
                    let tile = linear::Tile::of(&target, kind, dtype, n_in.div_ceil(8), n_out);
                    checked(linear::kernel(&target, kind), tile.constants())?;
                    let most = target.limits.max_compute_workgroups_per_dimension;
                    ensure!(n_out.div_ceil(tile.outputs) <= most, "{tile:?} of {n_out}");
                }
            }
        }
        for (n_heads, n_kv_heads, head_dim) in HEADS {
            let heads = Heads {
                n_heads,
                n_kv_heads,
                octets: head_dim.div_ceil(8),
            };
            for n_ctx in N_CTX {
                let tile = attention::Tile::of(&target, kind, heads, n_ctx);
                let mut constants = tile.constants();
                constants.push(("HEAD_OCTETS", heads.octets));
                constants.push(("N_HEADS", n_heads));
                constants.push(("N_KV_HEADS", n_kv_heads));
                checked(tile.kernel(), constants)?;
            }
        }
    }
    Ok(())
}

/// Refuses constants with which a kernel takes more than an adapter has.
fn ensure_fits(target: &Target, kernel: &Kernel, constants: &[(&str, u32)]) -> Result<()> {
    let (module, info) = parse(kernel)?;
    let set = constants
        .iter()
        .map(|&(name, value)| (name.to_string(), value));
    let (module, _) = fixed(&module, &info, &set.collect())?;
    let usage = Usage::of(&module)?;
    let limits = &target.limits;
    let most = limits.max_compute_invocations_per_workgroup;
    ensure!(
        usage.invocations <= most,
        "{} invocations",
        usage.invocations
    );
    let most = limits.max_compute_workgroup_storage_size;
    ensure!(
        usage.workgroup_bytes <= most,
        "{} bytes",
        usage.workgroup_bytes
    );
    // The parameters are a uniform buffer.
    let most = limits.max_storage_buffers_per_shader_stage as usize + 1;
    ensure!(usage.buffers <= most, "{} buffers", usage.buffers);
    Ok(())
}

/// A tile for a large adapter does not fit a small one.
fn controls() -> Result<()> {
    let kind = BatchKind::OneRow;
    let [small, large] = [0, 3].map(|i| target(&PROFILES[i]));
    let (kernel, constants) = (linear::kernel(&large, kind), [("WORKGROUP_SIZE", 512)]);
    ensure_fits(&large, kernel, &constants)?;
    ensure!(ensure_fits(&small, kernel, &constants).is_err(), "it fits");
    Ok(())
}
