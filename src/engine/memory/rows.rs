//! The rows of a batch: where each belongs, and the lists that kernels take them from.

/// Where a row of a batch belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowPosition {
    /// Position of the row in its sequence.
    pub position: usize,
    /// Where the sequence begins in the cache.
    pub cache_start: usize,
}

impl RowPosition {
    /// `n` rows from `first_position` on of a sequence that has the cache for itself.
    pub fn alone(first_position: usize, n: usize) -> Vec<RowPosition> {
        let place = |position| RowPosition {
            position,
            cache_start: 0,
        };
        (first_position..first_position + n).map(place).collect()
    }
}

/// Index of the batch's rows in the counts that [`Plan::encode`](crate::gpu::plan::Plan::encode) gets.
pub const BATCH_ROWS: usize = 0;
/// Index of the rows that get logits.
pub const OUTPUT_ROWS: usize = 1;

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
        2 * self.n_rows + i * (1 + self.n_rows)
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

    /// Values of the whole buffer.
    pub fn n_values(self, n_cycles: usize) -> u64 {
        u64::from(self.at(3 + 2 * n_cycles as u32))
    }

    /// The whole buffer with every row in every list; the last row alone gets logits.
    pub fn every_list(self, places: &[RowPosition], n_cycles: usize) -> Vec<u32> {
        let mut values = self.host_part(places, &[places.len() as u32 - 1]);
        for _ in 0..2 * n_cycles {
            values.push(places.len() as u32);
            values.extend(0..self.n_rows);
        }
        values
    }

    /// The part of the buffer that the host writes for a batch: places, and the first three lists.
    pub fn host_part(self, places: &[RowPosition], outputs: &[u32]) -> Vec<u32> {
        let mut values = vec![0; self.at(3) as usize];
        for (row, place) in values.chunks_exact_mut(2).zip(places) {
            row.copy_from_slice(&[place.position as u32, place.cache_start as u32]);
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
