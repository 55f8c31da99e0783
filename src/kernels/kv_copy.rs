//! Keys and values of one cycle to the cycles after it.

use wgpu::{Buffer, Features};

use super::{KvType, LANES, TEXTURE_LANES, bound, kernel, params, read, read_write, words};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};

params! {
    n_kv_heads: u32,
    kv_places: u32,
    head_octets: u32,
    list: u32,
    cycle: u32,
    n_copies: u32,
}

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "kv_copy",
    FIELDS,
    Features::empty(),
    &[read("rows"), read_write("kv")]
);

pub static TEXTURE: Kernel = kernel!(
    "software",
    "kv_copy_texture",
    FIELDS,
    Features::empty(),
    &[
        read("rows"),
        bound("kv_from", Access::TextureArray),
        bound("kv_to", Access::WriteTextureArray),
    ]
);

/// `kv`: the cache as it is read, and as it is written; in textures no layer is in both, a buffer is
/// bound once.
pub fn call<'a>(
    target: &Target,
    kv_type: KvType,
    params: Params,
    rows: &'a Buffer,
    [from, to]: [Resource<'a>; 2],
) -> Call<'a> {
    let n_octets = 2 * params.n_kv_heads * params.head_octets;
    let n_words = n_octets * 8 * kv_type.n_bytes() as u32 / 4;
    let rows = Resource::Buffer(rows);
    let (kernel, lanes, resources) = match target.uses_textures() {
        true => (&TEXTURE, TEXTURE_LANES, vec![rows, from, to]),
        false => (&KERNEL, LANES, vec![rows, to]),
    };
    Call {
        kernel,
        constants: vec![kv_type.constant()],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources,
        x: n_octets.div_ceil(lanes),
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(n_words),
            written_per_row: words(n_words * params.n_copies),
            ..Cost::default()
        },
    }
}
