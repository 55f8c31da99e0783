//! The words of the results of a submission, and the outputs that they stand for.

use super::batch::Batch;
use crate::engine::memory::layout::padded;
use crate::model::config::Config;
use crate::reference::Output;
use crate::schedule::Walk;

/// What results are made of.
#[derive(Clone, Copy)]
pub struct Results {
    n_cycles: usize,
    n_vocab: usize,
    has_scores: bool,
}

impl Results {
    pub fn of(config: &Config, walk: &Walk) -> Self {
        Self {
            n_cycles: walk.n_cycles,
            n_vocab: config.vocab,
            has_scores: walk.score.is_some(),
        }
    }

    /// Words of cycles and scores, where the device writes any.
    pub fn progress_words(&self, batch: &Batch) -> usize {
        match (self.has_scores || batch.exits) && !batch.is_draft {
            true => batch.places.len() * (1 + self.n_cycles),
            false => 0,
        }
    }

    /// Words of the results of batches.
    pub fn n_words(&self, batches: &[Batch]) -> usize {
        let of_batch = |batch: &Batch| {
            let outputs = &batch.outputs;
            let n_logits = outputs.n_read() * padded(self.n_vocab);
            n_logits + outputs.n_draws + self.progress_words(batch)
        };
        batches.iter().map(of_batch).sum()
    }

    /// The results of `n` rows from the words that were read: of each batch its logits, its tokens,
    /// and its cycles and scores.
    pub fn outputs(&self, batches: &[Batch], bytes: &[u8], n: usize) -> Vec<Output> {
        let whole = Output {
            cycles: self.n_cycles,
            ..Output::default()
        };
        let mut outputs = vec![whole; n];
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        let mut values = values.as_slice();
        for batch in batches {
            let (of_batch, others) = values.split_at(self.n_words(std::slice::from_ref(batch)));
            values = others;
            self.take_batch(batch, of_batch, &mut outputs);
        }
        outputs
    }

    fn take_batch(&self, batch: &Batch, values: &[f32], outputs: &mut [Output]) {
        let (rows, stride) = (&batch.outputs, padded(self.n_vocab));
        let (logits, values) = values.split_at(rows.n_read() * stride);
        let (drawn, progress) = values.split_at(rows.n_draws);
        let at = |row: u32| batch.of_rows[row as usize];
        let read = rows.rows[rows.first_read..].iter();
        for (&row, logits) in read.zip(logits.chunks(stride)) {
            outputs[at(row)].logits = logits[..self.n_vocab].to_vec();
        }
        for (&row, id) in rows.rows.iter().zip(drawn) {
            let id = Some(id.to_bits());
            match batch.is_draft {
                true => outputs[at(row)].drafted = id,
                false => outputs[at(row)].drawn = id,
            }
        }
        let progress = progress.chunks(1 + self.n_cycles);
        for (&row, progress) in batch.of_rows.iter().zip(progress) {
            if batch.exits {
                outputs[row].cycles = progress[0] as usize;
            }
            if self.has_scores {
                outputs[row].scores = progress[1..].to_vec();
            }
        }
    }
}
