// Sums over eight neighbouring lanes of a subgroup, which must have eight lanes or more.
// Every lane must call it, and every lane gets the sums of its eight.

fn sum_of_eight(values: vec2<f32>, lane: u32) -> vec2<f32> {
    var sums = values;
    sums += subgroupShuffleXor(sums, 1u);
    sums += subgroupShuffleXor(sums, 2u);
    sums += subgroupShuffleXor(sums, 4u);
    return sums;
}
