//! The rotary embedding in `config.json`.

use super::json::Object;
use super::python_json::not_finite;
use crate::error::Result;

/// The base of frequencies where a config does not say it.
const DEFAULT_THETA: f64 = 10_000.0;

/// A rotary embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    pub scaling: RopeScaling,
    /// The leading values of a head that are turned, an even number.
    pub rotary_dim: usize,
}

/// How the frequencies are stretched for contexts longer than the model first knew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// All frequencies divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Low frequencies divided by `factor`, high ones kept, those between blended (LLaMA 3.1).
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_positions: f64,
    },
}

/// The rotary embedding, in the newer spelling (`rope_parameters`) or the older one
/// (`rope_theta`, `rope_scaling`). As in transformers `rope_scaling` replaces `rope_parameters`
/// unless it is empty, and a `rope_theta` in either goes before one outside.
pub(super) fn parse_rope(json: &Object, head_dim: usize) -> Result<Rope> {
    let mut spellings = ["rope_scaling", "rope_parameters"].into_iter();
    let block = match spellings.find(|field| json.asked(field).is_some()) {
        Some(field) => json.object(field, field)?,
        None => None,
    };
    if let Some(block) = &block {
        refuse_nested(block)?;
    }
    refuse_partial(json, block.as_ref())?;
    let nested = block.map(|block| block.number("rope_theta")).transpose()?;
    let theta = nested.flatten().or(json.number("rope_theta")?);
    let theta = theta.unwrap_or(DEFAULT_THETA);
    if theta <= 0.0 {
        return Err(json.error("rope_theta", "a number above 0", &theta.to_string()));
    }
    let scaling = match block {
        Some(block) => parse_rope_scaling(json, &block)?,
        None => RopeScaling::None,
    };
    Ok(Rope {
        theta,
        scaling,
        rotary_dim: head_dim,
    })
}

/// Refuses parameters by layer type: an object for each type in the place of one for all layers.
fn refuse_nested(block: &Object) -> Result<()> {
    let mut fields = block.fields();
    match fields.find(|(_, value)| value.is_object() && not_finite(value).is_none()) {
        Some((name, _)) => {
            let expected = "one set of parameters for all layers";
            Err(block.error(name, expected, "parameters of a layer type"))
        }
        None => Ok(()),
    }
}

/// Refuses a rotary embedding of a part of each head.
fn refuse_partial(json: &Object, block: Option<&Object>) -> Result<()> {
    let whole = |object: &Object, field: &str| -> Result<bool> {
        let expected = "1, a rotary embedding of the whole head";
        let factor = object.number_that(field, expected, |factor| factor == 1.0)?;
        Ok(factor.is_some())
    };
    for field in ["partial_rotary_factor", "rotary_pct"] {
        // One inside goes before one outside.
        let inside = block.map(|block| whole(block, field)).transpose()?;
        if inside != Some(true) {
            whole(json, field)?;
        }
    }
    Ok(())
}

fn parse_rope_scaling(json: &Object, block: &Object) -> Result<RopeScaling> {
    let field = if block.get("rope_type").is_some() {
        "rope_type"
    } else {
        "type"
    };
    let above_zero = |field: &str| -> Result<f64> {
        match block.number(field)? {
            Some(x) if x > 0.0 => Ok(x),
            Some(x) => Err(block.error(field, "a number above 0", &x.to_string())),
            None => Err(block.error(field, "a number above 0", "nothing")),
        }
    };
    let kinds = [("default", 0), ("linear", 1), ("llama3", 2)];
    Ok(match block.choice(field, &kinds, 0)? {
        0 => RopeScaling::None,
        1 => RopeScaling::Linear {
            factor: above_zero("factor")?,
        },
        _ => RopeScaling::Llama3 {
            factor: above_zero("factor")?,
            low_freq_factor: above_zero("low_freq_factor")?,
            high_freq_factor: above_zero("high_freq_factor")?,
            original_positions: match json.whole("original_max_position_embeddings")? {
                Some(n) if n >= 1 => n as f64,
                _ if block.has("original_max_position_embeddings") => {
                    above_zero("original_max_position_embeddings")?
                }
                _ => json.whole_from("max_position_embeddings", 1, None)? as f64,
            },
        },
    })
}
