// Queries, keys and values of one row from its norm(x), weights and KV cache in textures.

#import shared/linear
#import shared/kv_cache
#import shared/kv_put_texture
#import shared/store_qkv

@group(0) @binding(8) var<uniform> norm: array<vec4<f32>, 4096>;

#import shared/matvec_texture
