//! A sequence of dispatches, recorded once and encoded as often as needed.

use std::sync::Arc;

use wgpu::BufferUsages;

use super::Gpu;
use crate::kernels::Call;

/// How many workgroups a dispatch has in its second dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Enough for the count of that index, given when the plan is encoded.
    Counted(usize),
    /// What the device wrote at this index of the plan's dispatch buffer.
    Indirect(u32),
    /// One.
    One,
}

/// Dispatches with their pipelines and bind groups made.
pub struct Plan {
    dispatches: Vec<Dispatch>,
    indirect: wgpu::Buffer,
}

struct Dispatch {
    pipeline: Arc<wgpu::ComputePipeline>,
    bind_group: wgpu::BindGroup,
    x: u32,
    rows_per_group: u32,
    rows: Rows,
}

impl Plan {
    /// Makes pipelines and bind groups for `calls`. `indirect` holds the sizes `[x, y, z]` of
    /// indirect dispatches. All parameters lie in one uniform buffer.
    pub fn new(gpu: &Gpu, calls: &[(Call<'_>, Rows)], indirect: &wgpu::Buffer) -> Self {
        let align = gpu.limits.min_uniform_buffer_offset_alignment as usize;
        let mut arena = Vec::new();
        let offsets: Vec<usize> = calls
            .iter()
            .map(|(call, _)| {
                arena.resize(arena.len().next_multiple_of(align), 0u8);
                arena.extend(&call.params);
                arena.len() - call.params.len()
            })
            .collect();
        let arena = gpu.buffer_with("params", &arena, BufferUsages::UNIFORM);
        let dispatches = calls
            .iter()
            .zip(offsets)
            .map(|((call, rows), offset)| {
                let pipeline = gpu.pipeline(call.kernel, &call.constants);
                let params = wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &arena,
                        offset: offset as u64,
                        size: std::num::NonZeroU64::new(call.params.len() as u64),
                    }),
                };
                let storage = (1..).zip(&call.buffers).map(|(i, b)| wgpu::BindGroupEntry {
                    binding: i,
                    resource: b.as_entire_binding(),
                });
                let entries: Vec<_> = std::iter::once(params).chain(storage).collect();
                let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(call.kernel.name),
                    layout: &pipeline.get_bind_group_layout(0),
                    entries: &entries,
                });
                Dispatch {
                    pipeline,
                    bind_group,
                    x: call.x,
                    rows_per_group: call.rows_per_group,
                    rows: *rows,
                }
            })
            .collect();
        Self {
            dispatches,
            indirect: indirect.clone(),
        }
    }

    /// Encodes all dispatches into one compute pass. Those that would have no workgroup are
    /// left out. Returns how many there are.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder, counts: &[u32]) -> usize {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let mut n_dispatches = 0;
        for dispatch in &self.dispatches {
            let y = match dispatch.rows {
                Rows::Counted(i) => counts[i].div_ceil(dispatch.rows_per_group),
                Rows::Indirect(_) | Rows::One => 1,
            };
            if y == 0 {
                continue;
            }
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            match dispatch.rows {
                Rows::Indirect(i) => {
                    pass.dispatch_workgroups_indirect(&self.indirect, 12 * u64::from(i));
                }
                _ => pass.dispatch_workgroups(dispatch.x, y, 1),
            }
            n_dispatches += 1;
        }
        n_dispatches
    }
}
