//! A transformer block as a value: [`Reference`](crate::reference::Reference) and the device's
//! forward pass are interpreters of it.

/// The block of a parameter layer: attention, then MLP, each a branch of the residual stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub attention: Attention,
    pub attention_norms: BranchNorms,
    pub mlp: Mlp,
    pub mlp_norms: BranchNorms,
    /// Each branch is multiplied by this where it is added to the residual stream.
    pub residual_multiplier: f64,
}

/// The norms of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchNorms {
    /// The branch reads the residual stream normed.
    pub pre: bool,
    pub post: PostNorm,
}

/// The norm after a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostNorm {
    None,
    /// `x + norm(branch)`
    OnBranch,
    /// `norm(x + branch)`
    OnSum,
}

impl BranchNorms {
    /// `x + branch(norm(x))`
    pub const PRE: Self = Self {
        pre: true,
        post: PostNorm::None,
    };
}

/// Attention over the keys and values of a layer, and its zero token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Multiplies products of queries and keys.
    pub scale: f64,
    /// `c tanh(score / c)` of every score, after the scale; the zero token's, too.
    pub soft_cap: Option<f64>,
    pub qk_norm: Option<QkNorm>,
    /// Positions it looks back, the row's own counted; `None` for all.
    pub window: Option<usize>,
    /// Which of the config's [rotary embeddings](super::config::Config::ropes); `None`: positions
    /// do not turn queries and keys.
    pub rope: Option<usize>,
}

/// A norm of queries and keys: RMS, with weights of its own for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QkNorm {
    pub span: QkSpan,
    /// After the rotary embedding instead of before it.
    pub after_rope: bool,
}

/// The values that a norm of queries and keys takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkSpan {
    /// Each head by itself, all with the same `[head_dim]` weights.
    Head,
    /// All heads of a row, with `[heads * head_dim]` weights.
    Width,
}

/// The MLP of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mlp {
    /// `activation(gate) * up`, each a projection of its own; else `activation(up)`.
    pub gated: bool,
    pub activation: Activation,
}

/// The MLP's non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`
    Silu,
    /// GELU in its tanh form: `x/2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x/2 (1 + erf(x / sqrt(2)))`
    Gelu,
    Relu,
    /// `max(x, 0)²`
    ReluSquared,
}
