// Copies keys and values to later cycles, the KV cache in a texture.
// `kv_from` shows the layers of the cycle copied alone, `kv_to` those of the cycles after it.

#import shared/kv_copy

@group(0) @binding(2) var kv_from: texture_storage_2d_array<rgba32uint, read>;
@group(0) @binding(3) var kv_to: texture_storage_2d_array<rgba32uint, write>;

fn copy_octet(part: u32, head: u32, place: u32, octet: u32) {
    let width = octet_width();
    let texel = kv_texel(head, place, octet);
    for (var j = 0u; j < width; j++) {
        let at = vec2<u32>(width * texel.x + j, texel.y);
        let value = textureLoad(kv_from, at, part);
        for (var i = 0u; i < params.n_copies; i++) {
            textureStore(kv_to, at, 2u * i + part, value);
        }
    }
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    copy_listed(group.y, id.x);
}
