// A planted fault: a variable that is indexed by numbers known only at run time, and too large for
// registers.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var counts: array<f32, 128>;
    for (var i = 0u; i < x[0]; i++) {
        counts[x[i + id.x] % 128u] += 1.0;
    }
    y[id.x] = counts[x[id.x] % 128u];
}
