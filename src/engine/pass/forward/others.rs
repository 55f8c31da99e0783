//! Kernels that this model has no use for.

use super::Forward;
use super::branch::Added;
use super::logits::changes_logits;
use crate::engine::memory::activations::has_branch_apart;
use crate::engine::memory::layout::padded;
use crate::engine::memory::rows::OUTPUT_ROWS;
use crate::engine::pass::recorder::{Recorder, RowList, Size};
use crate::kernels::layer_norm;
use crate::kernels::norm_add::Place;
use crate::model::family::NormKind;
use crate::model::role::Role;

impl Forward<'_> {
    /// The kernels that this model's family has no use for and others have, on this model's
    /// shapes: for measuring.
    pub fn of_other_families<'b>(&'b self, r: &mut Recorder<'b>) {
        let (c, b, over) = (self.config, self.buffers, self.all());
        let norm = &self.weights.outer.norms[&Role::FinalNorm];
        if c.norm == NormKind::Rms {
            let params = layer_norm::Params {
                n_cols: c.hidden as u32,
                stride: padded(c.hidden) as u32,
                list: over.list,
                dense: 0,
                eps: c.norm_eps as f32,
            };
            let buffers = [&b.x, &norm.0, &b.rows, &b.normed];
            let call = layer_norm::call(&self.weights.target, params, buffers);
            r.push("layer_norm", call, over);
        }
        if !has_branch_apart(c) {
            let added = Added {
                place: Place::OnBranch,
                branch: Some(&b.normed),
                norm: Some(norm),
                multiplier: 1.0,
            };
            self.norm_add(r, "norm_add", added, over);
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
