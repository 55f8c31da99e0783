// Sums over eight neighbouring lanes, by way of workgroup memory, in a fixed order.
// Every lane must call it, and every lane gets the sums of its eight.
// Expects `eights: array<vec2<f32>, 64>` in workgroup memory.

fn sum_of_eight(values: vec2<f32>, lane: u32) -> vec2<f32> {
    eights[lane] = values;
    workgroupBarrier();
    let first = lane / 8u * 8u;
    var sums = eights[first];
    for (var i = 1u; i < 8u; i++) {
        sums += eights[first + i];
    }
    workgroupBarrier();
    return sums;
}
