// The sum of one value a lane over the 64 lanes of a workgroup, in a fixed order.
// Every lane must call it, and every lane gets the sum.
// Expects `lane_values: array<f32, 64>` in workgroup memory.

const WORKGROUP_SIZE: u32 = 64u;

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
