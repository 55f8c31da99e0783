// Numbers that are finite.

const LARGEST: f32 = 0x1.fffffep+127f;

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}
