//! The kernels of a pass one by one, at a model's shapes, for measuring.
//!
//! The calls are those that `forward` records. Activations and KV caches hold plausible values.
//! The resource that a kernel streams (a matrix, a KV cache) lies in so many copies that no
//! hardware cache of the device holds them all.

use std::sync::Arc;

use super::recorded::{rows_of, walk, with_every_call};
use crate::engine::memory::rows::Place;
use crate::engine::pass::recorder::Note;
use crate::engine::weights::device_model::DeviceModel;
use crate::error::Result;
use crate::gpu::plan::{Plan, Rows};
use crate::gpu::{Call, Gpu, Resource, Traffic};
use crate::kernels::KvType;
use crate::model::config::KvPolicy;

/// Bytes that all copies of a streamed resource take together.
const ROTATED_BYTES: u64 = 256 << 20;

/// The most copies of a streamed resource. They take no more than four times [`ROTATED_BYTES`].
const MAX_COPIES: u64 = 256;

/// A kernel in one of its roles.
pub struct Case {
    pub kernel: &'static str,
    pub role: &'static str,
    pub n_rows: usize,
    /// Bytes and operations that a dispatch cannot avoid.
    pub moved: Traffic,
    plan: Plan,
    n_copies: usize,
}

impl Case {
    /// Encodes the `i`-th repetition.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>, i: usize) {
        self.plan
            .encode_one(pass, i % self.n_copies, &[self.n_rows as u32]);
    }
}

/// Every kernel of `model`'s pass, once for each role and shape, over `n_rows` rows that follow
/// `depth` positions in the cache. `visit` gets them one at a time: each has memory of its own.
pub fn visit_cases(
    model: &Arc<DeviceModel>,
    n_rows: usize,
    depth: usize,
    kv_type: KvType,
    visit: &mut dyn FnMut(Case) -> Result<()>,
) -> Result<()> {
    let gpu = &*model.gpu;
    let n_cycles = walk(model, KvPolicy::Propagate)?.n_cycles;
    with_every_call(model, n_rows, depth, kv_type, &mut |buffers, recorder| {
        for buffer in buffers.activations() {
            fill(gpu, buffer);
        }
        let mut seen: Vec<(&str, u32, u64)> = Vec::new();
        for (call, note) in recorder.calls() {
            // The parts of a split matrix, and layers of several widths, are cases of their own.
            let key = (note.role, call.x, call.cost.read_per_row);
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let places = Place::alone(depth, n_rows);
            let rows = buffers.lists.every_list(&places, n_cycles);
            gpu.queue
                .write_buffer(&buffers.rows, 0, bytemuck::cast_slice(&rows));
            visit(case(gpu, call, note, n_rows, depth))?;
            gpu.check()?;
        }
        Ok(())
    })
}

fn case(gpu: &Gpu, call: &Call<'_>, note: &Note, n_rows: usize, depth: usize) -> Case {
    let n_rows = rows_of(note, n_rows);
    let moved = call.cost.over(depth..depth + n_rows);
    let streamed = streamed_binding(call);
    let copies = match streamed {
        Some(binding) => copies(gpu, call.resources[binding], moved.bytes()),
        None => Vec::new(),
    };
    let mut calls = vec![(call.on(call.resources.clone()), Rows::Counted(0))];
    for copy in &copies {
        let mut resources = call.resources.clone();
        if let Some(binding) = streamed {
            resources[binding] = copy.resource();
        }
        calls.push((call.on(resources), Rows::Counted(0)));
    }
    let unused = gpu.buffer("indirect", 12, wgpu::BufferUsages::INDIRECT);
    Case {
        kernel: note.kernel,
        role: note.role,
        n_rows,
        moved,
        plan: Plan::new(gpu, &calls, &unused),
        n_copies: calls.len(),
    }
}

/// The index of the binding that a kernel streams: it is read from end to end, and not touched
/// again soon in a real pass.
fn streamed_binding(call: &Call<'_>) -> Option<usize> {
    let bindings = call.kernel.bindings;
    let position = |name: &str| bindings.iter().position(|b| b.name == name);
    match call.cost.read_per_key > 0 {
        true => position("kv"),
        false => position("weights").filter(|_| call.cost.read > 0),
    }
}

/// A copy of the resource that a kernel streams.
enum Copied {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
}

impl Copied {
    fn resource(&self) -> Resource<'_> {
        match self {
            Copied::Buffer(buffer) => Resource::Buffer(buffer),
            Copied::Texture(view) => Resource::Texture(view),
        }
    }
}

/// Copies of `original`, of which a dispatch touches `touched` bytes.
fn copies(gpu: &Gpu, original: Resource<'_>, touched: u64) -> Vec<Copied> {
    let n_bytes = match original {
        Resource::Buffer(buffer) | Resource::Uniform(buffer) => buffer.size(),
        Resource::Texture(view) => {
            let size = view.texture().size();
            16 * u64::from(size.width * size.height) * u64::from(size.depth_or_array_layers)
        }
        Resource::Unused => 0,
    };
    let for_cache = ROTATED_BYTES.div_ceil(touched.max(1));
    let for_memory = (4 * ROTATED_BYTES / n_bytes.max(1)).max(1);
    let n = for_cache.min(for_memory).clamp(1, MAX_COPIES);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut copy = || match original {
        Resource::Buffer(buffer) | Resource::Uniform(buffer) => {
            let copy = gpu.storage("copy", n_bytes);
            encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, n_bytes);
            Some(Copied::Buffer(copy))
        }
        Resource::Texture(view) => Some(Copied::Texture(texture_copy(gpu, &mut encoder, view))),
        Resource::Unused => None,
    };
    let copies = (1..n).map_while(|_| copy()).collect();
    gpu.queue.submit([encoder.finish()]);
    copies
}

fn texture_copy(
    gpu: &Gpu,
    encoder: &mut wgpu::CommandEncoder,
    view: &wgpu::TextureView,
) -> wgpu::TextureView {
    let original = view.texture();
    let copy = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("copy"),
        size: original.size(),
        mip_level_count: 1,
        sample_count: 1,
        dimension: original.dimension(),
        format: original.format(),
        usage: original.usage() | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let (from, to) = (original.as_image_copy(), copy.as_image_copy());
    encoder.copy_texture_to_texture(from, to, original.size());
    copy.create_view(&wgpu::TextureViewDescriptor {
        // A KV cache is a texture array, even with a single layer.
        dimension: Some(match original.depth_or_array_layers() {
            1 => wgpu::TextureViewDimension::D2,
            _ => wgpu::TextureViewDimension::D2Array,
        }),
        ..Default::default()
    })
}

/// Fills a buffer with words that are small numbers both as one f32 and as two f16.
fn fill(gpu: &Gpu, buffer: &wgpu::Buffer) {
    const PIECE: usize = 1 << 20;
    let n_words = (buffer.size() / 4) as usize;
    let words: Vec<u32> = (0..n_words.min(PIECE) as u32)
        .map(|i| 0x3c00_3800 | (i.wrapping_mul(0x9e37_79b9) & 0x83ff_83ff))
        .collect();
    for first in (0..n_words).step_by(PIECE) {
        let n = PIECE.min(n_words - first);
        let bytes = bytemuck::cast_slice(&words[..n]);
        gpu.queue.write_buffer(buffer, 4 * first as u64, bytes);
    }
}
