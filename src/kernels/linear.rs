//! Linear maps of listed rows: `matvec` for one row, `matmul` for many; each with everything in
//! buffers or with the weights in a texture, and each with rows of outputs or with outputs that
//! are queries, keys and values.

use wgpu::{Buffer, Features};

use super::{BatchKind, KvType, TEXTURE_LANES, bound, kernel, params, read, read_write, words};
use crate::gpu::{Access, Binding, Call, Cost, Kernel, KernelClass, Resource, Target};
use crate::model::quant::Quant;
use crate::model::tensor::Dtype;

params! {
    n_in_octets: u32,
    n_out: u32,
    weight_row: u32,
    first_output: u32,
    list: u32,
    has_bias: u32,
    n_cols: u32,
    eps: f32,
    y_stride: u32,
    accumulate: u32,
    n_heads: u32,
    n_kv_heads: u32,
    head_octets: u32,
    has_rope: u32,
    kv_places: u32,
    first_cycle: u32,
    n_cycles: u32,
}

pub(super) const PARAMS: &[(&str, usize)] = FIELDS;

const X_UNIFORM: Binding = bound("x", Access::Uniform);
const X_TEXTURE: Binding = bound("x", Access::FloatTexture);
const W_TEXTURE: Binding = bound("weights", Access::Texture);
const KV_TEXTURE: Binding = bound("kv", Access::WriteTextureArray);
const Q_TEXTURE: Binding = bound("q", Access::WriteTexture);
const NORM_UNIFORM: Binding = bound("norm", Access::Uniform);

#[rustfmt::skip]
mod declared {
    use super::*;

    const CORE: Features = Features::empty();
    const SUBGROUP: Features = Features::SUBGROUP;

    pub static MATVEC: Kernel = kernel!("gpu", "matvec", FIELDS, CORE, &[read("x"), read("weights"), read("bias"), read("rows"),
        read_write("y"), read("norm")]);
    pub static MATMUL: Kernel = kernel!("gpu", "matmul", FIELDS, CORE, &[read("x"), read("weights"), read("bias"), read("rows"),
        read_write("y")]);
    pub static MATVEC_SUBGROUP: Kernel = kernel!("gpu", "matvec_subgroup", FIELDS, SUBGROUP, &[read("x"), read("weights"), read("bias"),
        read("rows"), read_write("y"), read("norm")]);
    pub static QKV_MATVEC_SUBGROUP: Kernel = kernel!("gpu", "qkv_matvec_subgroup", FIELDS, SUBGROUP, &[read("x"), read("weights"),
        read("bias"), read("rows"), read("angles"), read_write("q"), read_write("kv"),
        read("norm")]);
    pub static MATVEC_TEXTURE: Kernel = kernel!("software", "matvec_texture", FIELDS, SUBGROUP, &[X_UNIFORM, W_TEXTURE, read("bias"),
        read("rows"), read_write("y"), NORM_UNIFORM]);
    pub static MATMUL_TEXTURE: Kernel = kernel!("software", "matmul_texture", FIELDS, SUBGROUP, &[X_TEXTURE, W_TEXTURE, read("bias"),
        read("rows"), read_write("y")]);
    pub static QKV_MATVEC: Kernel = kernel!("gpu", "qkv_matvec", FIELDS, CORE, &[read("x"), read("weights"), read("bias"), read("rows"),
        read("angles"), read_write("q"), read_write("kv"), read("norm")]);
    pub static QKV_MATMUL: Kernel = kernel!("gpu", "qkv_matmul", FIELDS, CORE, &[read("x"), read("weights"), read("bias"), read("rows"),
        read("angles"), read_write("q"), read_write("kv")]);
    pub static QKV_MATVEC_TEXTURE: Kernel = kernel!("software", "qkv_matvec_texture", FIELDS, SUBGROUP, &[X_UNIFORM, W_TEXTURE, read("bias"),
        read("rows"), read("angles"), Q_TEXTURE, KV_TEXTURE, NORM_UNIFORM]);
    pub static QKV_MATMUL_TEXTURE: Kernel = kernel!("software", "qkv_matmul_texture", FIELDS, SUBGROUP, &[X_TEXTURE, W_TEXTURE, read("bias"),
        read("rows"), read("angles"), Q_TEXTURE, KV_TEXTURE]);
}
pub use declared::*;

/// The function applied to the sums before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    None = 0,
    /// GELU in its tanh form.
    Gelu = 1,
    /// Outputs are (gate, up) pairs; half as many values `silu(gate) * up` are written.
    SwiGlu = 2,
}

/// The norm that a single row passes on its way in. Many rows come normed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputNorm {
    None = 0,
    Rms = 1,
    Layer = 2,
}

/// The value of the shaders' `WEIGHT_FORMAT`.
pub fn weight_format(dtype: Dtype) -> (&'static str, u32) {
    let format = match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 2,
        Dtype::Quantized(Quant::Q8_0) => 3,
        Dtype::Quantized(Quant::Q4_0) => 4,
    };
    ("WEIGHT_FORMAT", format)
}

/// Inputs of a linear map, besides the weights.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// f32 `[row][n_in]`
    pub x: &'a Buffer,
    /// Where [`pack_rows`](super::pack_rows) put the rows of `x`, where that is called for.
    pub packed: Resource<'a>,
    pub weights: Resource<'a>,
    /// f32 `[n_out]`
    pub bias: &'a Buffer,
    pub rows: &'a Buffer,
    /// f32 `[weights, biases][n_in]` of the norm.
    pub norm: &'a Buffer,
    pub input_norm: InputNorm,
}

