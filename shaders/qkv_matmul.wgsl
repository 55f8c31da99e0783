// Queries, keys and values of many rows from their x.

#import shared/linear
#import shared/kv_cache
#import shared/kv_put_buffer
#import shared/store_qkv
#import shared/matmul
