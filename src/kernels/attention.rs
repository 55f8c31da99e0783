//! Attention over the cache and the zero token, tiled over rows and query heads.

use wgpu::Features;

use super::{Call, Cost, Kernel, KvType, on_buffers, params, read, read_write, words};

params! {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    head_stride: u32,
    n_ctx: u32,
    heads_per_tile: u32,
    rows_per_tile: u32,
    cycle: u32,
    list: u32,
    out_stride: u32,
    scale: f32,
    has_zero: u32,
    zero_key: u32,
    zero_value: u32,
    pool_heads: u32,
    window: u32,
    writes_partials: u32,
    layer: u32,
    n_layers: u32,
}

pub static KERNEL: Kernel = Kernel {
    name: "attention",
    source: include_str!("../../shaders/attention.wgsl"),
    bindings: &[
        read("q"),
        read("kv"),
        read("pool"),
        read("rows"),
        read_write("out"),
        read_write("partials"),
    ],
    params: FIELDS,
    needs: Features::empty(),
};

/// Query vectors that a workgroup holds at most.
const MAX_ITEMS: u32 = 8;

/// How the query vectors of `n_heads` heads over `n_kv_heads` are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Neighbouring query heads of one KV head in a workgroup.
    pub heads_per_tile: u32,
    /// Rows in a workgroup.
    pub rows_per_tile: u32,
    /// Workgroups a row, and so partial sums of zero attention a row and layer.
    pub n_parts: u32,
}

impl Tiling {
    /// The tiling of a decode step (one row) or of a prefill (many rows). The partial sums are
    /// the same in both, so that scores are too.
    pub fn new(n_heads: u32, n_kv_heads: u32, many_rows: bool) -> Self {
        let group = n_heads / n_kv_heads;
        let tiles = group.div_ceil(MAX_ITEMS);
        let heads_per_tile = group.div_ceil(tiles);
        Self {
            heads_per_tile,
            rows_per_tile: match many_rows {
                true => MAX_ITEMS / heads_per_tile,
                false => 1,
            },
            n_parts: n_kv_heads * group.div_ceil(heads_per_tile),
        }
    }
}

/// `buffers`: q, kv, pool, rows, out, partials. `params` holds the tiling's numbers already.
pub fn call<'a>(
    kv_type: KvType,
    tiling: Tiling,
    params: Params,
    buffers: [&'a wgpu::Buffer; 6],
) -> Call<'a> {
    let items = tiling.heads_per_tile * tiling.rows_per_tile;
    let queries = u64::from(params.n_heads * params.head_dim);
    let keys = u64::from(params.n_kv_heads * params.head_dim);
    Call {
        kernel: &KERNEL,
        constants: vec![
            kv_type.constant(),
            ("ITEMS", items),
            ("HEAD_OCTETS", params.head_stride / 8),
        ],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: on_buffers(&buffers),
        x: tiling.n_parts,
        rows_per_group: tiling.rows_per_tile,
        cost: Cost {
            // The zero token's key, and the queries' way in and out.
            read: match params.has_zero {
                1 => words(params.pool_heads * params.head_dim),
                _ => 0,
            },
            read_per_row: 4 * queries,
            written_per_row: 4 * queries,
            read_per_key: 2 * keys * kv_type.n_bytes() as u64,
            flops_per_row: 2 * queries * u64::from(params.has_zero),
            flops_per_pair: 4 * queries,
            window: match params.window {
                u32::MAX => 0,
                window => window.into(),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_head_is_in_exactly_one_tile() {
        for n_kv_heads in 1..5 {
            for group in 1..40 {
                let tiling = Tiling::new(group * n_kv_heads, n_kv_heads, true);
                let items = tiling.heads_per_tile * tiling.rows_per_tile;
                assert!((1..=MAX_ITEMS).contains(&items));
                // The shader counts tiles in the same way.
                let tiles = group.div_ceil(tiling.heads_per_tile);
                assert_eq!(tiling.n_parts, n_kv_heads * tiles);
                assert!(tiles * tiling.heads_per_tile >= group);
                assert!((tiles - 1) * tiling.heads_per_tile < group);
            }
        }
    }
}
