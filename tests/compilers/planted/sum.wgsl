// A kernel without fault, of which the promises are broken: three bytes are fetched for each byte
// of weights.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

// Which promise is broken.
override CASE: u32 = 0u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = vec4<f32>(f32(CASE));
    for (var i = id.x; i < arrayLength(&weights); i += 64u) {
        let scales = vec4<f32>(weights[i]);
        sum = fma(scales, x[2u * i], sum);
        sum = fma(scales, x[2u * i + 1u], sum);
    }
    y[id.x] = sum;
}
