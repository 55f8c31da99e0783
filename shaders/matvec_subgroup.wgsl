// y[row] = epilogue(weights norm(x[row]) + bias), for few rows.
// Lanes exchange their sums within a subgroup.

#import shared/linear
#import shared/store_rows

@group(0) @binding(6) var<storage, read> norm: array<vec4<f32>>;

#import shared/sum_of_eight_subgroup
#import shared/matvec
