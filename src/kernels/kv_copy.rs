//! Keys and values of one cycle to the cycles after it: `kv_copy` and `kv_copy_texture`.

use wgpu::{Buffer, Features};

use super::{
    Heads, KvType, TEXTURE_WORKGROUP_SIZE, WORKGROUP_SIZE, bound, kernel, params, read, read_write,
    words,
};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};
use crate::kernels::kv_format;

params! {
    Params {
        kv_places: u32,
        list: u32,
        cycle: u32,
        n_copies: u32,
    }
}

params! {
    TextureParams {
        kv_places_log2: u32,
        list: u32,
        n_copies: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "kv_copy",
    Params::FIELDS,
    Features::empty(),
    &[read("rows"), read_write("kv")]
);

pub static TEXTURE: Kernel = kernel!(
    "software",
    "kv_copy_texture",
    TextureParams::FIELDS,
    Features::empty(),
    &[
        read("rows"),
        bound("kv_from", Access::TextureArray),
        bound("kv_to", Access::WriteTextureArray),
    ]
);

/// A layer's cache, and what is copied in it.
#[derive(Clone, Copy)]
pub struct Cache<'a> {
    pub kv_type: KvType,
    pub heads: Heads,
    /// Places of the cache, in a texture the logarithm of those in a row of texels.
    pub places: u32,
    /// The cycle that is copied, and the number of cycles after it that get its copy.
    pub cycle: u32,
    pub n_copies: u32,
    /// The cache as it is read, and as it is written; in textures no layer is in both, a buffer is
    /// bound once.
    pub kv: [Resource<'a>; 2],
}

/// The copies of the rows in `list`.
pub fn call<'a>(target: &Target, cache: Cache<'a>, rows: &'a Buffer, list: u32) -> Call<'a> {
    let Cache {
        kv_type,
        heads,
        cycle,
        n_copies,
        kv: [from, to],
        ..
    } = cache;
    let n_rows = 2 * heads.n_kv_heads;
    let n_octets = heads.octets as usize;
    let row_bytes = kv_type.row_bytes(n_octets) as u32;
    let n_words = n_rows * row_bytes / 4;
    let rows = Resource::Buffer(rows);
    let (kernel, x, resources, params) = match target.uses_textures() {
        // An invocation copies a texel.
        true => {
            let n_texels = n_rows * kv_type.row_texels(n_octets) as u32;
            let params = TextureParams {
                kv_places_log2: cache.places,
                list,
                n_copies,
            };
            let resources = vec![rows, from, to];
            let x = n_texels.div_ceil(TEXTURE_WORKGROUP_SIZE);
            (&TEXTURE, x, resources, params.bytes())
        }
        // An invocation copies a pair of words.
        false => {
            let params = Params {
                kv_places: cache.places,
                list,
                cycle,
                n_copies,
            };
            let x = (n_words / 2).div_ceil(WORKGROUP_SIZE);
            (&KERNEL, x, vec![rows, to], params.bytes())
        }
    };
    Call {
        kernel,
        constants: vec![
            kv_format(kv_type),
            ("N_KV_HEADS", heads.n_kv_heads),
            ("HEAD_OCTETS", heads.octets),
        ],
        params,
        resources,
        x,
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(n_words),
            written_per_row: words(n_words * n_copies),
            ..Cost::default()
        },
    }
}
