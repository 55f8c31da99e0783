// y[row] = epilogue(weights x[row] + bias), for many rows, weights and x in textures.

#import shared/linear
#import shared/store_rows
#import shared/matmul_texture
