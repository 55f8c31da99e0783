// A planted fault: 320 values of a lane that all must be kept until the last one is known.

@group(0) @binding(0) var<storage, read> x: array<mat4x4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<mat4x4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let at = 20u * id.x;
    let m0 = x[at + 0u];
    let m1 = x[at + 1u];
    let m2 = x[at + 2u];
    let m3 = x[at + 3u];
    let m4 = x[at + 4u];
    let m5 = x[at + 5u];
    let m6 = x[at + 6u];
    let m7 = x[at + 7u];
    let m8 = x[at + 8u];
    let m9 = x[at + 9u];
    let m10 = x[at + 10u];
    let m11 = x[at + 11u];
    let m12 = x[at + 12u];
    let m13 = x[at + 13u];
    let m14 = x[at + 14u];
    let m15 = x[at + 15u];
    let m16 = x[at + 16u];
    let m17 = x[at + 17u];
    let m18 = x[at + 18u];
    let m19 = x[at + 19u];
    let sum = m0 + m1 + m2 + m3 + m4 + m5 + m6 + m7 + m8 + m9
        + m10 + m11 + m12 + m13 + m14 + m15 + m16 + m17 + m18 + m19;
    let scale = determinant(sum);
    y[at + 0u] = m0 * scale;
    y[at + 1u] = m1 * scale;
    y[at + 2u] = m2 * scale;
    y[at + 3u] = m3 * scale;
    y[at + 4u] = m4 * scale;
    y[at + 5u] = m5 * scale;
    y[at + 6u] = m6 * scale;
    y[at + 7u] = m7 * scale;
    y[at + 8u] = m8 * scale;
    y[at + 9u] = m9 * scale;
    y[at + 10u] = m10 * scale;
    y[at + 11u] = m11 * scale;
    y[at + 12u] = m12 * scale;
    y[at + 13u] = m13 * scale;
    y[at + 14u] = m14 * scale;
    y[at + 15u] = m15 * scale;
    y[at + 16u] = m16 * scale;
    y[at + 17u] = m17 * scale;
    y[at + 18u] = m18 * scale;
    y[at + 19u] = m19 * scale;
}
