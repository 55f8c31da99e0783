//! The resources that a shader takes, and the limits of platforms on them.

use anyhow::{Context, Result, ensure};
use naga::{AddressSpace, ImageClass, Module, StorageAccess, TypeInner};

use crate::shaders::workgroup_bytes;

/// Numbers of things that a shader takes, or that a platform has at most.
#[derive(Debug, PartialEq)]
pub struct Usage {
    /// Uniform and storage.
    pub buffers: usize,
    pub textures: usize,
    /// Buffers that are written, and storage textures: "unordered access" in Direct3D.
    pub written: usize,
    pub workgroup_bytes: u32,
    pub invocations: u32,
}

impl Usage {
    /// The resources that the entry point of a module takes, all constants set.
    pub fn of(module: &Module) -> Result<Self> {
        let entry = module.entry_points.first().context("no entry point")?;
        let mut usage = Self {
            buffers: 0,
            textures: 0,
            written: 0,
            workgroup_bytes: workgroup_bytes(module)?,
            invocations: entry.workgroup_size.iter().product(),
        };
        for (_, variable) in module.global_variables.iter() {
            match (variable.space, &module.types[variable.ty].inner) {
                (AddressSpace::Uniform, _) => usage.buffers += 1,
                (AddressSpace::Storage { access }, _) => {
                    usage.buffers += 1;
                    usage.written += usize::from(access.contains(StorageAccess::STORE));
                }
                (AddressSpace::Handle, TypeInner::Image { class, .. }) => {
                    usage.textures += 1;
                    usage.written += usize::from(matches!(class, ImageClass::Storage { .. }));
                }
                _ => {}
            }
        }
        Ok(usage)
    }

    /// Refuses a usage beyond the limits of a platform.
    pub fn ensure_within(&self, limits: &Self) -> Result<()> {
        let fits = self.buffers <= limits.buffers
            && self.textures <= limits.textures
            && self.written <= limits.written
            && self.workgroup_bytes <= limits.workgroup_bytes
            && self.invocations <= limits.invocations;
        ensure!(fits, "{self:?} is more than {limits:?}");
        Ok(())
    }
}

/// A small shader that takes two of everything, and limits that are one too low each.
pub fn controls() -> Result<()> {
    const SOURCE: &str = "
        @group(0) @binding(0) var<uniform> a: u32;
        @group(0) @binding(1) var<storage, read_write> b: array<u32>;
        @group(0) @binding(2) var c: texture_2d<u32>;
        @group(0) @binding(3) var d: texture_storage_2d<rgba32uint, write>;
        var<workgroup> e: array<u32, 4>;
        @compute @workgroup_size(2) fn main() {}
    ";
    let module = naga::front::wgsl::parse_str(SOURCE)?;
    let usage = Usage::of(&module)?;
    let limits = |buffers, textures, written, workgroup_bytes, invocations| Usage {
        buffers,
        textures,
        written,
        workgroup_bytes,
        invocations,
    };
    usage.ensure_within(&limits(2, 2, 2, 16, 2))?;
    for low in [
        limits(1, 2, 2, 16, 2),
        limits(2, 1, 2, 16, 2),
        limits(2, 2, 1, 16, 2),
        limits(2, 2, 2, 15, 2),
        limits(2, 2, 2, 16, 1),
    ] {
        ensure!(usage.ensure_within(&low).is_err(), "{usage:?} fits {low:?}");
    }
    Ok(())
}
