//! The rows of a batch on the device: where each belongs, and the lists that kernels take them from.

use crate::schedule::Rule;

/// Where a row of a batch belongs, and when it leaves the cycles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Position of the row in its sequence.
    pub position: usize,
    pub sequence: usize,
    /// Where the sequence begins in the cache.
    pub cache_start: usize,
    pub rule: Rule,
    /// Tokens of the text before the sequence, modulo 2^32: of a text that the cache holds as a
    /// whole, none.
    pub text_start: u32,
}

/// Words of a row in the `rows` buffer; see `shaders/shared/rows.wgsl`.
const ROW_WORDS: usize = 7;

impl Place {
    /// `n` rows from `first_position` on of a sequence that has the cache for itself.
    pub fn alone(first_position: usize, n: usize) -> Vec<Place> {
        let place = |position| Place {
            position,
            sequence: 0,
            cache_start: 0,
            rule: Rule::FULL_DEPTH,
            text_start: 0,
        };
        (first_position..first_position + n).map(place).collect()
    }

    /// The place in the text of the row's token, modulo 2^32.
    pub fn in_text(&self) -> usize {
        (self.position as u32).wrapping_add(self.text_start) as usize
    }

    /// The place in the text of the token that is drawn after the row.
    pub fn next_in_text(&self) -> usize {
        (self.position as u32 + 1).wrapping_add(self.text_start) as usize
    }

    fn words(&self) -> [u32; ROW_WORDS] {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        // No score reaches the largest number.
        let threshold = self.rule.threshold.map_or(f32::MAX, |t| t as f32);
        [
            self.position as u32,
            self.cache_start as u32,
            self.sequence as u32,
            count(self.rule.min_cycles),
            count(self.rule.max_cycles),
            threshold.to_bits(),
            self.text_start,
        ]
    }
}

/// Index of the batch's rows in the counts that [`Plan::encode`](crate::gpu::plan::Plan::encode) gets.
pub const BATCH_ROWS: usize = 0;
/// Index of the rows that get logits.
pub const OUTPUT_ROWS: usize = 1;
/// Index of the rows of those that a token is drawn for: the first ones.
pub const DRAW_ROWS: usize = 2;

/// Where the lists lie in the `rows` buffer; see `shaders/shared/rows.wgsl`.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    n_rows: u32,
}

impl Lists {
    /// Lists of at most `n_rows` rows.
    pub fn of(n_rows: usize) -> Self {
        Self {
            n_rows: n_rows as u32,
        }
    }

    fn at(self, i: u32) -> u32 {
        ROW_WORDS as u32 * self.n_rows + i * (1 + self.n_rows)
    }

    /// Every row of the batch.
    pub fn all(self) -> u32 {
        self.at(0)
    }

    /// Rows that get logits.
    pub fn outputs(self) -> u32 {
        self.at(1)
    }

    /// 0, 1, 2 ... for as many rows as get logits.
    pub fn dense(self) -> u32 {
        self.at(2)
    }

    /// Rows that continue after cycle `cycle`.
    pub fn staying(self, cycle: usize) -> u32 {
        self.at(3 + 2 * cycle as u32)
    }

    /// Rows that exit after cycle `cycle`.
    pub fn leaving(self, cycle: usize) -> u32 {
        self.at(4 + 2 * cycle as u32)
    }

    /// Values that the host writes for a batch.
    pub fn n_host_values(self) -> usize {
        self.at(3) as usize
    }

    /// Values of the whole buffer.
    pub fn n_values(self, n_cycles: usize) -> u64 {
        u64::from(self.at(3 + 2 * n_cycles as u32))
    }

    /// The whole buffer with every row in every list; the last row alone gets logits.
    pub fn every_list(self, places: &[Place], n_cycles: usize) -> Vec<u32> {
        let mut values = self.host_part(places, &[places.len() as u32 - 1]);
        for _ in 0..2 * n_cycles {
            values.push(places.len() as u32);
            values.extend(0..self.n_rows);
        }
        values
    }

    /// The part of the buffer that the host writes for a batch: places, and the first three lists.
    pub fn host_part(self, places: &[Place], outputs: &[u32]) -> Vec<u32> {
        let mut values = vec![0; self.n_host_values()];
        for (row, place) in values.chunks_exact_mut(ROW_WORDS).zip(places) {
            row.copy_from_slice(&place.words());
        }
        let mut put = |list: u32, rows: &mut dyn Iterator<Item = u32>| {
            let at = list as usize;
            for row in rows {
                values[at] += 1;
                let i = at + values[at] as usize;
                values[i] = row;
            }
        };
        put(self.all(), &mut (0..places.len() as u32));
        put(self.outputs(), &mut outputs.iter().copied());
        put(self.dense(), &mut (0..outputs.len() as u32));
        values
    }
}
