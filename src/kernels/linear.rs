//! Matrix times listed rows: `matvec` for few rows, `matmul` for many.

use wgpu::Features;

use super::{Binding, Call, Cost, Kernel, LANES, on_buffers, params, read, read_write, words};
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

/// Outputs of one invocation, in both kernels.
const OUTPUTS: u32 = 4;

/// `buffers`: x, weights, bias, rows, y.
pub fn call<'a>(
    batch: Batch,
    dtype: Dtype,
    epilogue: Epilogue,
    params: Params,
    buffers: [&'a wgpu::Buffer; 5],
) -> Call<'a> {
    let (kernel, rows_per_group) = match batch {
        Batch::One => (&MATVEC, 1),
        Batch::Many => (&MATMUL, 4),
    };
    Call {
        kernel,
        constants: vec![weight_format(dtype), ("EPILOGUE", epilogue as u32)],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: on_buffers(&buffers),
        x: params.n_out.div_ceil(OUTPUTS * LANES),
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
