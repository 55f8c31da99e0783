// Copies keys and values to later cycles, the KV cache in a buffer.

#import shared/kv_copy

@group(0) @binding(2) var<storage, read_write> kv: array<vec4<u32>>;

fn copy_octet(part: u32, head: u32, place: u32, octet: u32) {
    let width = octet_width();
    let source = width * kv_index(params.cycle, part, head, place, octet);
    for (var i = 1u; i <= params.n_copies; i++) {
        let to = width * kv_index(params.cycle + i, part, head, place, octet);
        for (var j = 0u; j < width; j++) {
            kv[to + j] = kv[source + j];
        }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    copy_listed(group.y, id.x);
}
