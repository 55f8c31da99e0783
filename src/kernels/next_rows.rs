//! Tokens and positions of the rows that go on from a token drawn on the device.

use wgpu::Features;

use super::{kernel, params, read, read_write, row_call};
use crate::gpu::{Call, Cost, Kernel};

params! {
    Params {
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "next_rows",
    Params::FIELDS,
    Features::empty(),
    &[read("history"), read_write("rows"), read_write("ids")]
);

/// The id of a row that goes on from the token drawn last.
pub const FROM_HISTORY: u32 = u32::MAX;

/// One workgroup. `buffers`: history, rows, ids.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 3]) -> Call<'_> {
    row_call(&KERNEL, params.bytes(), &buffers, Cost::default())
}
