//! A batch on the device: its rows in the order of their results, and where those lie.

use web_time::Instant;

use super::executor::PlacedRow;
use super::segments::Segment;
use super::staging::Staged;
use crate::engine::memory::rows::Place;
use crate::engine::sampling::device::Changes;
use crate::gpu::Target;
use crate::kernels::BatchKind;
use crate::kernels::next_rows::FROM_HISTORY;
use crate::model::config::KvPolicy;

/// Which rows of a batch get logits, in the order of the rows of logits: those that want a token
/// alone, those that want both, those that want logits alone.
#[derive(Clone, Debug, Default)]
pub struct OutputRows {
    /// Rows of the batch.
    pub rows: Vec<u32>,
    /// The first ones, for which tokens are drawn.
    pub n_draws: usize,
    /// The first of those whose logits the host reads.
    pub first_read: usize,
}

impl OutputRows {
    pub fn of(rows: &[PlacedRow]) -> Self {
        let of = |token: bool, logits: bool| {
            let rows = (0u32..).zip(rows);
            let wanted = rows.filter(move |(_, row)| {
                row.wants.token == token && row.wants.logits == logits && row.wants.any()
            });
            wanted.map(|(i, _)| i)
        };
        let mut all: Vec<u32> = of(true, false).collect();
        let first_read = all.len();
        all.extend(of(true, true));
        let n_draws = all.len();
        all.extend(of(false, true));
        Self {
            rows: all,
            n_draws,
            first_read,
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows whose logits the host reads.
    pub fn n_read(&self) -> usize {
        self.len() - self.first_read
    }
}

/// How the rows of a batch belong together, and how the rows of logits do.
#[derive(Clone, Copy)]
pub struct Kinds {
    pub of_rows: BatchKind,
    pub of_logits: BatchKind,
}

impl Kinds {
    pub fn of(target: &Target, rows: &[PlacedRow], outputs: &OutputRows) -> Self {
        let sequence = rows[0].place.sequence;
        let of_one = rows.iter().all(|row| row.place.sequence == sequence);
        Self {
            of_rows: BatchKind::of(target, rows.len(), of_one),
            of_logits: BatchKind::of(target, outputs.len().max(1), of_one),
        }
    }

    /// Of the rows that a segment works on.
    pub fn of_segment(&self, segment: &Segment) -> BatchKind {
        match segment {
            Segment::Logits => self.of_logits,
            _ => self.of_rows,
        }
    }
}

/// The parts of a pass over rows: tokens from the history where some row wants one, the walk, and
/// logits and draws where they are wanted.
pub fn segments(
    rows: &[PlacedRow],
    outputs: &OutputRows,
    n_steps: usize,
    exits: Option<KvPolicy>,
    changes: Changes,
) -> Vec<Segment> {
    let mut segments = Vec::new();
    if rows.iter().any(|row| row.id.is_none()) {
        segments.push(Segment::Next);
    }
    segments.push(Segment::Embed);
    segments.push(Segment::Layers {
        steps: 0..n_steps,
        exits,
    });
    if outputs.len() > 0 {
        segments.push(Segment::Logits);
    }
    if outputs.n_draws > 0 {
        segments.push(Segment::Draw(changes));
    }
    segments
}

/// Rows of a submission that run together, and the parts of their pass.
pub struct Stage {
    /// What the rows want is what this stage gives.
    pub rows: Vec<PlacedRow>,
    /// Their places among the rows of the submission.
    pub of_rows: Vec<usize>,
    pub segments: Vec<Segment>,
    /// Its tokens are drafts.
    pub is_draft: bool,
}

/// A batch as it is encoded.
pub struct Batch {
    pub segments: Vec<Segment>,
    pub kinds: Kinds,
    /// Whether rows may leave, so that the device counts their cycles.
    pub exits: bool,
    /// The rows' tokens; [`FROM_HISTORY`] where they were drawn on the device.
    pub ids: Vec<u32>,
    pub places: Vec<Place>,
    pub outputs: OutputRows,
    /// The places of its rows among those of the submission.
    pub of_rows: Vec<usize>,
    /// Its tokens are drafts, and its rows run on in a later batch.
    pub is_draft: bool,
}

impl Batch {
    pub fn of(target: &Target, stage: Stage, exits: bool) -> Self {
        let outputs = OutputRows::of(&stage.rows);
        let ids = stage.rows.iter().map(|row| row.id.unwrap_or(FROM_HISTORY));
        Self {
            kinds: Kinds::of(target, &stage.rows, &outputs),
            exits,
            ids: ids.collect(),
            places: stage.rows.iter().map(|row| row.place).collect(),
            outputs,
            segments: stage.segments,
            of_rows: stage.of_rows,
            is_draft: stage.is_draft,
        }
    }
}

/// A submission under way.
pub struct Submitted {
    /// One, or those of its stages.
    pub batches: Vec<Batch>,
    pub n_rows: usize,
    pub index: wgpu::SubmissionIndex,
    /// Its results on their way to the host; `None` where there are none.
    pub staged: Option<Staged>,
    /// When it was submitted.
    pub at: Instant,
    pub n_dispatches: usize,
}
