//! The tensors of a layer by their role, under the same names for all families.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::{Checkpoint, Part};
use super::config::{Config, ZeroTokenIndex, ZeroTokenScope};
use super::quant::Quant;
use super::tensor::{Dtype, Tensor};
use crate::error::Result;

/// A linear map: matrices stacked along the outputs, each `[out, in]`, and a bias.
pub struct Linear<'a> {
    pub matrices: Vec<Tensor<'a>>,
    /// `[n_out]`, or `None`.
    pub bias: Option<Vec<f32>>,
}

impl Linear<'_> {
    /// Outputs of all stacked matrices.
    pub fn n_out(&self) -> usize {
        self.matrices.iter().map(Tensor::n_rows).sum()
    }

    /// Inputs.
    pub fn n_in(&self) -> usize {
        self.matrices[0].n_cols()
    }

    /// The type that holds every stacked matrix exactly.
    pub fn dtype(&self) -> Dtype {
        let first = self.matrices[0].dtype;
        match self.matrices.iter().all(|m| m.dtype == first) {
            true => first,
            false => Dtype::F32,
        }
    }
}

/// A normalisation's weight, and its bias where the family has one.
pub struct Norm {
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
}

/// One parameter layer.
pub struct Layer<'a> {
    pub attn_norm: Norm,
    /// Outputs: queries `[n_heads * head_dim]`, keys and values `[n_kv_heads * head_dim]` each.
    pub qkv: Linear<'a>,
    /// Norms of each query head and each key head, `[head_dim]`.
    pub qk_norm: Option<[Norm; 2]>,
    pub o_proj: Linear<'a>,
    pub mlp_norm: Norm,
    /// Outputs: gate and up `[intermediate]` each, or one `[intermediate]` without a gate.
    pub mlp_in: Linear<'a>,
    pub mlp_out: Linear<'a>,
}