/// Where outputs go.
#[derive(Clone, Copy)]
pub enum Output<'a> {
    /// f32 `[row][y_stride]`
    Rows {
        y: &'a Buffer,
        epilogue: Epilogue,
    },
    Qkv(Qkv<'a>),
}

/// Where queries, keys and values go.
#[derive(Clone, Copy)]
pub struct Qkv<'a> {
    /// Rotary angles of each position and pair: `[position][4 head_octets][cos, sin]`.
    pub angles: &'a Buffer,
    /// f32 `[row][head][8 head_octets]`, in a buffer or a texture.
    pub q: Resource<'a>,
    /// The KV cache in a buffer or a texture, as `shared/kv_cache.wgsl` describes it.
    pub kv: Resource<'a>,
    pub kv_type: KvType,
}

/// A matrix times the listed rows. All rows are padded to octets. With weights in a texture, one
/// row must be alone in its list, lie at the beginning of `x` and fit
/// [`UNIFORM_BYTES`](crate::gpu::UNIFORM_BYTES), and many rows must have been packed.
pub fn call<'a>(
    target: &Target,
    kind: BatchKind,
    dtype: Dtype,
    params: Params,
    operands: Operands<'a>,
    output: Output<'a>,
) -> Call<'a> {
    let in_texture = target.uses_textures();
    let is_one = kind == BatchKind::OneRow;
    let is_qkv = matches!(output, Output::Qkv(_));
    use KernelClass::{Software, Subgroup, Workgroup};
    let kernel = match (is_one, target.class, is_qkv) {
        (true, Subgroup, false) => &MATVEC_SUBGROUP,
        (true, Subgroup, true) => &QKV_MATVEC_SUBGROUP,
        (true, Workgroup, false) => &MATVEC,
        (true, Workgroup, true) => &QKV_MATVEC,
        (true, Software, false) => &MATVEC_TEXTURE,
        (true, Software, true) => &QKV_MATVEC_TEXTURE,
        (false, Subgroup | Workgroup, false) => &MATMUL,
        (false, Subgroup | Workgroup, true) => &QKV_MATMUL,
        (false, Software, false) => &MATMUL_TEXTURE,
        (false, Software, true) => &QKV_MATMUL_TEXTURE,
    };
    // Outputs and rows of a workgroup.
    let (outputs, rows_per_group, x) = match (is_one, in_texture) {
        (true, false) => (8, 1, Resource::Buffer(operands.x)),
        (true, true) => (8 * TEXTURE_LANES, 1, Resource::Uniform(operands.x)),
        (false, false) => (64, 32, Resource::Buffer(operands.x)),
        (false, true) => (8 * TEXTURE_LANES, 8, operands.packed),
    };
    let mut constants = vec![weight_format(dtype)];
    let mut resources = vec![
        x,
        operands.weights,
        Resource::Buffer(operands.bias),
        Resource::Buffer(operands.rows),
    ];
    match output {
        Output::Rows { y, epilogue } => {
            constants.push(("EPILOGUE", epilogue as u32));
            resources.push(Resource::Buffer(y));
        }
        Output::Qkv(qkv) => {
            constants.push(qkv.kv_type.constant());
            resources.extend([Resource::Buffer(qkv.angles), qkv.q, qkv.kv]);
        }
    }
    if in_texture {
        constants.push(("LANES", target.lanes()));
    }
    if is_one {
        constants.push(("NORM", operands.input_norm as u32));
        resources.push(match in_texture {
            true => Resource::Uniform(operands.norm),
            false => Resource::Buffer(operands.norm),
        });
    }
    Call {
        kernel,
        constants,
        params: bytemuck::bytes_of(&params).to_vec(),
        resources,
        x: params.n_out.div_ceil(outputs),
        rows_per_group,
        cost: cost(dtype, &params, operands.input_norm, &output),
    }
}

fn cost(dtype: Dtype, params: &Params, norm: InputNorm, output: &Output) -> Cost {
    let row_bytes = dtype.n_bytes(8 * params.n_in_octets as usize) as u64;
    let n_in = u64::from(8 * params.n_in_octets);
    let n_out = u64::from(params.n_out);
    let norm_vectors = match norm {
        InputNorm::None => 0,
        InputNorm::Rms => 1,
        InputNorm::Layer => 2,
    };
    let products = Cost {
        read: row_bytes * n_out + words(params.n_out * params.has_bias) + norm_vectors * 4 * n_in,
        read_per_row: 4 * n_in,
        flops_per_row: 2 * n_in * n_out,
        ..Cost::default()
    };
    match output {
        Output::Rows { epilogue, .. } => {
            let n_written = match epilogue {
                Epilogue::SwiGlu => params.n_out / 2,
                _ => params.n_out,
            };
            Cost {
                read_per_row: products.read_per_row + words(n_written * params.accumulate),
                written_per_row: words(n_written),
                ..products
            }
        }
        Output::Qkv(qkv) => products.plus(params.qkv_cost(qkv.kv_type)),
    }
}

impl Params {
    /// The cost of rotating and storing queries, keys and values.
    pub(super) fn qkv_cost(&self, kv_type: KvType) -> Cost {
        let head = 8 * self.head_octets;
        let kv_heads = 2 * self.n_kv_heads;
        let q_heads = (self.n_out / head).saturating_sub(kv_heads);
        let turned = head * (q_heads + self.n_kv_heads) * self.has_rope;
        Cost {
            read_per_row: words(head * self.has_rope),
            written_per_row: words(head * q_heads)
                + u64::from(head * kv_heads * self.n_cycles) * kv_type.n_bytes() as u64,
            // Two products and a sum each.
            flops_per_row: u64::from(3 * turned),
            ..Cost::default()
        }
    }
}
