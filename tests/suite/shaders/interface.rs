//! A shader's parameters, bindings and workgroup against its [`Kernel`] and against limits.

use anyhow::{Result, ensure};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};
use wgpu::Features;
use ztt_wgpu::gpu::{Access, Binding, Kernel};
use ztt_wgpu::kernels::{TEXTURE_WORKGROUP_SIZE, WORKGROUP_SIZE};

use super::{parse, workgroup_bytes};

/// Limits that every WebGPU implementation has.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_STORAGE_TEXTURES: usize = 4;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;
const MAX_WORKGROUP_SIZE: u32 = 256;

/// Holds a shader against its [`Kernel`], and against the limits of every implementation.
pub fn check(kernel: &Kernel) -> Result<()> {
    let (module, _) = parse(kernel)?;
    check_entry_point(&module)?;
    check_params(kernel, &module)?;
    check_bindings(kernel, &module)?;
    // A size that is an `override` comes from a tile: `tiles` holds these against adapters.
    if !has_tile(&module) {
        check_workgroup(kernel, &module)?;
        check_workgroup_memory(&module)?;
    }
    for (_, constant) in module.overrides.iter() {
        let is_u32 = matches!(
            module.types[constant.ty].inner,
            TypeInner::Scalar(s) if s.kind == ScalarKind::Uint && s.width == 4
        );
        ensure!(is_u32, "override {:?} is not u32", constant.name);
    }
    Ok(())
}

fn check_entry_point(module: &Module) -> Result<()> {
    let n = module.entry_points.len();
    ensure!(n == 1, "{n} entry points");
    let entry = &module.entry_points[0];
    ensure!(entry.name == "main", "entry point `{}`", entry.name);
    Ok(())
}

/// Whether a tile sets the size of the workgroup.
fn has_tile(module: &Module) -> bool {
    let entry = &module.entry_points[0];
    entry.workgroup_size_overrides.is_some()
}

fn check_workgroup(kernel: &Kernel, module: &Module) -> Result<()> {
    let entry = &module.entry_points[0];
    let size = entry.workgroup_size.iter().product::<u32>();
    // Cooperative matrices belong to a subgroup, of 32 where there are any.
    let matrices = Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let allowed = match kernel.needs.contains(matrices) {
        true => [32, 32],
        false => [WORKGROUP_SIZE, TEXTURE_WORKGROUP_SIZE],
    };
    ensure!(
        allowed.contains(&size) && size <= MAX_WORKGROUP_SIZE,
        "workgroup size {size}"
    );
    Ok(())
}

/// Binding 0 is the uniform `params`, whose members are those of `Kernel::params`.
fn check_params(kernel: &Kernel, module: &Module) -> Result<()> {
    let uniforms: Vec<_> = module
        .global_variables
        .iter()
        .map(|(_, v)| v)
        .filter(|v| v.binding.is_some_and(|at| (at.group, at.binding) == (0, 0)))
        .filter(|v| v.space == AddressSpace::Uniform)
        .collect();
    ensure!(uniforms.len() == 1, "no uniform as binding 0");
    let name = uniforms[0].name.as_deref();
    ensure!(name == Some("params"), "params are called {name:?}");
    let ty = &module.types[uniforms[0].ty];
    ensure!(ty.name.as_deref() == Some("Params"), "type {:?}", ty.name);
    let TypeInner::Struct { members, .. } = &ty.inner else {
        anyhow::bail!("params are no struct");
    };
    let found = members.iter().map(|m| {
        let bytes = match module.types[m.ty].inner {
            TypeInner::Scalar(scalar) => u32::from(scalar.width),
            _ => 0,
        };
        (m.name.as_deref().unwrap_or(""), m.offset as usize, bytes)
    });
    let expected = kernel
        .params
        .iter()
        .map(|&(name, offset)| (name, offset, 4));
    let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
    ensure!(
        found == expected,
        "members (name, offset, bytes) are {found:?}, the host's {expected:?}"
    );
    Ok(())
}

/// Bindings 1, 2 ... are the storage buffers of `Kernel::bindings`, and there are no others.
fn check_bindings(kernel: &Kernel, module: &Module) -> Result<()> {
    let mut found = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(at) = variable.binding else { continue };
        // The parameters are looked at by `check_params`.
        if (at.group, at.binding) == (0, 0) {
            continue;
        }
        ensure!(at.group == 0, "binding {at:?} is not in group 0");
        let access = match variable.space {
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                Access::ReadWrite
            }
            AddressSpace::Storage { .. } => Access::Read,
            AddressSpace::Uniform => Access::Uniform,
            AddressSpace::Handle => texture_access(&module.types[variable.ty].inner)?,
            _ => anyhow::bail!("binding {at:?} is neither buffer nor texture"),
        };
        found.push((at.binding, variable.name.as_deref().unwrap_or(""), access));
    }
    found.sort_by_key(|b| b.0);
    let expected = (1..).zip(kernel.bindings);
    let expected: Vec<_> = expected.map(|(i, b)| (i, b.name, b.access)).collect();
    ensure!(
        found == expected,
        "bindings are {found:?}, the host's {expected:?}"
    );
    let buffers = found
        .iter()
        .filter(|b| matches!(b.2, Access::Read | Access::ReadWrite));
    let n = buffers.count();
    ensure!(n <= MAX_STORAGE_BUFFERS, "{n} storage buffers");
    let textures = found
        .iter()
        .filter(|b| !matches!(b.2, Access::Read | Access::ReadWrite));
    let textures = textures.filter(|b| !matches!(b.2, Access::Uniform | Access::SampledTexture));
    let n = textures.count();
    ensure!(n <= MAX_STORAGE_TEXTURES, "{n} storage textures");
    Ok(())
}

