//! Counts of the work that a device was given.

use crate::engine::memory::rows::{BATCH_ROWS, DRAW_ROWS, Place};
use crate::engine::pass::recorder::{Note, Pass, Phase, Size};
use crate::gpu::Traffic;
use crate::reference::Output;

/// The work that the host has given the device so far. A batch counts once its results are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    pub submissions: u64,
    pub dispatches: u64,
    pub read_backs: u64,
    /// Bytes and operations that the kernels could not avoid; see [`Cost`](crate::gpu::Cost).
    pub moved: Traffic,
}

impl DeviceStats {
    /// The work since `before`.
    pub fn since(&self, before: &DeviceStats) -> DeviceStats {
        DeviceStats {
            submissions: self.submissions - before.submissions,
            dispatches: self.dispatches - before.dispatches,
            read_backs: self.read_backs - before.read_backs,
            moved: Traffic {
                read: self.moved.read - before.moved.read,
                written: self.moved.written - before.moved.written,
                flops: self.moved.flops - before.moved.flops,
            },
        }
    }
}

/// Bytes and operations that a batch could not avoid, by the cycles after which its rows exited.
/// Rows of the batch that get logits are `with_logits`, of which a token is drawn for the first
/// `n_draws`.
pub fn moved(
    pass: &Pass,
    places: &[Place],
    outputs: &[Output],
    with_logits: &[u32],
    n_draws: usize,
) -> Traffic {
    let mut moved = Traffic::default();
    for note in &pass.notes {
        let positions = (0..outputs.len())
            .filter(|&row| {
                takes_part(
                    note,
                    row,
                    &outputs[row],
                    [with_logits, &with_logits[..n_draws]],
                )
            })
            .map(|row| places[row].position);
        moved += note.cost.over(positions);
    }
    moved
}

/// Whether a row with the result `output` is among the rows of a dispatch.
fn takes_part(note: &Note, row: usize, output: &Output, lists: [&[u32]; 2]) -> bool {
    let [with_logits, drawing] = lists;
    let cycle = match note.phase {
        Phase::Cycle(cycle) => cycle,
        _ => 0,
    };
    match note.size {
        Size::Counted(BATCH_ROWS) => true,
        Size::Counted(DRAW_ROWS) => drawing.contains(&(row as u32)),
        Size::Counted(_) => with_logits.contains(&(row as u32)),
        Size::Staying => output.cycles > cycle,
        Size::Leaving => output.cycles == cycle + 1,
    }
}
