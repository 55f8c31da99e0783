// The sum of one value a lane over the lanes of a workgroup, in a fixed order.
// Every lane must call it, and every lane gets the sum.
// Expects `WORKGROUP_SIZE`, a power of two, and `lane_values: array<f32>` in workgroup memory.

fn workgroup_sum(value: f32, lane: u32) -> f32 {
    lane_values[lane] = value;
    workgroupBarrier();
    for (var n = WORKGROUP_SIZE / 2u; n > 0u; n >>= 1u) {
        if lane < n {
            lane_values[lane] += lane_values[lane + n];
        }
        workgroupBarrier();
    }
    let sum = lane_values[0];
    workgroupBarrier();
    return sum;
}
