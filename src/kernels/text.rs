//! Composing a shader from its file and the shared text it imports.

/// Texts of `shaders/shared/` by the names that imports use.
macro_rules! shared {
    ($($name:literal,)*) => {
        &[$((
            concat!("shared/", $name),
            include_str!(concat!("../../shaders/shared/", $name, ".wgsl")),
        ),)*]
    };
}

/// Text that shaders import, by name.
const SHARED: &[(&str, &str)] = shared![
    "activation",
    "attention",
    "attention_tile",
    "draw_rule",
    "finite",
    "four_rows",
    "group_sums_subgroup",
    "group_sums_workgroup",
    "head_norm",
    "history",
    "item_softmax",
    "item_tile",
    "kv_buffer",
    "kv_get_texture",
    "kv_put_buffer",
    "kv_put_pairs",
    "kv_q8",
    "kv_texture",
    "kv_words",
    "lane_norm",
    "lanes",
    "logit_keys",
    "matvec_rows",
    "matvec_units",
    "normed",
    "octet",
    "online_softmax",
    "output_pair",
    "outputs",
    "q8_get",
    "q8_put_texture",
    "q8_round",
    "q8_store",
    "q_put_buffer",
    "qkv",
    "qkv_put_texture",
    "quartet",
    "race",
    "radix_select",
    "row_moments",
    "rows",
    "soft_cap",
    "store_heads",
    "weight_format",
    "weights",
    "weights_texture",
    "workgroup_sum",
];

/// `source` with every line `#import NAME` replaced by the text of that name, after a line that says
/// where it is from.
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
                out.push_str(&format!("// from {}\n", name.trim()));
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
