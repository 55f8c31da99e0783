// A planted fault: loads of two bytes.

enable f16;

@group(0) @binding(0) var<storage, read> x: array<f16>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = 0.0;
    for (var i = id.x; i < arrayLength(&x); i += 64u) {
        sum += f32(x[i]);
    }
    y[id.x] = sum;
}
