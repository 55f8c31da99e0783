//! The branches of the residual stream: what they read, the MLP, and how they are added.

use super::Forward;
use super::projection::Projection;
use crate::engine::memory::activations::is_apart;
use crate::engine::memory::layout::padded;
use crate::engine::pass::recorder::{Recorder, RowList};
use crate::engine::weights::NormBuffer;
use crate::kernels::norm_add;
use crate::model::block::PostNorm;
use crate::model::role::Role;

/// What is added to the residual stream, and where it is normed.
pub(super) struct Added<'b> {
    pub place: norm_add::Place,
    pub branch: Option<&'b wgpu::Buffer>,
    pub norm: Option<&'b NormBuffer>,
    /// Of the branch.
    pub multiplier: f64,
}

impl Forward<'_> {
    /// The residual stream as a branch reads it: the norm that is left to the map that reads it,
    /// and the buffer that the map reads.
    pub(super) fn branch_input<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        layer: usize,
        pre_norm: Role,
        over: RowList,
    ) -> (Option<&'b NormBuffer>, &'b wgpu::Buffer) {
        match self.weights.layers[layer].norms.get(&pre_norm) {
            Some(norm) => self.input_norm(r, pre_norm.label(), norm, over),
            None => (None, &self.buffers.x),
        }
    }

    /// The MLP up to its activation.
    pub(super) fn mlp_in<'b>(&'b self, r: &mut Recorder<'b>, layer: usize, over: RowList) {
        let (norm, x) = self.branch_input(r, layer, Role::MlpNorm, over);
        let matrix = &self.weights.layers[layer].matrices[&Role::MlpIn];
        let map = Projection::new(Role::MlpIn.label(), matrix, x, &self.buffers.mlp);
        let mlp = self.config.blocks[layer].mlp;
        self.project(r, over, map.normed(norm).activated(mlp));
    }

    /// The last map of a branch, from `input`, and the branch added to the residual stream.
    pub(super) fn add_branch<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        layer: usize,
        map: Role,
        input: &'b wgpu::Buffer,
        over: RowList,
    ) {
        let (c, b, w) = (self.config, self.buffers, &self.weights.layers[layer]);
        let block = &c.blocks[layer];
        let (norms, post_norm) = match map {
            Role::OProj => (block.attention_norms, Role::AttnPostNorm),
            _ => (block.mlp_norms, Role::MlpPostNorm),
        };
        let (label, matrix) = (map.label(), &w.matrices[&map]);
        if !is_apart(block, norms) {
            let map = Projection::new(label, matrix, input, &b.x);
            self.project(r, over, map.accumulating());
            return;
        }
        self.project(r, over, Projection::new(label, matrix, input, &b.branch));
        let (place, label) = match norms.post {
            PostNorm::None => (norm_add::Place::Add, "residual_add"),
            PostNorm::OnBranch => (norm_add::Place::OnBranch, post_norm.label()),
            PostNorm::OnSum => (norm_add::Place::OnSum, post_norm.label()),
        };
        let added = Added {
            place,
            branch: Some(&b.branch),
            norm: w.norms.get(&post_norm),
            multiplier: block.residual_multiplier,
        };
        self.norm_add(r, label, added, over);
    }

    /// Adds a branch to the residual stream, norms it, or both.
    pub(super) fn norm_add<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        added: Added<'b>,
        over: RowList,
    ) {
        let (c, b) = (self.config, self.buffers);
        let params = norm_add::Params {
            n_cols: c.hidden as u32,
            stride: padded(c.hidden) as u32,
            list: over.list,
            eps: c.norm_eps as f32,
            multiplier: added.multiplier as f32,
        };
        let operands = norm_add::Operands {
            branch: added.branch,
            norm: added.norm.map(|norm| &norm.0),
            rows: &b.rows,
            x: &b.x,
        };
        let target = &self.weights.target;
        let call = norm_add::call(target, params, added.place, c.norm, operands);
        r.push(role, call, over);
    }
}