/// How a texture is used, by its type.
fn texture_access(ty: &TypeInner) -> Result<Access> {
    use naga::{ImageClass, StorageFormat};
    let TypeInner::Image { class, arrayed, .. } = ty else {
        anyhow::bail!("a binding of type {ty:?}");
    };
    Ok(match (class, arrayed) {
        (
            ImageClass::Sampled {
                kind: ScalarKind::Uint,
                ..
            },
            false,
        ) => Access::SampledTexture,
        (&ImageClass::Storage { format, access }, &arrayed) => {
            let written = access == StorageAccess::STORE;
            ensure!(
                written || access == StorageAccess::LOAD,
                "a storage texture with access {access:?}"
            );
            match (format, arrayed, written) {
                (StorageFormat::Rgba32Uint, false, false) => Access::Texture,
                (StorageFormat::Rgba32Float, false, false) => Access::FloatTexture,
                (StorageFormat::Rgba32Float, false, true) => Access::WriteTexture,
                (StorageFormat::Rgba32Uint, true, false) => Access::TextureArray,
                (StorageFormat::Rgba32Uint, true, true) => Access::WriteTextureArray,
                other => anyhow::bail!("a storage texture of {other:?}"),
            }
        }
        other => anyhow::bail!("a texture of class {other:?}"),
    })
}

fn check_workgroup_memory(module: &Module) -> Result<()> {
    let total = workgroup_bytes(module)?;
    ensure!(
        total <= MAX_WORKGROUP_BYTES,
        "{total} bytes of workgroup memory"
    );
    Ok(())
}

/// A small kernel that passes, and copies of it with one thing wrong each.
pub fn negative_controls() -> Result<()> {
    const SOURCE: &str = "
        struct Params { first: u32, second: f32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;
        var<workgroup> lane_values: array<f32, 64>;
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_index) lane: u32) {
            lane_values[lane] = x[lane];
            y[lane] = lane_values[lane];
        }
    ";
    const PARAMS: &[(&str, usize)] = &[("first", 0), ("second", 4)];
    const SWAPPED: &[(&str, usize)] = &[("second", 0), ("first", 4)];
    const SHIFTED: &[(&str, usize)] = &[("first", 0), ("second", 8)];
    let kernel = |source: &str, bindings: Vec<(&'static str, Access)>, params| Kernel {
        name: "control",
        source: source.to_string().leak(),
        compose: str::to_owned,
        bindings: bindings
            .into_iter()
            .map(|(name, access)| Binding { name, access })
            .collect::<Vec<_>>()
            .leak(),
        params,
        needs: Features::empty(),
    };
    let (read, write) = (Access::Read, Access::ReadWrite);
    let right = || vec![("x", read), ("y", write)];
    check(&kernel(SOURCE, right(), PARAMS))?;

    // Seven buffers more, known to both sides.
    let more = ["a", "b", "c", "d", "e", "f", "g"];
    let nine: Vec<_> = right().into_iter().chain(more.map(|n| (n, read))).collect();
    let declared = (3..).zip(more).map(|(i, name)| {
        format!("@group(0) @binding({i}) var<storage, read> {name}: array<f32>;\n")
    });
    let nine_source = SOURCE.to_string() + &declared.collect::<String>();
    let changed = |from: &str, to: &str| {
        assert!(SOURCE.contains(from));
        kernel(&SOURCE.replace(from, to), right(), PARAMS)
    };
    let wrong_access = vec![("x", write), ("y", write)];
    let wrong_order = vec![("y", write), ("x", read)];
    // Each with a part of the complaint, so that it fails for the reason meant.
    let wrong = [
        (kernel(SOURCE, wrong_access, PARAMS), "bindings are"),
        (kernel(SOURCE, wrong_order, PARAMS), "bindings are"),
        (kernel(SOURCE, vec![("x", read)], PARAMS), "bindings are"),
        (kernel(SOURCE, right(), SWAPPED), "members"),
        (kernel(SOURCE, right(), SHIFTED), "members"),
        (kernel(SOURCE, right(), &PARAMS[..1]), "members"),
        (kernel(&nine_source, nine, PARAMS), "9 storage buffers"),
        (changed("f32, 64>", "f32, 4097>"), "of workgroup memory"),
        (changed("size(64)", "size(32)"), "workgroup size 32"),
        (changed("fn main", "fn other"), "entry point `other`"),
        (changed("> params:", "> p:"), "params are called"),
        (changed("second: f32", "second: vec2<f32>"), "members"),
        (changed("x[lane]", "x[first]"), "first"),
    ];
    for (kernel, complaint) in wrong {
        let Err(error) = check(&kernel) else {
            anyhow::bail!("a kernel passes that should not: {complaint}");
        };
        ensure!(error.to_string().contains(complaint), "{error}");
    }
    Ok(())
}
