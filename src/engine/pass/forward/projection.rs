//! Norms and linear maps of listed rows.

use super::Forward;
use crate::engine::memory::layout::padded;
use crate::engine::pass::recorder::{Recorder, RowList};
use crate::engine::weights::{Matrix, NormBuffer};
use crate::kernels::linear::{self, Epilogue, InputNorm};
use crate::kernels::{layer_norm, pack_rows, rms_norm};
use crate::model::block::Mlp;
use crate::model::family::NormKind;

/// A linear map from one buffer to another.
pub(super) struct Projection<'b> {
    pub role: &'static str,
    pub matrix: &'b Matrix,
    pub x: &'b wgpu::Buffer,
    pub y: &'b wgpu::Buffer,
    /// The norm that rows pass on their way in, where it is left to the map.
    pub norm: Option<&'b NormBuffer>,
    pub epilogue: Epilogue,
    /// Add to `y` instead of replacing it.
    pub accumulate: bool,
    /// Leave out the outputs before this one.
    pub first_output: u32,
    /// Where outputs go instead of `y`.
    pub to: Option<linear::Qkv<'b>>,
}

impl<'b> Projection<'b> {
    pub fn new(
        role: &'static str,
        matrix: &'b Matrix,
        x: &'b wgpu::Buffer,
        y: &'b wgpu::Buffer,
    ) -> Self {
        Self {
            role,
            matrix,
            x,
            y,
            norm: None,
            epilogue: Epilogue::None,
            accumulate: false,
            first_output: 0,
            to: None,
        }
    }

    pub fn accumulating(self) -> Self {
        Self {
            accumulate: true,
            ..self
        }
    }

    pub fn normed(self, norm: Option<&'b NormBuffer>) -> Self {
        Self { norm, ..self }
    }

    pub fn activated(self, mlp: Mlp) -> Self {
        Self {
            epilogue: Epilogue::Mlp(mlp),
            ..self
        }
    }
}

impl Forward<'_> {
    /// The norm of the residual stream: of few rows, and of all that are packed, it is left to the
    /// linear map that reads them, of others it is done before the map. Returns the norm that is
    /// left to the map, and the buffer that the map reads.
    pub(super) fn input_norm<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        norm: &'b NormBuffer,
        over: RowList,
    ) -> (Option<&'b NormBuffer>, &'b wgpu::Buffer) {
        let target = &self.weights.target;
        if self.kind.is_few() || pack_rows::is_wanted(target, self.kind) {
            return (Some(norm), &self.buffers.x);
        }
        self.norm(r, role, norm, over, false);
        (None, &self.buffers.normed)
    }

    /// The residual stream normed, row by row; `dense` puts the i-th listed row into row i.
    pub(super) fn norm<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        norm: &'b NormBuffer,
        over: RowList,
        dense: bool,
    ) {
        let (c, b) = (self.config, self.buffers);
        let (n_cols, stride) = (c.hidden as u32, padded(c.hidden) as u32);
        let (list, dense, eps) = (over.list, u32::from(dense), c.norm_eps as f32);
        let buffers = [&b.x, &norm.0, &b.rows, &b.normed];
        let call = match c.norm {
            NormKind::Layer => layer_norm::call(
                &self.weights.target,
                layer_norm::Params {
                    n_cols,
                    stride,
                    list,
                    dense,
                    eps,
                },
                buffers,
            ),
            NormKind::Rms => rms_norm::call(
                &self.weights.target,
                rms_norm::Params {
                    n_cols,
                    stride,
                    list,
                    dense,
                    eps,
                },
                buffers,
            ),
        };
        r.push(role, call, over);
    }

    /// A matrix times the listed rows, one dispatch for each part of the matrix.
    pub(super) fn project<'b>(&'b self, r: &mut Recorder<'b>, over: RowList, p: Projection<'b>) {
        let matrix = p.matrix;
        let n_columns = matrix.n_out / p.epilogue.outputs_a_value();
        let (target, packed, kind) = (&self.weights.target, self.buffers.packed(), self.kind);
        let output = match p.to {
            Some(qkv) => linear::Output::Qkv(qkv),
            None => linear::Output::Rows {
                y: p.y,
                stride: padded(n_columns as usize) as u32,
                epilogue: p.epilogue,
                accumulate: p.accumulate,
            },
        };
        let norm = p.norm.map(|norm| linear::Norm {
            kind: match self.config.norm {
                NormKind::Rms => InputNorm::Rms,
                NormKind::Layer => InputNorm::Layer,
            },
            vectors: &norm.0,
            n_cols: self.config.hidden as u32,
            eps: self.config.norm_eps as f32,
        });
        if pack_rows::is_wanted(target, kind) {
            let buffers = [p.x, &self.buffers.rows];
            let call = pack_rows::call(target, matrix.n_octets, over.list, norm, buffers, packed);
            r.push("pack_rows", call, over);
        }
        for part in &matrix.parts {
            let end = part.first_row + part.n_rows;
            let first = part.first_row.max(p.first_output);
            if first >= end {
                continue;
            }
            let map = linear::Map {
                n_in_octets: matrix.n_octets,
                n_out: end - first,
                weight_row: first - part.first_row,
                first_output: first,
                list: over.list,
            };
            let operands = linear::Operands {
                x: p.x,
                packed,
                weights: part.store.resource(),
                bias: matrix.bias.as_ref(),
                rows: &self.buffers.rows,
                norm,
            };
            let call = linear::call(target, kind, matrix.dtype, map, operands, output);
            r.push(p.role, call, over);
        }
    }
}
