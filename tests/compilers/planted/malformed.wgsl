// A planted fault: a kernel that is no WGSL.

@compute @workgroup_size(64)
fn main() {
    let x = ;
}
