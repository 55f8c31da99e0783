// Queries, keys and values of many rows from their x; weights, x and KV cache in textures.

#import shared/linear
#import shared/kv_cache
#import shared/kv_put_texture
#import shared/store_qkv
#import shared/matmul_texture
