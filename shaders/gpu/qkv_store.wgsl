// Queries, keys and values from projected rows: queries and keys pass a norm of their own.
// One workgroup stands for whole heads of a listed row, a lane for eight values of one.

struct Params {
    // Outputs, and which of the queries, keys and values the first one is, a multiple of eight.
    n_out: u32,
    first_output: u32,
    list: u32,
    // Values from one row of `projected` to the next.
    stride: u32,
    // Of the norm: values of a head without padding, and what is added to the mean square.
    head_dim: u32,
    eps: f32,
    // Places of the cache, and the cycles that are written.
    kv_places: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>; // [row][stride / 4]
// [query, key][2 HEAD_OCTETS], or of all heads together [query heads, key heads][2 HEAD_OCTETS]
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(4) var<storage, read> angles: array<vec4<f32>>; // [position][pair] cos, sin
// Queries, [row][head][8 HEAD_OCTETS].
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> kv: array<vec2<u32>>; // see `shared/kv_buffer`

override KV_FORMAT: u32 = 0u; // 0 f32 (four pairs of words an octet), 1 f16 (two), 2 q8_0
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override HAS_ROPE: u32 = 0u;
// 0 none; of each head 1 before the rotary embedding, 2 after it; of all heads together 3 and 4
override QK_NORM: u32 = 0u;

#import shared/rows
#import shared/octet
#import shared/kv_buffer
#import shared/kv_q8
#import shared/q_put_buffer
#import shared/kv_put_pairs
#import shared/qkv
#import shared/workgroup_sum
#import shared/head_norm
#import shared/q8_round
#import shared/q8_store
#import shared/store_heads

const WORKGROUP_SIZE: u32 = 64u;

var<workgroup> lane_values: array<f32, 64>;
var<workgroup> lane_pairs: array<vec2<u32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    store_heads(listed(params.list, group.y), group.x, lane);
}
