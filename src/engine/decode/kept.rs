//! What the stages of a submission hand each other on the device.

use super::batch::Batch;
use super::segments::Segment;
use crate::engine::drafts::MAX_VERIFIED;
use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::layout::padded;
use crate::gpu::Gpu;
use crate::kernels::next_rows::FROM_HISTORY;

/// Stages of a submission at most: two for each row of a chain but the last, one for that, and the
/// verification.
const MAX_STAGES: usize = 2 * MAX_VERIFIED;

/// The streams that are kept, and the rows of the stages.
pub struct Kept {
    /// Residual streams, f32 `[row][hidden]`, rows padded to octets.
    streams: wgpu::Buffer,
    /// f32 `[row][cycles run, score of each cycle]`
    progress: wgpu::Buffer,
    /// u32 `[stage][what the host writes of rows, id of each row]`
    stages: wgpu::Buffer,
    hidden: usize,
    n_progress: usize,
    n_rows: usize,
}

impl Kept {
    /// For batches of the size of `b`, of a model of this width.
    pub fn new(gpu: &Gpu, b: &Buffers, hidden: usize, n_cycles: usize) -> Self {
        let (hidden, n_progress, n_rows) = (padded(hidden), 1 + n_cycles, b.sizes.n_rows);
        let words = |label: &str, n: usize| gpu.storage(label, 4 * n as u64);
        Self {
            streams: words("kept_streams", n_rows * hidden),
            progress: words("kept_progress", n_rows * n_progress),
            stages: words("stages", MAX_STAGES * stage_words(b, n_rows)),
            hidden,
            n_progress,
            n_rows,
        }
    }

    /// Writes the rows of the stages of the next submission.
    ///
    /// # Panics
    /// When there are more than a submission has.
    pub fn write(&self, gpu: &Gpu, b: &Buffers, stages: &[Batch]) {
        assert!(stages.len() <= MAX_STAGES, "{} stages", stages.len());
        let mut words = Vec::with_capacity(stages.len() * stage_words(b, self.n_rows));
        for stage in stages {
            words.extend(b.lists.host_part(&stage.places, &stage.outputs.rows));
            words.extend(&stage.ids);
            words.extend(std::iter::repeat_n(
                FROM_HISTORY,
                self.n_rows - stage.ids.len(),
            ));
        }
        gpu.queue
            .write_buffer(&self.stages, 0, bytemuck::cast_slice(&words));
    }

    /// Encodes that the rows of a stage become those of the batch.
    pub fn begin_stage(&self, encoder: &mut wgpu::CommandEncoder, b: &Buffers, stage: usize) {
        let n_host = b.lists.n_host_values();
        let first = stage * stage_words(b, self.n_rows);
        let bytes = |words: usize| 4 * words as u64;
        let from = &self.stages;
        encoder.copy_buffer_to_buffer(from, bytes(first), &b.rows, 0, bytes(n_host));
        let (at, n_bytes) = (bytes(first + n_host), bytes(self.n_rows));
        encoder.copy_buffer_to_buffer(from, at, &b.ids, 0, n_bytes);
    }

    /// Encodes a segment that copies streams of a batch of `n` rows. Returns whether it is one.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        b: &Buffers,
        segment: &Segment,
        n: usize,
    ) -> bool {
        let parts = [
            (&b.x, &self.streams, self.hidden),
            (&b.progress, &self.progress, self.n_progress),
        ];
        for (of_batch, kept, width) in parts {
            let bytes = |rows: usize| 4 * (rows * width) as u64;
            match *segment {
                Segment::Keep { first } => {
                    encoder.copy_buffer_to_buffer(of_batch, 0, kept, bytes(first), bytes(n));
                }
                Segment::Restore => {
                    encoder.copy_buffer_to_buffer(kept, 0, of_batch, 0, bytes(n));
                }
                _ => return false,
            }
        }
        true
    }
}

/// Words of a stage.
fn stage_words(b: &Buffers, n_rows: usize) -> usize {
    b.lists.n_host_values() + n_rows
}
