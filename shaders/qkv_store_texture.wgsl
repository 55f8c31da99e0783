// Queries, keys and values from projected rows: query and key heads pass a norm of their own.
// The KV cache is in a texture.

#import shared/linear
#import shared/kv_cache
#import shared/kv_put_texture
#import shared/qkv_octet
#import shared/qkv_store