/// The weights before and after the layers.
pub struct Outer<'a> {
    /// `[vocab, hidden]`
    pub embedding: Tensor<'a>,
    /// `[max_positions, hidden]`, for families that learn positions.
    pub positions: Option<Tensor<'a>>,
    pub final_norm: Norm,
    /// `[vocab, hidden]`, or `None` where the embedding serves.
    pub lm_head: Option<Tensor<'a>>,
}

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
    /// Matrices are shared with other readers that share them.
    shared: bool,
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
            let name = |template: &str| template.replace("{}", prefix) + ".weight";
            checkpoint.has(&name(names.embedding)) || checkpoint.has(&name(names.final_norm))
        });
        Self {
            checkpoint,
            config,
            quant,
            prefix: known.unwrap_or(names.prefixes[0]),
            check: None,
            shared: false,
        }
    }

    /// For a model that is run where it is read: all who do so at a time share one copy of the
    /// matrices.
    pub fn shared(self) -> Self {
        Self {
            shared: true,
            ..self
        }
    }

    /// The part to read of a matrix that is used as it is stored.
    fn part(&self) -> Part {
        match (&self.check, self.shared) {
            (Some(_), _) => Part::None,
            (None, true) => Part::Shared,
            (None, false) => Part::All,
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
        } else if let Some(i) = tensor.first_not_finite() {
            let found = format!("NaN or infinity as element {i}");
            return Err(self.checkpoint.tensor_error(name, "finite values", &found));
        }
        Ok(tensor)
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

    /// Every quantised matrix, by its name.
    pub fn quantized(&self) -> Result<BTreeMap<String, Tensor<'a>>> {
        let is_quantized = |matrix: &Tensor| matches!(matrix.dtype, Dtype::Quantized(_));
        let named = |matrix: Tensor<'a>| (matrix.name.clone(), matrix);
        let outer = self.outer()?;
        let outer = [Some(outer.embedding), outer.lm_head].into_iter().flatten();
        let mut quantized: BTreeMap<_, _> = outer.filter(is_quantized).map(named).collect();
        for i in 0..self.config.n_layers {
            let layer = self.layer(i)?;
            for linear in [layer.qkv, layer.o_proj, layer.mlp_in, layer.mlp_out] {
                let matrices = linear.matrices.into_iter();
                quantized.extend(matrices.filter(is_quantized).map(named));
            }
        }
        Ok(quantized)
    }

    pub(super) fn name(&self, template: &str, layer: usize) -> String {
        template
            .replace("{}", self.prefix)
            .replace("{i}", &layer.to_string())
    }

    fn norm(&self, template: &str, layer: usize, width: usize) -> Result<Norm> {
        let name = self.name(template, layer);
        let read = |part: &str| {
            let name = format!("{name}.{part}");
            self.values(&name, &[width])
        };
        Ok(Norm {
            weight: read("weight")?,
            bias: match self.config.norm {
                super::family::NormKind::Rms => None,
                super::family::NormKind::Layer => Some(read("bias")?),
            },
        })
    }

    /// `outputs`: the outputs of each name in `templates`.
    fn linear(
        &self,
        templates: &[&str],
        layer: usize,
        n_in: usize,
        outputs: &[usize],
        has_bias: bool,
    ) -> Result<Linear<'a>> {
        let mut matrices = Vec::new();
        let mut bias = has_bias.then(Vec::new);
        for (template, &n_out) in templates.iter().zip(outputs) {
            let name = self.name(template, layer);
            let weight = format!("{name}.weight");
            let transposed = self.config.family.transposed;
            matrices.push(self.matrix(&weight, [n_out, n_in], transposed, self.quant)?);
            if let Some(bias) = &mut bias {
                let name = format!("{name}.bias");
                bias.extend(self.values(&name, &[n_out])?);
            }
        }
        Ok(Linear { matrices, bias })
    }

    /// The weights of parameter layer `layer`.
    pub fn layer(&self, layer: usize) -> Result<Layer<'a>> {
        let c = self.config;
        let names = &c.family.tensors;
        let qkv_outputs = match names.qkv.len() {
            1 => vec![c.q_dim() + 2 * c.kv_dim()],
            _ => vec![c.q_dim(), c.kv_dim(), c.kv_dim()],
        };
        let mlp_outputs = vec![c.intermediate; names.mlp_in.len()];
        let norm = |template: &str, width: usize| self.norm(template, layer, width);
        let linear =
            |t: &[&str], n_in, outputs: &[usize], bias| self.linear(t, layer, n_in, outputs, bias);
        Ok(Layer {
            attn_norm: norm(names.attn_norm, c.hidden)?,
            qkv: linear(names.qkv, c.hidden, &qkv_outputs, c.qkv_bias)?,
            qk_norm: match names.qk_norm {
                Some([q, k]) => Some([norm(q, c.head_dim)?, norm(k, c.head_dim)?]),
                None => None,
            },
            o_proj: linear(&[names.o_proj], c.q_dim(), &[c.hidden], c.o_bias)?,
            mlp_norm: norm(names.mlp_norm, c.hidden)?,
            mlp_in: linear(names.mlp_in, c.hidden, &mlp_outputs, c.mlp_bias)?,
            mlp_out: linear(&[names.mlp_out], c.intermediate, &[c.hidden], c.mlp_bias)?,
        })
    }

    /// Embeddings, final norm and output projection.
    pub fn outer(&self) -> Result<Outer<'a>> {
        let c = self.config;
        let names = &c.family.tensors;
        let name = |template: &str| self.name(template, 0) + ".weight";
        let quant = self.quant.map(|_| Quant::OF_EMBEDDING);
        let matrix = |name: &str| self.matrix(name, [c.vocab, c.hidden], false, quant);
        Ok(Outer {
            embedding: matrix(&self.embedding_name())?,
            positions: names
                .positions
                .map(|template| {
                    let shape = [c.max_positions, c.hidden];
                    self.tensor(&name(template), &shape, &self.part())
                })
                .transpose()?,
            final_norm: self.norm(names.final_norm, 0, c.hidden)?,
            lm_head: match c.tied {
                true => None,
                false => Some(matrix(&self.head_name())?),
            },
        })
    }

    /// The zero-token pool, if the checkpoint has one.
    pub fn pool(&self) -> Result<Option<Pool>> {
        let c = self.config;
        let Some(ztt) = &c.ztt else { return Ok(None) };
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
        let middle = ztt.cycles * c.middle_layers();
        let n_rows = match (ztt.index, ztt.scope) {
            (ZeroTokenIndex::Cycle, _) => ztt.cycles,
            (_, ZeroTokenScope::Middle) => middle,
            (_, ZeroTokenScope::All) => ztt.head_layers + middle + ztt.tail_layers,
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
