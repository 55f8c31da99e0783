//! Reading, writing and copying, over working sets that fit a cache and such that don't, in
//! several access shapes: which one is fast differs several-fold between adapters.

use super::{Label, Request, plan, read_back, run_once};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Kernel, Resource, on_buffers};
use crate::kernels::probes::{self, COPY, Params, READ, READ_STORAGE_TEXTURE, READ_TEXTURE, WRITE};
use crate::measure::raw::{Raw, peaks};
use crate::measure::report::Unit;
use crate::measure::stopwatch::{Stopwatch, Timing};

/// How invocations share out the memory. All counts are in vec4 of 16 bytes.
struct Shape {
    name: &'static str,
    params: Params,
    n_groups: u32,
}

const MIB: u64 = 1 << 20;

/// Working sets end here.
const LARGEST: u64 = 1 << 30;

/// 1, 4, 16 ... MiB, and the largest power of two that fits a binding.
fn working_sets(gpu: &Gpu) -> Vec<u64> {
    let limit = gpu.target.binding_limit().min(LARGEST);
    let largest = 1 << limit.max(MIB).ilog2();
    let mut sets: Vec<u64> = (0..6).map(|i| MIB << (2 * i)).collect();
    sets.retain(|&set| set < largest);
    sets.push(largest);
    sets
}

/// The access shapes over `n` vec4, a power of two of at least 65,536.
fn shapes(n: u64) -> [Shape; 3] {
    let shape = |name, n_invocations: u64, lane_step: u64, step: u64, stream_step: u64| Shape {
        name,
        params: Params {
            n_steps: (n / n_invocations / 4) as u32,
            lane_step: lane_step as u32,
            step: step as u32,
            stream_step: stream_step as u32,
            ..Params::default()
        },
        n_groups: (n_invocations / 64) as u32,
    };
    // Neighbours read neighbours, as GPUs like it, with many invocations.
    let many = (n / 64).clamp(4096, 1 << 17);
    let few = 4096;
    let chunk = n / few;
    [
        shape("strided", many, 1, 4 * many, many),
        shape("chunks", few, chunk, 4, 1),
        shape("four chunks", few, chunk, 1, chunk / 4),
    ]
}

/// Texels of a row of the texture; as many rows hold the largest working set.
const TEXTURE_WIDTH: u32 = 8192;

/// Reading `n` texels as a texture, each probe with its shape: each invocation a run of its own,
/// or eight neighbours in turn.
fn texture_reads(n: u64) -> [(&'static Kernel, Shape); 3] {
    let n_invocations = (n / 64).clamp(4096, 1 << 17);
    let run = n / n_invocations;
    let shape = |name, lane_step| Shape {
        name,
        params: Params {
            n_steps: (run / 4) as u32,
            lane_step,
            step: TEXTURE_WIDTH / run as u32,
            ..Params::default()
        },
        n_groups: (n_invocations / 64) as u32,
    };
    [
        (&READ_TEXTURE, shape("texture", 1)),
        (&READ_TEXTURE, shape("shared texture", 8)),
        (&READ_STORAGE_TEXTURE, shape("storage texture", 8)),
    ]
}

/// The xor of `i + seed` for all `i` below `n`: the checksum of data that `write` wrote.
fn checksum(n: u64, seed: u32) -> u32 {
    (0..n as u32).fold(0, |sum, i| sum ^ i.wrapping_add(seed))
}

/// The buffers of one working set.
struct Memory<'g> {
    gpu: &'g Gpu,
    data: wgpu::Buffer,
    /// One vec4 for each invocation of any shape.
    out: wgpu::Buffer,
    n_bytes: u64,
    /// The seed that `data` was filled from.
    seed: u32,
}

impl<'g> Memory<'g> {
    /// Memory that `write` filled, and that is seen to be filled.
    fn new(gpu: &'g Gpu, n_bytes: u64, seed: u32) -> Result<Self> {
        let memory = Self {
            gpu,
            data: gpu.storage("data", n_bytes),
            out: gpu.storage("out", 16 << 17),
            n_bytes,
            seed,
        };
        let [strided, ..] = shapes(n_bytes / 16);
        run_once(gpu, &plan(gpu, memory.write(&strided, seed)))?;
        memory.check("write", seed)?;
        Ok(memory)
    }

