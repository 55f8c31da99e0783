//! Composing a shader from its file and the shared text it imports.

macro_rules! shared {
    ($name:literal) => {
        (
            concat!("shared/", $name),
            include_str!(concat!("../../shaders/shared/", $name, ".wgsl")),
        )
    };
}

/// Text that shaders import, by name.
const SHARED: &[(&str, &str)] = &[
    shared!("attention"),
    shared!("fixed_point"),
    shared!("history"),
    shared!("kv_cache"),
    shared!("kv_copy"),
    shared!("kv_get_buffer"),
    shared!("kv_get_texture"),
    shared!("kv_put_buffer"),
    shared!("kv_put_texture"),
    shared!("lanes"),
    shared!("linear"),
    shared!("logit_keys"),
    shared!("matmul"),
    shared!("matmul_texture"),
    shared!("matvec"),
    shared!("matvec_texture"),
    shared!("normed"),
    shared!("octet"),
    shared!("probe_params"),
    shared!("qkv_octet"),
    shared!("qkv_store"),
    shared!("quad"),
    shared!("quartet"),
    shared!("radix_select"),
    shared!("read_texels"),
    shared!("rows"),
    shared!("split"),
    shared!("store_qkv"),
    shared!("store_rows"),
    shared!("sum_of_eight"),
    shared!("sum_of_eight_subgroup"),
    shared!("weights"),
    shared!("weights_texture"),
    shared!("workgroup_sum"),
];

/// `source` with every line `#import NAME` replaced by the text of that name.
///
/// # Panics
/// When a shader imports what does not exist: a mistake in this crate, which a test finds.
pub fn compose(source: &str) -> String {
    let mut out = String::new();
    for line in source.lines() {
        match line.strip_prefix("#import ") {
            Some(name) => {
                let text = SHARED.iter().find(|(n, _)| *n == name.trim());
                let (_, text) = text.unwrap_or_else(|| panic!("no shared shader `{name}`"));
                out.push_str(&compose(text));
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}
