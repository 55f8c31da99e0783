//! The roles of tensors: how everything but the families' tables calls them.

use super::block::{Block, PostNorm};
use super::quant::Quant;

/// The role of a tensor, or of several that are stacked. Weights are read and uploaded in this
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A row for each token.
    Embedding,
    /// A row for each position.
    Positions,
    FinalNorm,
    /// The output projection, where it is not the embedding.
    LmHead,
    /// The vector and bias that make the scores of cycles from the residual stream.
    ExitGate,
    /// The norm of the residual stream that attention reads.
    AttnNorm,
    /// Queries, keys and values.
    Qkv,
    /// The norm of queries, be it of each head or of all.
    QNorm,
    /// The norm of keys.
    KNorm,
    OProj,
    /// The norm after attention, be it on the branch or on the sum.
    AttnPostNorm,
    /// The norm of the residual stream that the MLP reads.
    MlpNorm,
    /// Gate and up, or up alone.
    MlpIn,
    MlpOut,
    /// The norm after the MLP.
    MlpPostNorm,
}

impl Role {
    /// The roles that a parameter layer may have.
    pub const OF_LAYER: [Role; 10] = [
        Role::AttnNorm,
        Role::Qkv,
        Role::QNorm,
        Role::KNorm,
        Role::OProj,
        Role::AttnPostNorm,
        Role::MlpNorm,
        Role::MlpIn,
        Role::MlpOut,
        Role::MlpPostNorm,
    ];

    /// The roles that a layer of this block has.
    pub fn of_block(block: &Block) -> impl Iterator<Item = Role> {
        let roles = Self::OF_LAYER.into_iter();
        roles.filter(move |role| role.is_in(block))
    }

    fn is_in(self, block: &Block) -> bool {
        match self {
            Role::AttnNorm => block.attention_norms.pre,
            Role::AttnPostNorm => block.attention_norms.post != PostNorm::None,
            Role::QNorm | Role::KNorm => block.attention.qk_norm.is_some(),
            Role::MlpNorm => block.mlp_norms.pre,
            Role::MlpPostNorm => block.mlp_norms.post != PostNorm::None,
            Role::Qkv | Role::OProj | Role::MlpIn | Role::MlpOut => true,
            Role::Embedding | Role::Positions | Role::FinalNorm | Role::LmHead | Role::ExitGate => {
                false
            }
        }
    }

    /// Whether each parameter layer has its own.
    pub fn is_of_layer(self) -> bool {
        Self::OF_LAYER.contains(&self)
    }

    /// Whether it is a norm. The others are matrices.
    pub fn is_norm(self) -> bool {
        match self {
            Role::FinalNorm
            | Role::AttnNorm
            | Role::QNorm
            | Role::KNorm
            | Role::AttnPostNorm
            | Role::MlpNorm
            | Role::MlpPostNorm => true,
            Role::Embedding
            | Role::Positions
            | Role::LmHead
            | Role::ExitGate
            | Role::Qkv
            | Role::OProj
            | Role::MlpIn
            | Role::MlpOut => false,
        }
    }

    /// The format of its matrices in a model that is quantised to `of_layers`; `None` where they
    /// never are.
    pub fn quant(self, of_layers: Quant) -> Option<Quant> {
        match self {
            Role::Embedding | Role::LmHead => Some(Quant::OF_EMBEDDING),
            Role::Qkv | Role::OProj | Role::MlpIn | Role::MlpOut => Some(of_layers),
            _ => None,
        }
    }

    /// How profiles name the dispatches that use it.
    pub fn label(self) -> &'static str {
        match self {
            Role::Embedding => "embed",
            Role::Positions => "positions",
            Role::FinalNorm => "final_norm",
            Role::LmHead => "lm_head",
            Role::ExitGate => "exit_gate",
            Role::AttnNorm => "attn_norm",
            Role::Qkv => "qkv_proj",
            Role::QNorm => "q_norm",
            Role::KNorm => "k_norm",
            Role::OProj => "o_proj",
            Role::AttnPostNorm => "attn_post_norm",
            Role::MlpNorm => "mlp_norm",
            Role::MlpIn => "mlp_in",
            Role::MlpOut => "mlp_out",
            Role::MlpPostNorm => "mlp_post_norm",
        }
    }
}