    fn write(&self, shape: &Shape, seed: u32) -> crate::gpu::Call<'_> {
        let params = Params {
            seed,
            ..shape.params
        };
        probes::call(&WRITE, params, on_buffers(&[&self.data]), shape.n_groups)
    }

    fn read(&self, shape: &Shape) -> crate::gpu::Call<'_> {
        let buffers = [&self.data, &self.out];
        probes::call(&READ, shape.params, on_buffers(&buffers), shape.n_groups)
    }

    /// A copy of `data` in a texture.
    fn texture(&self) -> wgpu::TextureView {
        let height = (self.n_bytes / 16) as u32 / TEXTURE_WIDTH;
        let read = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::STORAGE_BINDING;
        let usage = read | wgpu::TextureUsages::COPY_DST;
        let format = wgpu::TextureFormat::Rgba32Uint;
        let texture = self
            .gpu
            .texture("data", [TEXTURE_WIDTH, height], format, usage);
        let from = wgpu::TexelCopyBufferInfo {
            buffer: &self.data,
            layout: wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(16 * TEXTURE_WIDTH),
                rows_per_image: None,
            },
        };
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_texture(from, texture.as_image_copy(), texture.size());
        self.gpu.queue.submit([encoder.finish()]);
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    }

    /// Reads everything in every shape: the checksum must be that of data written with `seed`.
    fn check(&self, probe: &str, seed: u32) -> Result<()> {
        let n = self.n_bytes / 16;
        let expected = checksum(n, seed);
        for shape in shapes(n) {
            run_once(self.gpu, &plan(self.gpu, self.read(&shape)))?;
            self.check_sums(probe, &shape, expected)?;
        }
        Ok(())
    }

    /// Checks that the latest read gave the checksum `expected`.
    fn check_sums(&self, probe: &str, shape: &Shape, expected: u32) -> Result<()> {
        let out = read_back(self.gpu, &self.out)?;
        let used = &out[..256 * shape.n_groups as usize];
        let sums = used.chunks(4).fold([0; 4], |sum, v| {
            [sum[0] ^ v[0], sum[1] ^ v[1], sum[2] ^ v[2], sum[3] ^ v[3]]
        });
        match sums == [expected; 4] {
            true => Ok(()),
            false => Err(Error::Measurement(format!(
                "probe `{probe}` over {} bytes: expected checksum {expected:#x}, found {sums:#x?} \
                 by `{}`",
                self.n_bytes, shape.name
            ))),
        }
    }
}

