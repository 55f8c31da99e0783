//! Tied checkpoints: how an embedding that is also the output projection is stored.

use super::checkpoint::Part;
use super::config::TIED;
use super::quant::Quant;
use super::role::Role;
use super::tensor::Tensor;
use super::weights::Reader;
use crate::error::Result;

impl<'a> Reader<'a> {
    /// The role whose names a role's matrices are stored under. A tied checkpoint may hold the
    /// embedding under the name of the output projection alone: of tensors that share their memory,
    /// `safetensors` keeps one.
    pub(super) fn stored_role(&self, role: Role) -> Role {
        let has = |role| self.checkpoint.has(&self.outer_name(role));
        let is_tied = role == Role::Embedding && self.config.tied;
        match is_tied && has(Role::LmHead) && !has(Role::Embedding) {
            true => Role::LmHead,
            false => role,
        }
    }

    /// The name that the matrix of a role outside of layers has.
    fn outer_name(&self, role: Role) -> String {
        format!("{}.weight", self.names(role, 0)[0])
    }

    fn embedding_name(&self) -> String {
        self.outer_name(self.stored_role(Role::Embedding))
    }

    /// The name of a stored output projection that nobody reads, since the embedding serves.
    pub fn copied_head(&self) -> Option<String> {
        let head = self.outer_name(Role::LmHead);
        let is_copy = self.config.tied && head != self.embedding_name();
        (is_copy && self.checkpoint.has(&head)).then_some(head)
    }

    /// A warning about a config that says that the embedding is the output projection, beside
    /// another one that is stored: the config is wrong then, as it is to transformers.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where either is not as it must be.
    pub fn untied_head(&self) -> Result<Option<String>> {
        let Some(head) = self.copied_head() else {
            return Ok(None);
        };
        let embedding = self.embedding_name();
        if self.are_equal(&embedding, &head)? {
            return Ok(None);
        }
        let stored = |name| self.checkpoint.stored_name(name);
        Ok(Some(format!(
            "`{}`: `{TIED}` is true, but `{}` has other values than `{}`: it is used, as if \
             `{TIED}` were false",
            self.checkpoint.file(),
            stored(&head),
            stored(&embedding)
        )))
    }

    /// Whether the embedding and the output projection have the same values. Some rows are read at
    /// a time.
    fn are_equal(&self, embedding: &str, head: &str) -> Result<bool> {
        const ROWS: usize = 1024;
        for first in (0..self.config.vocab).step_by(ROWS) {
            let rows = Part::Rows(first..self.config.vocab.min(first + ROWS));
            let left = self.outer_matrix(embedding, &rows)?;
            if !equal(&left, &self.outer_matrix(head, &rows)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The given part of the embedding or the output projection as it is stored. Beside a quantised
    /// embedding a copy of it may have been left as it was: it is quantised here.
    fn outer_matrix(&self, name: &str, part: &Part) -> Result<Tensor<'a>> {
        let shape = [self.config.vocab, self.config.hidden];
        let quant = self.config.quant.map(|_| Quant::OF_EMBEDDING);
        match quant.filter(|quant| quant.fits(self.config.hidden)) {
            None => self.checkpoint.part(name, &shape, part),
            Some(quant) if self.checkpoint.shape(name) == Some(&shape) => {
                Ok(self.checkpoint.part(name, &shape, part)?.quantized(quant))
            }
            Some(quant) => self.checkpoint.quantized(name, shape, quant, part),
        }
    }
}

/// Whether two matrices of one shape have the same values. Where types differ values are compared,
/// and where bytes do: zeros have two signs.
fn equal(left: &Tensor, right: &Tensor) -> bool {
    if left.dtype == right.dtype && left.bytes == right.bytes {
        return true;
    }
    let mut rows = [vec![0.0; left.n_cols()], vec![0.0; right.n_cols()]];
    (0..left.n_rows()).all(|i| {
        left.read_row(i, &mut rows[0]);
        right.read_row(i, &mut rows[1]);
        rows[0] == rows[1]
    })
}
