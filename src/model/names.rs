//! Names of tensors without the prefixes of training programs.

/// Modules that hold nothing but another module: of `torch.compile`, data parallel training,
/// sharded training, activation checkpoints, and a trainer's strategies. No family has parts of
/// these names.
const WRAPPERS: [&str; 5] = [
    "_orig_mod",
    "module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
];

/// The families' names of the model without its output projection.
const BASES: [&str; 2] = ["model", "transformer"];

/// Names of the base model, and of parts beside it: a base before one of these is one too many.
const ROOTS: [&str; 4] = ["model", "transformer", "lm_head", "zero_token_pool"];

/// The name that the tensor stored as `name` has in a checkpoint of the bare model.
pub fn bare(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
    let parts: Vec<&str> = parts.collect();
    let mut rest = parts.as_slice();
    while let [first, second, ..] = rest
        && BASES.contains(first)
        && ROOTS.contains(second)
    {
        rest = &rest[1..];
    }
    rest.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_and_doubled_bases_are_read_away() {
        for (stored, expected) in [
            ("_orig_mod.model.norm.weight", "model.norm.weight"),
            ("module.lm_head.weight", "lm_head.weight"),
            (
                "module._orig_mod.model.layers.0.mlp.up_proj.weight",
                "model.layers.0.mlp.up_proj.weight",
            ),
            (
                "_orig_mod.module.transformer.h.0.ln_1.bias",
                "transformer.h.0.ln_1.bias",
            ),
            (
                "model._orig_mod.layers.1.mlp.up_proj.weight",
                "model.layers.1.mlp.up_proj.weight",
            ),
            (
                "model.layers.1._orig_mod.mlp.up_proj.weight",
                "model.layers.1.mlp.up_proj.weight",
            ),
            (
                "model.model.embed_tokens.weight",
                "model.embed_tokens.weight",
            ),
            ("model.model.model.norm.weight", "model.norm.weight"),
            (
                "module.model._orig_mod.model.norm.weight",
                "model.norm.weight",
            ),
            ("model.lm_head.weight", "lm_head.weight"),
            ("model.transformer.wte.weight", "transformer.wte.weight"),
            ("_orig_mod.zero_token_pool.key", "zero_token_pool.key"),
            ("model.zero_token_pool.key", "zero_token_pool.key"),
            (
                "_orig_mod.layers.0.mlp.up_proj.weight",
                "layers.0.mlp.up_proj.weight",
            ),
        ] {
            assert_eq!(bare(stored), expected, "{stored}");
        }
        for name in [
            "model.norm.weight",
            "lm_head.weight",
            "h.0.ln_1.bias",
            "wte.weight",
            "modules.a",
            "",
        ] {
            assert_eq!(bare(name), name);
        }
    }
}
