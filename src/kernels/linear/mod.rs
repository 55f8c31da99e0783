//! Linear maps of listed rows: `matvec`, `matvec_subgroup` and `matvec_texture` for few, `matmul` and
//! `matmul_texture` for many. Outputs become rows, or queries, keys and values.

mod epilogue;
mod shaders;
mod tile;

use wgpu::Buffer;

use super::{BatchKind, Heads, KvType, weight_format, words};
use crate::gpu::{Call, Cost, Kernel, KernelClass, Resource, Target};
use crate::kernels::kv_format;
use crate::model::tensor::Dtype;
pub use epilogue::Epilogue;
pub use shaders::{MATMUL, MATMUL_TEXTURE, MATVEC, MATVEC_SUBGROUP, MATVEC_TEXTURE};
use shaders::{MatmulParams, MatvecParams};
pub use tile::Tile;

/// The norm that a row passes on its way in, by the kernels of few rows or by
/// [`pack_rows`](super::pack_rows). Other rows come normed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputNorm {
    None = 0,
    Rms = 1,
    Layer = 2,
}

impl InputNorm {
    /// Vectors of weights and biases that it reads.
    pub(super) fn n_vectors(self) -> u64 {
        self as u64
    }
}

/// The rows of a matrix that a call multiplies, and the rows of `x`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Map {
    /// Octets of a row of the matrix.
    pub n_in_octets: u32,
    /// Rows of the matrix that are used, and the first of them, a multiple of eight.
    pub n_out: u32,
    pub weight_row: u32,
    /// Which of the whole map's outputs the first one is, a multiple of eight.
    pub first_output: u32,
    /// The list of rows of `x`.
    pub list: u32,
}

/// A norm with its vectors.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    pub kind: InputNorm,
    /// f32 `[weights, biases][n_in]`
    pub vectors: &'a Buffer,
    /// Inputs without their padding.
    pub n_cols: u32,
    /// Added to the variance.
    pub eps: f32,
}

/// Inputs of a linear map.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// f32 `[row][n_in]`
    pub x: &'a Buffer,
    /// Where [`pack_rows`](super::pack_rows) put the rows of `x`, where that is called for.
    pub packed: Resource<'a>,
    pub weights: Resource<'a>,
    /// f32 `[n_out]`
    pub bias: Option<&'a Buffer>,
    pub rows: &'a Buffer,
    pub norm: Option<Norm<'a>>,
}

/// Where outputs go.
#[derive(Clone, Copy)]
pub enum Output<'a> {
    /// f32 `[row][stride]`
    Rows {
        y: &'a Buffer,
        stride: u32,
        epilogue: Epilogue,
        /// Whether outputs are added to what `y` holds (the residual stream).
        accumulate: bool,
    },
    Qkv(Qkv<'a>),
}

/// Where queries, keys and values go.
#[derive(Clone, Copy)]
pub struct Qkv<'a> {
    pub heads: Heads,
    /// Rotary angles of each position and pair, `[position][4 octets][cos, sin]`; `None` without
    /// rotary embedding.
    pub angles: Option<&'a Buffer>,
    /// f32 `[row][head][8 octets]`, in a buffer or a texture.
    pub q: Resource<'a>,
    /// The KV cache in a buffer or a texture; see `shared/kv_buffer.wgsl`, `shared/kv_texture.wgsl`.
    pub kv: Resource<'a>,
    /// Linear maps write no type that [takes whole heads](KvType::takes_whole_heads).
    pub kv_type: KvType,
    /// Places of the cache, in a texture the logarithm of those in a row of texels.
    pub kv_places: u32,
    /// Cycles whose keys and values are written.
    pub first_cycle: u32,
    pub n_cycles: u32,
}

