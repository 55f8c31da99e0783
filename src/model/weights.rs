//! Reading weights by role.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use super::by_role::{ByRole, Linear, Norm};
use super::checkpoint::{Checkpoint, Part};
use super::config::{Config, ZeroTokenIndex, ZeroTokenScope};
use super::quant::Quant;
use super::role::Role;
use super::shape::Shape;
use super::tensor::{Bytes, Dtype, Tensor};
use crate::error::Result;

/// The zero-token pool, widened.
#[derive(Clone, Debug)]
pub struct Pool {
    pub n_rows: usize,
    /// 1, the number of KV heads, or the number of query heads.
    pub n_heads: usize,
    /// `[n_rows, n_heads, head_dim]`
    pub key: Vec<f32>,
    /// `[n_rows, n_heads, head_dim]`, or `None` where the value is zero.
    pub value: Option<Vec<f32>>,
}

impl Pool {
    /// Key and value of a row as query head `head` of `n_heads` sees them.
    pub fn zero_token(&self, row: usize, head: usize, n_heads: usize) -> (&[f32], Option<&[f32]>) {
        let width = self.key.len() / (self.n_rows * self.n_heads);
        let at = (row * self.n_heads + head * self.n_heads / n_heads) * width;
        let range = at..at + width;
        let value = self.value.as_ref().map(|v| &v[range.clone()]);
        (&self.key[range], value)
    }
}

pub(super) const POOL_KEY: &str = "zero_token_pool.key";
const POOL_VALUE: &str = "zero_token_pool.value";

/// Reads weights by role.
pub struct Reader<'a> {
    pub checkpoint: &'a Checkpoint,
    pub config: &'a Config,
    /// The format of the layers' matrices that fit it, be they stored so or quantised on the way.
    quant: Option<Quant>,
    prefix: &'static str,
    /// Names, shapes and types alone are of interest: nothing is read, and the names asked for
    /// are noted here.
    check: Option<RefCell<Asked>>,
    matrices: Matrices,
}

/// What becomes of the matrices that are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Matrices {
    Read,
    /// They are shared with other readers that share them.
    Shared,
    /// Whoever asks for them reads their [rows](Reader::rows).
    Unread,
}

/// Names of tensors that were asked for.
#[derive(Default)]
struct Asked {
    all: BTreeSet<String>,
    quantized: BTreeMap<String, Quant>,
}

/// The findings about tensors that have not been read.
pub struct Checked {
    /// Those that no part of the model uses.
    pub unused: Vec<String>,
    /// Those that are, or become, quantised, and how.
    pub quantized: BTreeMap<String, Quant>,
}

impl<'a> Reader<'a> {
    /// Finds out which of the family's prefixes the checkpoint uses.
    pub fn new(checkpoint: &'a Checkpoint, config: &'a Config, quant: Option<Quant>) -> Self {
        let names = &config.family.tensors;
        // Not every checkpoint has an embedding: a tied one may hold the output projection alone.
        let known = names.prefixes.iter().copied().find(|prefix| {
            let roles = [Role::Embedding, Role::FinalNorm].into_iter();
            let mut stored = roles.flat_map(|role| names.of(role, prefix, 0));
            stored.any(|name| checkpoint.has(&format!("{name}.weight")))
        });
        Self {
            checkpoint,
            config,
            quant,
            prefix: known.unwrap_or(names.prefixes[0]),
            check: None,
            matrices: Matrices::Read,
        }
    }

    /// For a model that is run where it is read: all who do so at a time share one copy of the
    /// matrices.
    pub fn shared(self) -> Self {
        Self {
            matrices: Matrices::Shared,
            ..self
        }
    }

    /// For whoever takes matrices in pieces: they are left [unread](Reader::rows) where they lie in
    /// the file row by row.
    pub fn unread(self) -> Self {
        Self {
            matrices: Matrices::Unread,
            ..self
        }
    }

    /// The part to read of a matrix that is used as it is stored.
    fn part(&self) -> Part {
        match (&self.check, self.matrices) {
            (Some(_), _) | (None, Matrices::Unread) => Part::None,
            (None, Matrices::Shared) => Part::Shared,
            (None, Matrices::Read) => Part::All,
        }
    }

    /// The part to read of a tensor that is used up at once.
    fn part_once(&self) -> Part {
        match self.check {
            Some(_) => Part::None,
            None => Part::All,
        }
    }

    /// Finds tensors that are missing or have the wrong shape or type, without reading them.
    pub fn check(self) -> Result<Checked> {
        let reader = Self {
            check: Some(RefCell::default()),
            ..self
        };
        reader.pool()?;
        reader.outer()?;
        (0..reader.config.n_layers).try_for_each(|i| reader.layer(i).map(|_| ()))?;
        let names = &reader.config.family.tensors;
        let copy = reader.copied_head();
        let asked = reader.check.unwrap_or_default().into_inner();
        let is_known = |name: &str| {
            asked.all.contains(name)
                || names.ignored.iter().any(|suffix| name.ends_with(suffix))
                || copy.as_deref() == Some(name)
        };
        let all = reader.checkpoint.names().into_iter();
        let unused = all.filter(|name| !is_known(name));
        Ok(Checked {
            unused: unused.map(str::to_string).collect(),
            quantized: asked.quantized,
        })
    }

