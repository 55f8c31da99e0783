//! From the residual stream to logits.

use super::Forward;
use super::projection::Projection;
use crate::engine::memory::layout::padded;
use crate::engine::memory::rows::OUTPUT_ROWS;
use crate::engine::pass::recorder::{Phase, Recorder, RowList, Size};
use crate::kernels::{cap_logits, gather_rows};
use crate::model::config::Config;
use crate::model::role::Role;

impl Forward<'_> {
    /// Final norm and output projection of the rows that get logits, packed densely.
    pub fn logits<'b>(&'b self, r: &mut Recorder<'b>) {
        r.enter(Phase::Logits);
        let (c, b, w) = (self.config, self.buffers, &self.weights.outer);
        let size = Size::Counted(OUTPUT_ROWS);
        let outputs = RowList {
            list: b.lists.outputs(),
            size,
        };
        let dense = RowList {
            list: b.lists.dense(),
            size,
        };
        if self.walk.final_norm {
            let norm = &w.norms[&Role::FinalNorm];
            self.norm(r, Role::FinalNorm.label(), norm, outputs, true);
        } else {
            let params = gather_rows::Params {
                n_quads: padded(c.hidden) as u32 / 4,
                list: outputs.list,
            };
            let call = gather_rows::call(params, [&b.x, &b.rows, &b.normed]);
            r.push("gather_rows", call, outputs);
        }
        let head = w.matrices.get(&Role::LmHead);
        let head = head.unwrap_or(&w.matrices[&Role::Embedding]);
        self.project(
            r,
            dense,
            Projection::new(Role::LmHead.label(), head, &b.normed, &b.logits),
        );
        if changes_logits(c) {
            self.cap_logits(r, c.logits_multiplier, c.logits_soft_cap, dense);
        }
    }

    pub(super) fn cap_logits<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        multiplier: f64,
        soft_cap: Option<f64>,
        over: RowList,
    ) {
        let n_vocab = self.config.vocab as u32;
        let params = cap_logits::Params {
            n_vocab,
            stride: padded(self.config.vocab) as u32,
            multiplier: multiplier as f32,
            soft_cap: soft_cap.unwrap_or(0.0) as f32,
        };
        let call = cap_logits::call(params, &self.buffers.logits);
        r.push("cap_logits", call, over);
    }
}

/// Whether logits are other than the output projection's sums.
pub(super) fn changes_logits(config: &Config) -> bool {
    config.logits_multiplier != 1.0 || config.logits_soft_cap.is_some()
}