/// A matrix times the listed rows. All rows are padded to octets. With weights in a texture, one
/// row must be alone in its list, lie at the beginning of `x` and fit
/// [`UNIFORM_BYTES`](crate::gpu::UNIFORM_BYTES), and others must have been packed.
pub fn call<'a>(
    target: &Target,
    kind: BatchKind,
    dtype: Dtype,
    map: Map,
    operands: Operands<'a>,
    output: Output<'a>,
) -> Call<'a> {
    let in_texture = target.uses_textures();
    let takes_norm = takes_norm(target, kind);
    let tile = Tile::of(target, kind, dtype, map.n_in_octets, map.n_out);
    let x = match (takes_norm, in_texture) {
        (true, true) => Resource::Uniform(operands.x),
        (false, true) => operands.packed,
        (_, false) => Resource::Buffer(operands.x),
    };
    let norm = operands
        .norm
        .filter(|norm| takes_norm && norm.kind != InputNorm::None);
    let mut constants = vec![
        weight_format(dtype),
        ("HAS_BIAS", operands.bias.is_some().into()),
    ];
    constants.extend(tile.constants());
    constants.extend(output.constants());
    let mut resources = vec![
        x,
        operands.weights,
        operands.bias.map_or(Resource::Unused, Resource::Buffer),
        Resource::Buffer(operands.rows),
    ];
    resources.extend(output.resources(in_texture));
    if in_texture {
        constants.push(("SUBGROUP_LANES", target.lanes()));
        if !takes_norm {
            constants.push(("TILE_ROWS", tile.rows));
        }
    }
    if takes_norm {
        constants.push(("NORM", norm.map_or(0, |norm| norm.kind as u32)));
        resources.push(match norm {
            None => Resource::Unused,
            Some(norm) if in_texture => Resource::Uniform(norm.vectors),
            Some(norm) => Resource::Buffer(norm.vectors),
        });
    }
    Call {
        kernel: kernel(target, kind),
        constants,
        params: params(takes_norm, map, norm, &output),
        resources,
        x: map.n_out.div_ceil(tile.outputs),
        rows_per_group: tile.rows,
        cost: cost(dtype, &map, &operands, norm, &output),
    }
}

/// Whether the kernel of a linear map norms what it reads.
fn takes_norm(target: &Target, kind: BatchKind) -> bool {
    match target.uses_textures() {
        true => kind == BatchKind::OneRow,
        false => kind.is_few(),
    }
}

/// The kernel of a linear map for a batch.
pub fn kernel(target: &Target, kind: BatchKind) -> &'static Kernel {
    match (takes_norm(target, kind), target.class) {
        (true, KernelClass::Subgroup) => &MATVEC_SUBGROUP,
        (true, KernelClass::Workgroup) => &MATVEC,
        (true, KernelClass::Software) => &MATVEC_TEXTURE,
        (false, KernelClass::Software) => &MATMUL_TEXTURE,
        (false, KernelClass::Subgroup | KernelClass::Workgroup) => &MATMUL,
    }
}

/// The bytes of a shader's parameters.
fn params(takes_norm: bool, map: Map, norm: Option<Norm>, output: &Output) -> Vec<u8> {
    let Map {
        n_in_octets,
        n_out,
        weight_row,
        first_output,
        list,
    } = map;
    let y_stride = match output {
        Output::Rows { stride, .. } => *stride,
        Output::Qkv(_) => 0,
    };
    let (kv_places, first_cycle, n_cycles) = match output {
        Output::Rows { .. } => (0, 0, 0),
        Output::Qkv(qkv) => (qkv.kv_places, qkv.first_cycle, qkv.n_cycles),
    };
    if takes_norm {
        let (n_cols, eps) = norm.map_or((0, 0.0), |norm| (norm.n_cols, norm.eps));
        let params = MatvecParams {
            n_in_octets,
            n_out,
            weight_row,
            first_output,
            list,
            n_cols,
            eps,
            y_stride,
            kv_places,
            first_cycle,
            n_cycles,
        };
        return params.bytes();
    }
    let params = MatmulParams {
        n_in_octets,
        n_out,
        weight_row,
        first_output,
        list,
        y_stride,
        kv_places,
        first_cycle,
        n_cycles,
    };
    params.bytes()
}

