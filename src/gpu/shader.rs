//! Composing a shader from its file and the shared text it imports.

/// Text that shaders import, by name.
const SHARED: &[(&str, &str)] = &[
    (
        "shared/kv_cache",
        include_str!("../../shaders/shared/kv_cache.wgsl"),
    ),
    (
        "shared/kv_read",
        include_str!("../../shaders/shared/kv_read.wgsl"),
    ),
    (
        "shared/linear",
        include_str!("../../shaders/shared/linear.wgsl"),
    ),
    (
        "shared/probe_params",
        include_str!("../../shaders/shared/probe_params.wgsl"),
    ),
    (
        "shared/rows",
        include_str!("../../shaders/shared/rows.wgsl"),
    ),
    (
        "shared/epilogue",
        include_str!("../../shaders/shared/epilogue.wgsl"),
    ),
    (
        "shared/octet",
        include_str!("../../shaders/shared/octet.wgsl"),
    ),
    (
        "shared/quad",
        include_str!("../../shaders/shared/quad.wgsl"),
    ),
    (
        "shared/weights_texture",
        include_str!("../../shaders/shared/weights_texture.wgsl"),
    ),
    (
        "shared/weights",
        include_str!("../../shaders/shared/weights.wgsl"),
    ),
    (
        "shared/workgroup_sum",
        include_str!("../../shaders/shared/workgroup_sum.wgsl"),
    ),
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
