//! The roles that a model has, and the shape of each one's tensors.

use super::block::QkSpan;
use super::config::Config;
use super::family::{NormKind, PositionKind};
use super::loops::ScoreSource;
use super::role::Role;

/// The shape of a role's tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Outputs of each of the matrices that are stacked; none of a norm.
    pub outputs: Vec<usize>,
    /// Inputs of the matrices, or values of the norm.
    pub n_in: usize,
}

impl Config {
    /// The roles outside of layers.
    pub fn outer_roles(&self) -> impl Iterator<Item = Role> {
        let positions = self.position == PositionKind::Learned;
        let roles = [
            Some(Role::Embedding),
            positions.then_some(Role::Positions),
            Some(Role::FinalNorm),
            (!self.tied).then_some(Role::LmHead),
            (self.score == Some(ScoreSource::Gate)).then_some(Role::ExitGate),
        ];
        roles.into_iter().flatten()
    }

    /// The shape of a role's tensors in parameter layer `layer`, which those outside of layers do
    /// not depend on. Queries come before keys and values, a gate before up.
    pub fn shape(&self, role: Role, layer: usize) -> Shape {
        let block = &self.blocks[layer];
        let (hidden, inner) = (self.hidden, self.intermediate);
        let (q, kv) = (self.q_dim(), self.kv_dim());
        let matrix = |outputs: &[usize], n_in: usize| Shape {
            outputs: outputs.to_vec(),
            n_in,
        };
        let norm = |n: usize| matrix(&[], n);
        match role {
            Role::Embedding | Role::LmHead => matrix(&[self.vocab], hidden),
            Role::Positions => matrix(&[self.max_positions], hidden),
            Role::ExitGate => matrix(&[1], hidden),
            Role::Qkv => matrix(&[q, kv, kv], hidden),
            Role::OProj => matrix(&[hidden], q),
            Role::MlpIn if block.mlp.gated => matrix(&[inner, inner], hidden),
            Role::MlpIn => matrix(&[inner], hidden),
            Role::MlpOut => matrix(&[hidden], inner),
            Role::QNorm | Role::KNorm => norm(match block.attention.qk_norm.map(|n| n.span) {
                Some(QkSpan::Width) if role == Role::QNorm => q,
                Some(QkSpan::Width) => kv,
                Some(QkSpan::Head) | None => self.head_dim,
            }),
            Role::FinalNorm
            | Role::AttnNorm
            | Role::AttnPostNorm
            | Role::MlpNorm
            | Role::MlpPostNorm => norm(hidden),
        }
    }

    /// Whether a role's tensors have a bias. Queries and keys pass an RMS norm in any family.
    pub fn has_bias(&self, role: Role) -> bool {
        match role.is_norm() {
            true => self.norm == NormKind::Layer && !matches!(role, Role::QNorm | Role::KNorm),
            false => self.biases.contains(&role),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::{BranchNorms, PostNorm, QkNorm};
    use crate::model::family::FAMILIES;

    fn config(family: &str) -> Config {
        let text = format!(
            r#"{{"model_type":"{family}","hidden_size":24,"num_hidden_layers":2,
                "num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"vocab_size":5,
                "intermediate_size":40,"n_inner":40,"tie_word_embeddings":false}}"#
        );
        Config::parse("config.json", &text).unwrap()
    }

    /// Every role of every family has a name for each matrix that is stacked, or one for all.
    #[test]
    fn families_name_the_tensors_of_their_roles() {
        for family in FAMILIES {
            let config = config(family.name);
            let roles = config
                .outer_roles()
                .chain(Role::of_block(&config.blocks[1]));
            for role in roles {
                let n_names = family.tensors.of(role, "", 1).len();
                let n_stacked = config.shape(role, 1).outputs.len();
                assert!(
                    n_names == 1 || n_names == n_stacked,
                    "{family:?} {role:?}: {n_names} names"
                );
            }
        }
    }

    #[test]
    fn only_the_roles_of_a_block_are_asked_for() {
        let mut block = config("llama").blocks.remove(0);
        let roles = |block: &_| Role::of_block(block).map(Role::label).collect::<Vec<_>>();
        assert_eq!(
            roles(&block),
            [
                "attn_norm",
                "qkv_proj",
                "o_proj",
                "mlp_norm",
                "mlp_in",
                "mlp_out"
            ]
        );
        block.attention_norms = BranchNorms {
            pre: false,
            post: PostNorm::OnBranch,
        };
        block.mlp_norms.post = PostNorm::OnSum;
        block.attention.qk_norm = Some(QkNorm {
            span: QkSpan::Width,
            after_rope: false,
        });
        assert_eq!(
            roles(&block),
            [
                "qkv_proj",
                "q_norm",
                "k_norm",
                "o_proj",
                "attn_post_norm",
                "mlp_norm",
                "mlp_in",
                "mlp_out",
                "mlp_post_norm"
            ]
        );
    }

    #[test]
    fn shapes_follow_the_block() {
        let mut config = config("llama");
        let width = |config: &Config, role| config.shape(role, 0).n_in;
        assert_eq!(width(&config, Role::QNorm), 8);
        assert_eq!(width(&config, Role::KNorm), 8);
        assert_eq!(config.shape(Role::Qkv, 0).outputs, [32, 16, 16]);
        assert_eq!(config.shape(Role::MlpIn, 0).outputs, [40, 40]);
        config.blocks[0].mlp.gated = false;
        config.blocks[0].attention.qk_norm = Some(QkNorm {
            span: QkSpan::Width,
            after_rope: true,
        });
        assert_eq!(width(&config, Role::QNorm), 32);
        assert_eq!(width(&config, Role::KNorm), 16);
        assert_eq!(config.shape(Role::MlpIn, 0).outputs, [40]);
        // The other layer is as it was.
        assert_eq!(config.shape(Role::MlpIn, 1).outputs, [40, 40]);
    }

    #[test]
    fn biases_are_those_of_the_table() {
        let biased = |family: &str| {
            let config = config(family);
            let roles = config
                .outer_roles()
                .chain(Role::of_block(&config.blocks[0]));
            let roles = roles.filter(|&role| config.has_bias(role));
            roles.map(Role::label).collect::<Vec<_>>()
        };
        assert!(biased("llama").is_empty());
        assert_eq!(biased("qwen2"), ["qkv_proj"]);
        assert_eq!(
            biased("gpt2"),
            [
                "final_norm",
                "attn_norm",
                "qkv_proj",
                "o_proj",
                "mlp_norm",
                "mlp_in",
                "mlp_out"
            ]
        );
    }
}
