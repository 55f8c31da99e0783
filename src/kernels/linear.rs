//! Matrix times listed rows: `matvec` for one row, `matmul` for many, each with the weights in a
//! buffer or in a texture.

use wgpu::Features;

use super::{
    Access, Binding, Call, Cost, Kernel, LANES, Resource, params, read, read_write, words,
};
use crate::model::tensor::Dtype;

params! {
    n_in_octets: u32,
    n_out: u32,
    weight_row: u32,
    y_stride: u32,
    y_column: u32,
    bias_at: u32,
    list: u32,
    has_bias: u32,
    accumulate: u32,
}

const BINDINGS: &[Binding] = &[
    read("x"),
    read("weights"),
    read("bias"),
    read("rows"),
    read_write("y"),
];

pub static MATVEC: Kernel = Kernel {
    name: "matvec",
    source: include_str!("../../shaders/matvec.wgsl"),
    bindings: BINDINGS,
    params: FIELDS,
    needs: Features::empty(),
};

pub static MATMUL: Kernel = Kernel {
    name: "matmul",
    source: include_str!("../../shaders/matmul.wgsl"),
    bindings: BINDINGS,
    params: FIELDS,
    needs: Features::empty(),
};

const fn texture_bindings(x: Access) -> [Binding; 5] {
    [
        Binding {
            name: "x",
            access: x,
        },
        Binding {
            name: "weights",
            access: Access::Texture,
        },
        read("bias"),
        read("rows"),
        read_write("y"),
    ]
}

pub static MATVEC_TEXTURE: Kernel = Kernel {
    name: "matvec_texture",
    source: include_str!("../../shaders/matvec_texture.wgsl"),
    bindings: &texture_bindings(Access::Uniform),
    params: FIELDS,
    needs: Features::empty(),
};

pub static MATMUL_TEXTURE: Kernel = Kernel {
    name: "matmul_texture",
    source: include_str!("../../shaders/matmul_texture.wgsl"),
    bindings: &texture_bindings(Access::FloatTexture),
    params: FIELDS,
    needs: Features::empty(),
};

/// What happens to the sums before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    None = 0,
    /// GELU in its tanh form.
    Gelu = 1,
    /// Outputs are (gate, up) pairs; half as many values `silu(gate) * up` are written.
    SwiGlu = 2,
}

/// How many rows come at a time, which decides between the two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    One,
    Many,
}

/// The value of the shaders' `WEIGHT_FORMAT`.
pub fn weight_format(dtype: Dtype) -> (&'static str, u32) {
    let format = match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 2,
    };
    ("WEIGHT_FORMAT", format)
}

/// Outputs of one invocation.
const OUTPUTS: u32 = 4;
const MATMUL_TEXTURE_OUTPUTS: u32 = 8;

/// What a linear map works on, besides the weights.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    pub x: &'a wgpu::Buffer,
    /// Where [`pack_rows`](super::pack_rows) put the rows of `x`: for many rows and weights in a texture.
    pub packed: &'a wgpu::TextureView,
    pub bias: &'a wgpu::Buffer,
    pub rows: &'a wgpu::Buffer,
    pub y: &'a wgpu::Buffer,
}

/// A matrix times the listed rows. With weights in a texture, one row must be alone in its list,
/// lie at the beginning of `x` and fit [`UNIFORM_BYTES`](super::UNIFORM_BYTES), and many rows must
/// have been packed.
pub fn call<'a>(
    batch: Batch,
    dtype: Dtype,
    epilogue: Epilogue,
    params: Params,
    weights: Resource<'a>,
    operands: Operands<'a>,
) -> Call<'a> {
    let in_texture = matches!(weights, Resource::Texture(_));
    let (kernel, rows_per_group, outputs, x) = match (batch, in_texture) {
        (Batch::One, false) => (&MATVEC, 1, OUTPUTS, Resource::Buffer(operands.x)),
        (Batch::Many, false) => (&MATMUL, 4, OUTPUTS, Resource::Buffer(operands.x)),
        (Batch::One, true) => (&MATVEC_TEXTURE, 1, OUTPUTS, Resource::Uniform(operands.x)),
        (Batch::Many, true) => (
            &MATMUL_TEXTURE,
            8,
            MATMUL_TEXTURE_OUTPUTS,
            Resource::Texture(operands.packed),
        ),
    };
    Call {
        kernel,
        constants: vec![weight_format(dtype), ("EPILOGUE", epilogue as u32)],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: vec![
            x,
            weights,
            Resource::Buffer(operands.bias),
            Resource::Buffer(operands.rows),
            Resource::Buffer(operands.y),
        ],
        x: params.n_out.div_ceil(outputs * LANES),
        rows_per_group,
        cost: cost(dtype, epilogue, &params),
    }
}

fn cost(dtype: Dtype, epilogue: Epilogue, params: &Params) -> Cost {
    let n_in = u64::from(8 * params.n_in_octets);
    let n_out = u64::from(params.n_out);
    let n_written = match epilogue {
        Epilogue::SwiGlu => params.n_out / 2,
        _ => params.n_out,
    };
    Cost {
        read: n_in * n_out * dtype.n_bytes() as u64 + words(params.n_out * params.has_bias),
        read_per_row: 4 * n_in + words(n_written * params.accumulate),
        written_per_row: words(n_written),
        flops_per_row: 2 * n_in * n_out,
        ..Cost::default()
    }
}