impl<'a> Output<'a> {
    /// Constants of the output stage; those that a stage has no use for at their defaults, so that
    /// calls share pipelines.
    fn constants(&self) -> Vec<(&'static str, u32)> {
        let (output, epilogue, accumulate, kv_type, heads, has_rope) = match *self {
            Output::Rows {
                epilogue,
                accumulate,
                ..
            } => (
                0,
                epilogue,
                accumulate,
                KvType::F32,
                Heads::default(),
                false,
            ),
            Output::Qkv(qkv) => (
                1,
                Epilogue::None,
                false,
                qkv.kv_type,
                qkv.heads,
                qkv.angles.is_some(),
            ),
        };
        let mut constants = vec![
            ("OUTPUT", output),
            ("ACCUMULATE", accumulate.into()),
            kv_format(kv_type),
            ("HAS_ROPE", has_rope.into()),
        ];
        constants.extend(epilogue.constants());
        constants.extend(heads.constants());
        constants
    }

    /// What the output stage binds: `y`, angles, in textures `q`, and the KV cache. In buffers
    /// queries are rows of `y`.
    fn resources(&self, in_texture: bool) -> Vec<Resource<'a>> {
        let (y, angles, q, kv) = match *self {
            Output::Rows { y, .. } => (
                Resource::Buffer(y),
                Resource::Unused,
                Resource::Unused,
                Resource::Unused,
            ),
            Output::Qkv(qkv) => {
                let angles = qkv.angles.map_or(Resource::Unused, Resource::Buffer);
                match in_texture {
                    true => (Resource::Unused, angles, qkv.q, qkv.kv),
                    false => (qkv.q, angles, Resource::Unused, qkv.kv),
                }
            }
        };
        match in_texture {
            true => vec![y, angles, q, kv],
            false => vec![y, angles, kv],
        }
    }
}

fn cost(dtype: Dtype, map: &Map, operands: &Operands, norm: Option<Norm>, output: &Output) -> Cost {
    let row_bytes = dtype.n_bytes(8 * map.n_in_octets as usize) as u64;
    let n_in = u64::from(8 * map.n_in_octets);
    let n_out = u64::from(map.n_out);
    let bias_bytes = operands.bias.map_or(0, |_| words(map.n_out));
    let norm_vectors = norm.map_or(0, |norm| norm.kind.n_vectors());
    let products = Cost {
        read: row_bytes * n_out + bias_bytes + norm_vectors * 4 * n_in,
        read_per_row: 4 * n_in,
        flops_per_row: 2 * n_in * n_out,
        ..Cost::default()
    };
    match *output {
        Output::Rows {
            epilogue,
            accumulate,
            ..
        } => {
            let n_written = map.n_out / epilogue.outputs_a_value();
            Cost {
                read_per_row: products.read_per_row + words(n_written * u32::from(accumulate)),
                written_per_row: words(n_written),
                ..products
            }
        }
        Output::Qkv(qkv) => products.plus(qkv.cost(map.n_out)),
    }
}

impl Qkv<'_> {
    /// The cost of rotating and storing `n_out` queries, keys and values.
    pub(super) fn cost(&self, n_out: u32) -> Cost {
        let head = 8 * self.heads.octets;
        let has_rope = u32::from(self.angles.is_some());
        let kv_heads = 2 * self.heads.n_kv_heads;
        let q_heads = (n_out / head).saturating_sub(kv_heads);
        let turned = head * (q_heads + self.heads.n_kv_heads) * has_rope;
        let row_bytes = self.kv_type.row_bytes(self.heads.octets as usize) as u64;
        Cost {
            read_per_row: words(head * has_rope),
            written_per_row: words(head * q_heads)
                + u64::from(kv_heads * self.n_cycles) * row_bytes,
            // Two products and a sum each.
            flops_per_row: u64::from(3 * turned),
            ..Cost::default()
        }
    }
}
