//! The cost that a dispatch cannot avoid: the bytes it must move and the operations it must do.
//!
//! Every input is counted as read once and every output as written once, however often a kernel
//! really touches them: any cost beyond that is the kernel's fault.

/// The cost of a dispatch, by what it grows with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes read once for any number of rows, such as those of a matrix; none where there is no
    /// row.
    pub read: u64,
    pub read_per_row: u64,
    pub written_per_row: u64,
    /// Floating-point operations, an FMA counted as two.
    pub flops_per_row: u64,
    /// Attention: bytes of each cached position that some row sees.
    pub read_per_key: u64,
    /// Attention: operations of each pair of a row and a position it sees.
    pub flops_per_pair: u64,
    /// Positions that a row sees at most, its own counted; 0 for all.
    pub window: u64,
}

/// Bytes and operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub read: u64,
    pub written: u64,
    pub flops: u64,
}

impl Traffic {
    /// Bytes in either direction.
    pub fn bytes(&self) -> u64 {
        self.read + self.written
    }
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.flops += other.flops;
    }
}

impl Cost {
    /// Two costs of one dispatch, of which `other` says nothing of keys.
    pub fn plus(self, other: Cost) -> Cost {
        Cost {
            read: self.read + other.read,
            read_per_row: self.read_per_row + other.read_per_row,
            written_per_row: self.written_per_row + other.written_per_row,
            flops_per_row: self.flops_per_row + other.flops_per_row,
            ..self
        }
    }

    /// The cost over rows at these positions, in rising order.
    pub fn over(&self, positions: impl IntoIterator<Item = usize>) -> Traffic {
        let mut n_rows = 0;
        let mut n_pairs = 0;
        // Keys from the first that the first row sees to the last row's own.
        let mut first_key = u64::MAX;
        let mut end = 0;
        for position in positions {
            let all = position as u64 + 1;
            let seen = match self.window {
                0 => all,
                window => all.min(window),
            };
            n_rows += 1;
            n_pairs += seen;
            first_key = first_key.min(all - seen);
            end = end.max(all);
        }
        if n_rows == 0 {
            return Traffic::default();
        }
        Traffic {
            read: self.read + n_rows * self.read_per_row + (end - first_key) * self.read_per_key,
            written: n_rows * self.written_per_row,
            flops: n_rows * self.flops_per_row + n_pairs * self.flops_per_pair,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keys_and_pairs() {
        let cost = Cost {
            read: 1000,
            read_per_row: 10,
            written_per_row: 100,
            flops_per_row: 7,
            read_per_key: 1,
            flops_per_pair: 2,
            window: 0,
        };
        assert_eq!(cost.over([]), Traffic::default());
        // Rows at 2, 3 and 4 see 3, 4 and 5 positions, 5 different ones.
        let moved = cost.over(2..5);
        assert_eq!((moved.read, moved.flops), (1000 + 30 + 5, 21 + 24));
        assert_eq!((moved.written, moved.bytes()), (300, 1335));
        // In a window of 2 they see two each, the positions 1 to 4.
        let windowed = Cost { window: 2, ..cost }.over(2..5);
        assert_eq!((windowed.read, windowed.flops), (1000 + 30 + 4, 21 + 12));
    }
}
