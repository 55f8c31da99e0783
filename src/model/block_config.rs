//! The blocks of a model, off its family's table and its `config.json`.

use super::block::{Attention, Block, Mlp};
use super::family::{Bias, Family, PositionKind, Window};
use super::json::Object;
use super::role::Role;
use crate::error::Result;

/// The block of each of `n_layers` parameter layers.
pub(super) fn parse_blocks(
    json: &Object,
    family: &Family,
    n_layers: usize,
    head_dim: usize,
    mlp: Mlp,
) -> Result<Vec<Block>> {
    let block = |window: Option<usize>| Block {
        attention: Attention {
            scale: 1.0 / (head_dim as f64).sqrt(),
            soft_cap: None,
            qk_norm: family.qk_norm,
            window,
            rope: (family.position == PositionKind::Rope).then_some(0),
        },
        attention_norms: family.norms,
        mlp,
        mlp_norms: family.norms,
        residual_multiplier: 1.0,
    };
    let windows = parse_windows(json, family, n_layers)?;
    Ok(windows.into_iter().map(block).collect())
}

/// The roles whose linear maps have a bias.
pub(super) fn parse_biases(json: &Object, family: &Family) -> Result<Vec<Role>> {
    let mut biases = Vec::new();
    for &(role, bias) in family.biases {
        let has_bias = match bias {
            Bias::Always => true,
            Bias::Flag(field) => json.flag(field, false)?,
        };
        biases.extend(has_bias.then_some(role));
    }
    Ok(biases)
}

/// The sliding window of each parameter layer.
fn parse_windows(json: &Object, family: &Family, n: usize) -> Result<Vec<Option<usize>>> {
    let on = match family.window {
        Window::Never => false,
        Window::All => true,
        Window::Some => json.flag("use_sliding_window", false)?,
    };
    let default = match json.has("sliding_window") {
        true => None,
        false => family.defaults.sliding_window,
    };
    let window = match json.get("sliding_window") {
        Some(_) if on => Some(json.whole_from("sliding_window", 1, None)?),
        _ => default,
    };
    let window = window.filter(|_| on);
    if family.window == Window::Never {
        return Ok(vec![None; n]);
    }
    if let Some(types) = json.get("layer_types") {
        let types = types.as_array().filter(|t| t.len() == n);
        let expected = format!("a list of {n} layer types");
        let types = types.ok_or_else(|| json.error("layer_types", &expected, "something else"))?;
        return types
            .iter()
            .map(|t| match (t.as_str(), window) {
                // Where all layers of a family have the window, the types do not change that.
                (Some("full_attention"), _) if family.window == Window::All => Ok(window),
                (Some("full_attention"), _) => Ok(None),
                (Some("sliding_attention"), Some(window)) => Ok(Some(window)),
                (Some("sliding_attention"), None) => {
                    let expected = "`full_attention` where there is no sliding window";
                    Err(json.error("layer_types", expected, "`sliding_attention`"))
                }
                _ => {
                    let known = "`full_attention` or `sliding_attention`";
                    Err(json.error("layer_types", known, &t.to_string()))
                }
            })
            .collect();
    }
    if family.window == Window::All {
        return Ok(vec![window; n]);
    }
    let first = json.whole("max_window_layers")?;
    let first = first.unwrap_or(family.defaults.max_window_layers);
    Ok((0..n).map(|i| window.filter(|_| i >= first)).collect())
}
