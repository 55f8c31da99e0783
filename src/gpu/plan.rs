//! A sequence of dispatches, recorded once and encoded as often as needed.

use std::sync::Arc;

use web_time::Instant;
use wgpu::{BufferUsages, ComputePassDescriptor};

use super::device::Gpu;
use super::kernel::{Call, Resource, UNIFORM_BYTES};
use super::timer::Timer;
use super::timestamps::Timestamps;
use crate::error::Result;

/// How many workgroups a dispatch has in its second dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Enough for the count of that index, given when the plan is encoded.
    Counted(usize),
    /// The size that the device writes at this index of the plan's dispatch buffer.
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
        let align = gpu.target.limits.min_uniform_buffer_offset_alignment as usize;
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
                let (bindings, resources) = (call.kernel.bindings, &call.resources);
                debug_assert_eq!(bindings.len(), resources.len(), "{}", call.kernel.name);
                let bound = bindings.iter().zip(resources);
                let storage =
                    (1..)
                        .zip(bound)
                        .map(|(i, (binding, resource))| wgpu::BindGroupEntry {
                            binding: i,
                            resource: match resource {
                                Resource::Buffer(buffer) => buffer.as_entire_binding(),
                                Resource::Uniform(buffer) => {
                                    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                                        buffer,
                                        offset: 0,
                                        size: std::num::NonZeroU64::new(UNIFORM_BYTES),
                                    })
                                }
                                Resource::Texture(view) => wgpu::BindingResource::TextureView(view),
                                Resource::Unused => gpu.placeholders.of(binding.access),
                            },
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
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
        let active = self.active(counts);
        for &i in &active {
            self.dispatch(&mut pass, i, counts);
        }
        active.len()
    }

    /// Encodes all dispatches with timestamps round each of them, as `timestamps` allows it. The
    /// timestamps are resolved for [`Plan::times`]. Returns the indices of the dispatches encoded.
    pub fn encode_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        counts: &[u32],
        timer: &Timer,
        timestamps: Timestamps,
    ) -> Vec<usize> {
        let active = self.active(counts);
        if timestamps == Timestamps::InsidePasses {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            timer.stamp(&mut pass, 0);
            for (nth, &i) in active.iter().enumerate() {
                self.dispatch(&mut pass, i, counts);
                timer.stamp(&mut pass, nth + 1);
            }
        } else {
            for (nth, &i) in active.iter().enumerate() {
                let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(timer.around(nth)),
                });
                self.dispatch(&mut pass, i, counts);
            }
        }
        timer.resolve(encoder, n_stamps(active.len(), timestamps));
        active
    }

    /// Seconds of each of `n` dispatches that [`Plan::encode_timed`] encoded and that have run.
    pub async fn times(
        gpu: &Gpu,
        timer: &Timer,
        timestamps: Timestamps,
        n: usize,
    ) -> Result<Vec<f64>> {
        let stamps = timer.read(gpu, n_stamps(n, timestamps)).await?;
        Ok(match timestamps {
            Timestamps::InsidePasses => stamps.windows(2).map(|pair| pair[1] - pair[0]).collect(),
            _ => stamps.chunks(2).map(|pair| pair[1] - pair[0]).collect(),
        })
    }

    /// Runs each dispatch in a submission of its own, and returns their indices with the seconds
    /// by the host's clock.
    pub async fn run_one_by_one(&self, gpu: &Gpu, counts: &[u32]) -> Result<Vec<(usize, f64)>> {
        let mut times = Vec::new();
        for i in self.active(counts) {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            self.dispatch(&mut pass, i, counts);
            drop(pass);
            let start = Instant::now();
            gpu.queue.submit([encoder.finish()]);
            gpu.wait().await?;
            times.push((i, start.elapsed().as_secs_f64()));
        }
        Ok(times)
    }

    /// Encodes all dispatches into a pass that is open already.
    pub fn encode_in(&self, pass: &mut wgpu::ComputePass<'_>, counts: &[u32]) {
        for i in self.active(counts) {
            self.dispatch(pass, i, counts);
        }
    }

    /// Encodes dispatch `i` alone into a pass that is open already.
    pub fn encode_one(&self, pass: &mut wgpu::ComputePass<'_>, i: usize, counts: &[u32]) {
        self.dispatch(pass, i, counts);
    }

    /// Timestamps that timing the whole plan takes at most.
    pub fn max_stamps(&self) -> usize {
        2 * self.dispatches.len() + 1
    }

    /// The dispatches that have workgroups.
    fn active(&self, counts: &[u32]) -> Vec<usize> {
        let n = self.dispatches.len();
        (0..n).filter(|&i| self.groups(i, counts) > 0).collect()
    }

    /// Workgroups of a dispatch in the second dimension, as far as the host knows.
    fn groups(&self, i: usize, counts: &[u32]) -> u32 {
        let dispatch = &self.dispatches[i];
        match dispatch.rows {
            Rows::Counted(count) => counts[count].div_ceil(dispatch.rows_per_group),
            Rows::Indirect(_) | Rows::One => 1,
        }
    }

    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, i: usize, counts: &[u32]) {
        let dispatch = &self.dispatches[i];
        pass.set_pipeline(&dispatch.pipeline);
        pass.set_bind_group(0, &dispatch.bind_group, &[]);
        match dispatch.rows {
            Rows::Indirect(size) => {
                pass.dispatch_workgroups_indirect(&self.indirect, 12 * u64::from(size));
            }
            _ => pass.dispatch_workgroups(dispatch.x, self.groups(i, counts), 1),
        }
    }
}

fn n_stamps(n_dispatches: usize, timestamps: Timestamps) -> usize {
    match timestamps {
        Timestamps::InsidePasses => n_dispatches + 1,
        _ => 2 * n_dispatches,
    }
}