fn label(probe: &'static str, n_bytes: u64, shape: &Shape) -> Label<'static> {
    Label {
        test: format!("{probe} {} MiB {}", n_bytes / MIB, shape.name),
        probe,
        shape: Some(shape.name),
        working_set: Some(n_bytes),
    }
}

/// All three over all working sets. Reading the largest one is measured in any case.
pub(super) fn measure(watch: &Stopwatch<'_>, request: &Request<'_>) -> Result<Vec<Raw>> {
    let mut list = Vec::new();
    let sets = working_sets(watch.gpu);
    let largest = sets.last().copied();
    for n_bytes in sets {
        let tests = shapes(n_bytes / 16);
        let wants = |probe| {
            let textures = texture_reads(n_bytes / 16);
            let mut all = tests.iter().chain(textures.iter().map(|(_, shape)| shape));
            all.any(|shape| (request.wanted)(&label(probe, n_bytes, shape).test))
        };
        let is_largest = Some(n_bytes) == largest;
        if is_largest || wants("read") || wants("write") {
            let memory = Memory::new(watch.gpu, n_bytes, 1)?;
            for shape in &tests {
                let label = label("read", n_bytes, shape);
                if request.begins(&label.test) || is_largest {
                    list.push(read(watch, &memory, shape, label)?);
                }
            }
            for (kernel, shape) in &texture_reads(n_bytes / 16) {
                let label = label("read", n_bytes, shape);
                if request.begins(&label.test) || is_largest {
                    list.push(read_texture(watch, &memory, kernel, shape, label)?);
                }
            }
            for shape in &tests[..2] {
                let label = label("write", n_bytes, shape);
                if request.begins(&label.test) {
                    list.push(write(watch, &memory, shape, label)?);
                }
            }
        }
        if wants("copy") {
            // The working set is both halves.
            let from = Memory::new(watch.gpu, n_bytes / 2, 2)?;
            let to = Memory::new(watch.gpu, n_bytes / 2, 3)?;
            for shape in &shapes(n_bytes / 32)[..2] {
                let label = label("copy", n_bytes, shape);
                if request.begins(&label.test) {
                    list.push(copy(watch, &from, &to, shape, label)?);
                }
            }
        }
    }
    Ok(list)
}

/// The read bandwidth in GB/s, the best shape over one large working set.
pub fn read_peak(watch: &Stopwatch<'_>) -> Result<Option<f64>> {
    let n_bytes = working_sets(watch.gpu).pop().unwrap_or(MIB).min(256 * MIB);
    let memory = Memory::new(watch.gpu, n_bytes, 1)?;
    let mut list = Vec::new();
    for shape in &shapes(n_bytes / 16) {
        list.push(read(watch, &memory, shape, label("read", n_bytes, shape))?);
    }
    for (kernel, shape) in &texture_reads(n_bytes / 16) {
        let label = label("read", n_bytes, shape);
        list.push(read_texture(watch, &memory, kernel, shape, label)?);
    }
    Ok(peaks(&list).read_gb_per_s)
}

fn read_texture(
    watch: &Stopwatch<'_>,
    memory: &Memory<'_>,
    kernel: &'static Kernel,
    shape: &Shape,
    label: Label<'_>,
) -> Result<Raw> {
    let texture = memory.texture();
    let resources = vec![Resource::Texture(&texture), Resource::Buffer(&memory.out)];
    let call = probes::call(kernel, shape.params, resources, shape.n_groups);
    let plan = plan(watch.gpu, call);
    run_once(watch.gpu, &plan)?;
    let expected = checksum(memory.n_bytes / 16, memory.seed);
    memory.check_sums("read", shape, expected)?;
    let timing = watch.time(&label.test, |pass, _| plan.encode_in(pass, &[]))?;
    Ok(gigabytes(label, timing, memory.n_bytes))
}

fn read(
    watch: &Stopwatch<'_>,
    memory: &Memory<'_>,
    shape: &Shape,
    label: Label<'_>,
) -> Result<Raw> {
    let plan = plan(watch.gpu, memory.read(shape));
    let timing = watch.time(&label.test, |pass, _| plan.encode_in(pass, &[]))?;
    Ok(gigabytes(label, timing, memory.n_bytes))
}

fn write(
    watch: &Stopwatch<'_>,
    memory: &Memory<'_>,
    shape: &Shape,
    label: Label<'_>,
) -> Result<Raw> {
    let seed = 5;
    let plan = plan(watch.gpu, memory.write(shape, seed));
    run_once(watch.gpu, &plan)?;
    memory.check("write", seed)?;
    let timing = watch.time(&label.test, |pass, _| plan.encode_in(pass, &[]))?;
    Ok(gigabytes(label, timing, memory.n_bytes))
}

fn copy(
    watch: &Stopwatch<'_>,
    from: &Memory<'_>,
    to: &Memory<'_>,
    shape: &Shape,
    label: Label<'_>,
) -> Result<Raw> {
    let buffers = [&from.data, &to.data];
    let call = probes::call(&COPY, shape.params, on_buffers(&buffers), shape.n_groups);
    let plan = plan(watch.gpu, call);
    run_once(watch.gpu, &plan)?;
    to.check("copy", 2)?;
    let timing = watch.time(&label.test, |pass, _| plan.encode_in(pass, &[]))?;
    Ok(gigabytes(label, timing, 2 * from.n_bytes))
}

fn gigabytes(label: Label<'_>, timing: Timing, n_bytes: u64) -> Raw {
    label.raw(Unit::GigabytesPerSecond, timing, n_bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_covers_everything_once() {
        for n in [1 << 16, 1 << 20] {
            for shape in shapes(n) {
                let p = shape.params;
                let mut seen = vec![0u8; n as usize];
                for id in 0..64 * shape.n_groups {
                    for i in 0..p.n_steps {
                        let at = id * p.lane_step + i * p.step;
                        (0..4).for_each(|k| seen[(at + k * p.stream_step) as usize] += 1);
                    }
                }
                assert!(seen.iter().all(|&n| n == 1), "{} over {n}", shape.name);
            }
        }
    }
}
