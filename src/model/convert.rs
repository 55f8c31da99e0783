//! A plain checkpoint, or one that runs all of its layers in cycles without a norm between them,
//! made a Zero Token Transformer: the starting point for fine-tuning.
//!
//! Some of the layers are kept, in their order, and divided into head, middle and tail. The result
//! has no zero-token pool: its zero attention is exactly 0, so that with all layers kept, and as
//! many cycles as the original has, it gives the original's logits. No pool could promise that. The
//! score `q · zk` is linear in the query, and queries point everywhere (those of RMS-normed rows,
//! without a bias, fill an ellipsoid round 0): a key that some queries ignore is one that others
//! attend to. So the pool is made by the training program, which lets its attention in step by step.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::Config;
use super::family::{Family, Window};
use super::json::parse_object;
use super::stored::StoredTensor;
use super::tokenizer::TOKENIZER_TYPE;
use super::{CONFIG, Model, save};
use crate::error::{Error, Result};
use crate::files::{Existing, NewFolder};

/// Which layers of a plain checkpoint are kept, and how often those in the middle run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first layers, kept as the head.
    pub head: usize,
    /// The last layers, kept as the tail.
    pub tail: usize,
    /// `N`: how often the middle layers run.
    pub cycles: usize,
    /// The first and the last stored layer of the middle; `None` for all between head and tail.
    pub middle: Option<RangeInclusive<usize>>,
}

/// A converted checkpoint, its weights still where they were.
pub struct Converted<'m> {
    model: &'m Model,
    /// The stored layers that are kept, in their order.
    kept: Vec<usize>,
    config: String,
}

impl<'m> Converted<'m> {
    /// Converts `model` as `plan` says.
    ///
    /// # Errors
    /// [`Error::File`] where the model is a Zero Token Transformer already, or none can compute
    /// what it does; [`Error::Option`] where the plan does not fit its layers.
    pub fn new(model: &'m Model, plan: &Plan) -> Result<Self> {
        let refused = |found: &str| {
            let expected = "a plain checkpoint, or one of cycles without a norm between them";
            Err(Error::file(&model.name, expected, found))
        };
        if model.config.pool.is_some() {
            return refused("a Zero Token Transformer");
        }
        if model.config.loops.norm {
            let name = model.config.family.name;
            return refused(&format!(
                "one of `{name}` with a norm after every cycle, which no Zero Token Transformer has"
            ));
        }
        let kept = kept_layers(plan, model.config.n_layers)?;
        let config = config(model, plan, &kept)?;
        Config::parse(&format!("the new {CONFIG}"), &config)?;
        Ok(Self {
            model,
            kept,
            config,
        })
    }

    /// The stored layers that are kept, in their order.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// Writes a checkpoint folder: one safetensors file, the config and the model's other texts.
    /// The weights are copied tensor by tensor.
    ///
    /// # Errors
    /// [`Error::File`] where `folder` exists, [`Error::Io`] where it cannot be written; no folder
    /// is left then.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut new = NewFolder::create(folder, Existing::Refused)?;
        new.file("model.safetensors", |out, file| {
            save::tensors(out, file, self.tensors(), BTreeMap::new())
        })?;
        for text in &self.model.texts {
            let written = match text.name {
                CONFIG => &self.config,
                _ => &text.text,
            };
            new.file(text.name, |out, file| {
                let written = out.write_all(written.as_bytes());
                written.map_err(|e| Error::io(file, e))
            })?;
        }
        self.model.checkpoint.check_unchanged()?;
        new.finish()
    }

    /// The tensors of the layers kept, renumbered, and those of no layer.
    fn tensors(&self) -> Vec<StoredTensor<'m>> {
        let family = self.model.config.family;
        let stored = self.model.checkpoint.all_stored().into_iter();
        let renamed = stored.filter_map(|mut tensor| {
            if let Some((start, layer, rest)) = split_layer(family, &tensor.name) {
                let new_layer = self.kept.iter().position(|&kept| kept == layer)?;
                tensor.name = format!("{start}{new_layer}.{rest}");
            }
            Some(tensor)
        });
        renamed.collect()
    }
}

/// The stored layers that `plan` keeps of `n`.
fn kept_layers(plan: &Plan, n: usize) -> Result<Vec<usize>> {
    let outer = plan.head.saturating_add(plan.tail);
    if outer >= n {
        return Err(Error::Option {
            option: "--head and --tail",
            expected: format!("together fewer than the {n} layers of the model"),
            found: outer.to_string(),
        });
    }
    let (first, last) = (plan.head, n - plan.tail - 1);
    let middle = plan.middle.clone().unwrap_or(first..=last);
    if middle.is_empty() || *middle.start() < first || *middle.end() > last {
        return Err(Error::Option {
            option: "--middle",
            expected: format!("layers between head and tail, {first}-{last} or some of them"),
            found: format!("{}-{}", middle.start(), middle.end()),
        });
    }
    Ok((0..first).chain(middle).chain(last + 1..n).collect())
}

