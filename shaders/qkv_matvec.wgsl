// Queries, keys and values of few rows from their norm(x).

#import shared/linear
#import shared/kv_cache
#import shared/kv_put_buffer
#import shared/store_qkv

@group(0) @binding(8) var<storage, read> norm: array<vec4<f32>>;

#import shared/sum_of_eight
#import shared/matvec