    /// The tensor `name` of that shape, all of its values finite.
    fn tensor(&self, name: &str, shape: &[usize], part: &Part) -> Result<Tensor<'a>> {
        self.finite(self.checkpoint.part(name, shape, part)?)
    }

    /// All values of the tensor `name` of that shape.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        Ok(self.tensor(name, shape, &self.part_once())?.to_f32())
    }

    /// Notes that `tensor` was asked for, or makes sure that all of its values are finite.
    fn finite<'t>(&self, tensor: Tensor<'t>) -> Result<Tensor<'t>> {
        let name = &tensor.name;
        if let Some(asked) = &self.check {
            asked.borrow_mut().all.insert(name.clone());
            return Ok(tensor);
        }
        self.finite_from(0, tensor)
    }

    /// Makes sure that all values of `tensor` are finite, which begins with element `first` of the
    /// tensor of that name.
    fn finite_from<'t>(&self, first: usize, tensor: Tensor<'t>) -> Result<Tensor<'t>> {
        let Some(i) = tensor.first_not_finite() else {
            return Ok(tensor);
        };
        let found = format!("NaN or infinity as element {}", first + i);
        let error = self
            .checkpoint
            .tensor_error(&tensor.name, "finite values", &found);
        Err(error)
    }

    /// The matrix `name` `[n_out, n_in]`, in the format `quant` if it fits. One that is not stored
    /// quantised may be stored `transposed`.
    fn matrix(
        &self,
        name: &str,
        [n_out, n_in]: [usize; 2],
        transposed: bool,
        quant: Option<Quant>,
    ) -> Result<Tensor<'a>> {
        let quant = quant.filter(|quant| quant.fits(n_in));
        if let (Some(asked), Some(quant)) = (&self.check, quant) {
            let quantized = &mut asked.borrow_mut().quantized;
            quantized.insert(name.to_string(), quant);
        }
        if let (Some(quant), Some(_)) = (quant, self.config.quant) {
            let shape = [n_out, n_in];
            return self.finite(
                self.checkpoint
                    .quantized(name, shape, quant, &self.part())?,
            );
        }
        if self.check.is_none() && self.matrices == Matrices::Unread && !transposed {
            let stored = self.checkpoint.part(name, &[n_out, n_in], &Part::None)?;
            let dtype = quant.map_or(stored.dtype, Dtype::Quantized);
            return Ok(Tensor { dtype, ..stored });
        }
        let part = match transposed || quant.is_some() {
            true => self.part_once(),
            false => self.part(),
        };
        let stored = match transposed {
            false => self.tensor(name, &[n_out, n_in], &part)?,
            true => self.tensor(name, &[n_in, n_out], &part)?,
        };
        if self.check.is_some() {
            return Ok(stored);
        }
        let matrix = if transposed {
            stored.transposed()
        } else {
            stored
        };
        match quant {
            None => Ok(matrix),
            Some(quant) => self.finite(matrix.quantized(quant)),
        }
    }

    /// Rows of a matrix that this reader gave, be it [unread](Reader::unread) or not, in the
    /// matrix's format.
    ///
    /// # Errors
    /// Those of reading a tensor, and of values that are not finite.
    pub fn rows<'t>(&self, matrix: &'t Tensor<'a>, rows: Range<usize>) -> Result<Tensor<'t>> {
        let (name, shape) = (&matrix.name, [matrix.n_rows(), matrix.n_cols()]);
        if !matrix.bytes.is_empty() {
            let row_bytes = matrix.dtype.n_bytes(shape[1]);
            let bytes = &matrix.bytes[rows.start * row_bytes..rows.end * row_bytes];
            return Ok(Tensor {
                name: name.clone(),
                dtype: matrix.dtype,
                shape: vec![rows.len(), shape[1]],
                bytes: Bytes::Borrowed(bytes),
            });
        }
        let first = rows.start * shape[1];
        let part = Part::Rows(rows);
        match matrix.dtype {
            Dtype::Quantized(quant) if self.config.quant.is_some() => {
                self.finite_from(first, self.checkpoint.quantized(name, shape, quant, &part)?)
            }
            Dtype::Quantized(quant) => {
                let stored = self.checkpoint.part(name, &shape, &part)?;
                let quantized = self.finite_from(first, stored)?.quantized(quant);
                self.finite_from(first, quantized)
            }
            _ => self.finite_from(first, self.checkpoint.part(name, &shape, &part)?),
        }
    }

    /// Every quantised matrix, by its name.
    pub fn quantized(&self) -> Result<BTreeMap<String, Tensor<'a>>> {
        let is_quantized = |matrix: &Tensor| matches!(matrix.dtype, Dtype::Quantized(_));
        let mut quantized = BTreeMap::new();
        let mut add = |weights: ByRole<'a>| {
            let linears = weights.linears.into_values();
            let matrices = linears.flat_map(|linear| linear.matrices);
            let matrices = matrices.filter(is_quantized);
            quantized.extend(matrices.map(|matrix| (matrix.name.clone(), matrix)));
        };
        add(self.outer()?);
        for i in 0..self.config.n_layers {
            add(self.layer(i)?);
        }
        Ok(quantized)
    }

    /// The names of a role's tensors, without `.weight`.
    pub(super) fn names(&self, role: Role, layer: usize) -> Vec<String> {
        self.config.family.tensors.of(role, self.prefix, layer)
    }

    fn norm(&self, role: Role, layer: usize) -> Result<Norm> {
        let name = self.names(role, layer).swap_remove(0);
        let Shape { n_in: width, .. } = self.config.shape(role, layer);
        let read = |part: &str| self.values(&format!("{name}.{part}"), &[width]);
        Ok(Norm {
            weight: read("weight")?,
            bias: match self.config.has_bias(role) {
                false => None,
                true => Some(read("bias")?),
            },
        })
    }

    fn linear(&self, role: Role, layer: usize) -> Result<Linear<'a>> {
        let Shape { outputs, n_in } = self.config.shape(role, layer);
        let names = self.names(self.stored_role(role), layer);
        // One matrix may hold all outputs.
        let outputs = match names.len() {
            1 => vec![outputs.iter().sum()],
            _ => outputs,
        };
        let transposed = role.is_of_layer() && self.config.family.transposed;
        let quant = self.quant.and_then(|quant| role.quant(quant));
        let mut matrices = Vec::new();
        let mut bias = self.config.has_bias(role).then(Vec::new);
        for (name, n_out) in names.iter().zip(outputs) {
            let weight = format!("{name}.weight");
            matrices.push(self.matrix(&weight, [n_out, n_in], transposed, quant)?);
            if let Some(bias) = &mut bias {
                bias.extend(self.values(&format!("{name}.bias"), &[n_out])?);
            }
        }
        Ok(Linear { matrices, bias })
    }

    /// The weights of these roles, in their order.
    fn by_role(&self, roles: impl Iterator<Item = Role>, layer: usize) -> Result<ByRole<'a>> {
        let mut weights = ByRole::default();
        for role in roles {
            if role.is_norm() {
                weights.norms.insert(role, self.norm(role, layer)?);
            } else {
                weights.linears.insert(role, self.linear(role, layer)?);
            }
        }
        Ok(weights)
    }

    /// The weights of parameter layer `layer`.
    pub fn layer(&self, layer: usize) -> Result<ByRole<'a>> {
        self.by_role(Role::of_block(&self.config.blocks[layer]), layer)
    }

    /// The weights outside of layers: embeddings, final norm and output projection.
    pub fn outer(&self) -> Result<ByRole<'a>> {
        self.by_role(self.config.outer_roles(), 0)
    }

    /// The zero-token pool, if the checkpoint has one.
    pub fn pool(&self) -> Result<Option<Pool>> {
        let c = self.config;
        let Some(index) = &c.pool else {
            return Ok(None);
        };
        let Some(shape) = self.checkpoint.shape(POOL_KEY) else {
            return match self.checkpoint.has(POOL_VALUE) {
                true => Err(self.checkpoint.tensor_error(
                    POOL_KEY,
                    &format!("a key beside `{POOL_VALUE}`"),
                    "no such tensor",
                )),
                false => Ok(None),
            };
        };
        let middle = c.cycles() * c.middle_layers();
        let n_rows = match (index.index, index.scope) {
            (ZeroTokenIndex::Cycle, _) => c.cycles(),
            (_, ZeroTokenScope::Middle) => middle,
            (_, ZeroTokenScope::All) => c.head_layers() + middle + c.tail_layers(),
        };
        let n_heads = shape.get(1).copied().unwrap_or(0);
        if shape.len() != 3
            || shape[0] != n_rows
            || shape[2] != c.head_dim
            || ![1, c.n_kv_heads, c.n_heads].contains(&n_heads)
        {
            let expected = format!(
                "shape [{n_rows}, 1 or {} or {}, {}]",
                c.n_kv_heads, c.n_heads, c.head_dim
            );
            let found = format!("shape {shape:?}");
            return Err(self.checkpoint.tensor_error(POOL_KEY, &expected, &found));
        }
        let read = |name: &str| self.values(name, shape);
        Ok(Some(Pool {
            n_rows,
            n_heads,
            key: read(POOL_KEY)?,
            value: match self.checkpoint.has(POOL_VALUE) {
                true => Some(read(POOL_VALUE)?),
                false => None,
            },
        }))
    }
}
