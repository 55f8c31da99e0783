// y[row] = epilogue(weights norm(x[row]) + bias), for one row, weights in a texture.

#import shared/linear
#import shared/store_rows

@group(0) @binding(6) var<uniform> norm: array<vec4<f32>, 4096>;

#import shared/matvec_texture
