//! Kernels that this model has no use for.

use super::Forward;
use super::logits::changes_logits;
use crate::engine::memory::activations::has_branch_apart;
use crate::engine::memory::layout::padded;
use crate::engine::memory::rows::OUTPUT_ROWS;
use crate::engine::pass::recorder::{Recorder, RowList, Size};
use crate::kernels::{layer_norm, norm_add};
use crate::model::family::NormKind;
use crate::model::role::Role;

impl Forward<'_> {
    /// The kernels that this model's family has no use for and others have, on this model's
    /// shapes: for measuring.
    pub fn of_other_families<'b>(&'b self, r: &mut Recorder<'b>) {
        let (c, b, over) = (self.config, self.buffers, self.all());
        let norm = &self.weights.outer.norms[&Role::FinalNorm].0;
        if c.norm == NormKind::Rms {
            let params = layer_norm::Params {
                n_cols: c.hidden as u32,
                stride: padded(c.hidden) as u32,
                list: over.list,
                dense: 0,
                eps: c.norm_eps as f32,
            };
            let buffers = [&b.x, norm, &b.rows, &b.normed];
            let call = layer_norm::call(&self.weights.target, params, buffers);
            r.push("layer_norm", call, over);
        }
        if !has_branch_apart(c) {
            let params = norm_add::Params {
                n_cols: c.hidden as u32,
                stride: padded(c.hidden) as u32,
                list: over.list,
                eps: c.norm_eps as f32,
                multiplier: 1.0,
            };
            let operands = norm_add::Operands {
                branch: Some(&b.normed),
                norm: Some(norm),
                rows: &b.rows,
                x: &b.x,
            };
            let place = norm_add::Place::OnBranch;
            let call = norm_add::call(&self.weights.target, params, place, c.norm, operands);
            r.push("norm_add", call, over);
        }
        if !changes_logits(c) {
            let outputs = RowList {
                list: b.lists.dense(),
                size: Size::Counted(OUTPUT_ROWS),
            };
            self.cap_logits(r, 1.0, Some(30.0), outputs);
        }
    }
}
