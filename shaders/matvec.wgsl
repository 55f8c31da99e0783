// y[row] = epilogue(weights norm(x[row]) + bias), for few rows.

#import shared/linear
#import shared/store_rows

@group(0) @binding(6) var<storage, read> norm: array<vec4<f32>>;

#import shared/sum_of_eight
#import shared/matvec
