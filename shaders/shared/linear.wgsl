// What `matvec` and `matmul` read: activations and weights, both in buffers.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [row][2 n_in_octets]
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>; // [row of weights][n_in_octets]

#import shared/epilogue
#import shared/octet
#import shared/weights
