// x[row] = multiplier * embedding of the row's token (+ the learned vector of its position)
// One invocation stands for eight values of one row. Rows whose tokens `weights` does not hold are
// computed by the dispatch whose `weights` does.

struct Params {
    n_octets: u32,
    // `weights` holds the tokens first_token .. first_token + n_tokens - 1.
    first_token: u32,
    n_tokens: u32,
    list: u32,
    multiplier: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>; // [row]
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>; // see `shared/weights`
@group(0) @binding(3) var<storage, read> positions: array<vec4<f32>>; // [position][2 n_octets]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> x: array<vec4<f32>>; // [row][2 n_octets]

override HAS_POSITIONS: u32 = 0u; // 1: positions have learned vectors
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0

#import shared/rows
#import shared/octet
#import shared/weight_format
#import shared/weights

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    if group.y >= n_listed(params.list) || id.x >= params.n_octets {
        return;
    }
    let row = listed(params.list, group.y);
    let token = ids[row] - params.first_token; // wraps round below first_token
    if token >= params.n_tokens {
        return;
    }
    var octet = scaled(weight_octet(token, id.x, params.n_octets), params.multiplier);
    if HAS_POSITIONS == 1u {
        let at = 2u * (position_of(row) * params.n_octets + id.x);
        octet.low += positions[at];
        octet.high += positions[at + 1u];
    }
    let to = 2u * (row * params.n_octets + id.x);
    x[to] = octet.low;
    x[to + 1u] = octet.high;
}
