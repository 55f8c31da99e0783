//! Rows of stacked matrices, read from the checkpoint as a piece of the upload needs them.

use std::ops::Range;

use crate::error::Result;
use crate::model::tensor::Tensor;
use crate::model::weights::{Linear, Reader};

/// Rows with fewer rows than this between them are read at once.
const NEAR: usize = 256;

/// The rows that outputs come from.
pub struct Pieces<'t>(Vec<Piece<'t>>);

/// Neighbouring rows of a matrix.
struct Piece<'t> {
    matrix: usize,
    rows: Range<usize>,
    tensor: Tensor<'t>,
}

impl<'t> Pieces<'t> {
    /// Reads the rows of `linear` that are named by the index of their matrix and their place in
    /// it.
    ///
    /// # Errors
    /// Those of [`Reader::rows`].
    pub fn read<'m>(
        reader: &Reader<'m>,
        linear: &'t Linear<'m>,
        named: &[Option<(usize, usize)>],
    ) -> Result<Self> {
        let read = |(matrix, rows): (usize, Range<usize>)| {
            Ok(Piece {
                matrix,
                tensor: reader.rows(&linear.matrices[matrix], rows.clone())?,
                rows,
            })
        };
        let runs = runs(named.iter().flatten().copied().collect());
        let pieces: Result<Vec<Piece<'t>>> = runs.into_iter().map(read).collect();
        pieces.map(Self)
    }

    /// The tensor that holds a row, and its place there.
    pub fn find(&self, (matrix, row): (usize, usize)) -> Option<(&Tensor<'t>, usize)> {
        let mut pieces = self.0.iter();
        let holds = |piece: &&Piece<'t>| piece.matrix == matrix && piece.rows.contains(&row);
        let piece = pieces.find(holds)?;
        Some((&piece.tensor, row - piece.rows.start))
    }
}

/// Rows that are read together, of each matrix.
fn runs(mut named: Vec<(usize, usize)>) -> Vec<(usize, Range<usize>)> {
    named.sort_unstable();
    let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
    for (matrix, row) in named {
        match runs.last_mut() {
            Some((last, rows)) if *last == matrix && row < rows.end + NEAR => rows.end = row + 1,
            _ => runs.push((matrix, row..row + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_rows_of_a_matrix_are_read_together() {
        let named = vec![(1, 9), (0, 40), (0, 3), (1, 9), (1, 8), (0, 1000)];
        let expected = [(0, 3..41), (0, 1000..1001), (1, 8..10)];
        assert_eq!(runs(named), expected);
        assert!(runs(Vec::new()).is_empty());
    }
}