/// The `config.json` of the layers `kept`. Fields that do not depend on them stay as they are.
fn config(model: &Model, plan: &Plan, kept: &[usize]) -> Result<String> {
    let Some(text) = model.text(CONFIG) else {
        return Err(Error::file(&model.name, CONFIG, "none"));
    };
    let mut fields = parse_object(&text.file, &text.text)?;
    let family = model.config.family;
    let base = match family.loops.as_ref().and_then(|keys| keys.plain) {
        Some(plain) => without_loops(model, &mut fields, plain),
        None => family.name,
    };
    let is_there = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    let layers = family.keys.as_spelled(is_there).layers;
    let mut set = |field: &str, value: Value| fields.insert(field.to_string(), value);
    set("architectures", json!(["ZttForCausalLM"]));
    set("model_type", json!("ztt"));
    set("base_model_type", json!(base));
    set(family.keys.layers, json!(kept.len()));
    set(layers, json!(kept.len()));
    model.say_untied(&mut fields);
    keep_layer_settings(&mut fields, family, kept);
    let ztt = json!({
        "head_layers": plan.head,
        "tail_layers": plan.tail,
        "cycles": plan.cycles,
        "zero_token_scope": "all",
        "zero_token_index": "effective_layer",
    });
    fields.insert("ztt".to_string(), ztt);
    Ok(format!("{:#}\n", Value::Object(fields)))
}

/// Makes the fields of a family whose layers all run in cycles those of the family `plain`, whose
/// name this returns. What is said of cycles goes, and what refers to the family's own code.
fn without_loops<'p>(model: &Model, fields: &mut Map<String, Value>, plain: &'p str) -> &'p str {
    let family = model.config.family;
    let loops = family.loops.iter();
    let loops = loops.flat_map(|keys| [Some(keys.cycles), keys.weights, keys.skip_norm]);
    let gone = loops.flatten().chain(family.refused.iter().copied());
    let gone = gone.chain(family.keys.head_dim.iter().copied());
    for field in gone.chain(["auto_map"]) {
        fields.shift_remove(field);
    }
    let head_dim = family.keys.head_dim[0];
    fields.insert(head_dim.to_string(), json!(model.config.head_dim));
    fields.insert(TOKENIZER_TYPE.to_string(), json!(family.name));
    plain
}

/// Settings by stored layer follow the layers they are of.
fn keep_layer_settings(fields: &mut Map<String, Value>, family: &Family, kept: &[usize]) {
    if let Some(Value::Array(types)) = fields.get_mut("layer_types") {
        *types = kept.iter().filter_map(|&i| types.get(i).cloned()).collect();
    }
    if family.window == Window::Some {
        let first = fields.get("max_window_layers").and_then(Value::as_u64);
        let first = first.map_or(family.defaults.max_window_layers, |n| n as usize);
        let before = kept.iter().filter(|&&layer| layer < first).count();
        fields.insert("max_window_layers".to_string(), json!(before));
    }
}

/// The name of a layer's tensor in three parts: the text before the layer's number, the number, and
/// the text after the dot. `None` for other tensors.
fn split_layer<'n>(family: &Family, name: &'n str) -> Option<(&'n str, usize, &'n str)> {
    let template = family.tensors.layer.split("{i}").next()?;
    family.tensors.prefixes.iter().find_map(|prefix| {
        let start = template.replace("{}", prefix);
        let (number, rest) = name.strip_prefix(&start)?.split_once('.')?;
        Some((&name[..start.len()], number.parse().ok()?, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(head: usize, tail: usize, middle: Option<RangeInclusive<usize>>) -> Plan {
        Plan {
            head,
            tail,
            cycles: 2,
            middle,
        }
    }

    #[test]
    fn layers_keep_their_order() {
        let kept = |head, tail, middle| kept_layers(&plan(head, tail, middle), 8).ok();
        assert_eq!(kept(2, 1, None), Some((0..8).collect()));
        assert_eq!(kept(2, 1, Some(3..=4)), Some(vec![0, 1, 3, 4, 7]));
        assert_eq!(kept(0, 0, Some(7..=7)), Some(vec![7]));
        for wrong in [1..=4, 3..=7, RangeInclusive::new(4, 3)] {
            assert_eq!(kept(2, 1, Some(wrong)), None);
        }
        assert_eq!(kept(4, 4, None), None);
        assert_eq!(kept(usize::MAX, 1, None), None);
    }

    #[test]
    fn names_of_layers_are_told_from_others() {
        let split = |family, name| split_layer(Family::named(family).unwrap(), name);
        let rest = "self_attn.q_proj.weight";
        assert_eq!(
            split("llama", "model.layers.12.self_attn.q_proj.weight"),
            Some(("model.layers.", 12, rest))
        );
        assert_eq!(split("gpt2", "h.3.ln_1.bias"), Some(("h.", 3, "ln_1.bias")));
        assert_eq!(split("llama", "model.norm.weight"), None);
        assert_eq!(split("gpt2", "transformer.wte.weight"), None);
    }

    #[test]
    fn windows_follow_their_layers() {
        let text = r#"{"layer_types": ["a", "b", "c", "d"], "max_window_layers": 2}"#;
        let mut fields = parse_object("f", text).unwrap();
        keep_layer_settings(&mut fields, Family::named("qwen2").unwrap(), &[0, 2, 3]);
        assert_eq!(
            Value::Object(fields).to_string(),
            r#"{"layer_types":["a","c","d"],"max_window_layers":1}"#
        );
    }
}
