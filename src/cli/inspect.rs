//! `inspect`: the contents of a checkpoint, and the memory it needs. Needs no adapter.

use anyhow::Result;
use serde_json::{Value, json};

use super::args::{LoopedModelArgs, at_least_one, kv_type, name_of};
use super::{output, printable, setup};
use crate::engine::kv_bytes;
use crate::kernels::{KV_TYPES, KvType};
use crate::model::Model;
use crate::model::config::{Config, KV_POLICIES, REDUCES, ZeroTokenIndex, ZeroTokenScope};
use crate::model::loops::ScoreSource;
use crate::schedule::{EffectiveLayer, Part, Walk};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu inspect
  ztt-wgpu inspect ./model --ctx 8192 --json";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: LoopedModelArgs,

    /// Context length for the size of the cache [default: the model's maximum, at most 4096]
    #[arg(long, value_name = "N", value_parser = at_least_one, env = "ZTT_CTX",
          help_heading = "Cache")]
    ctx: Option<usize>,

    /// How keys and values are kept: f16, f32, q8_0
    #[arg(long, value_name = "TYPE", value_parser = kv_type, default_value = "f16",
          env = "ZTT_KV_TYPE", help_heading = "Cache")]
    kv_type: KvType,

    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    json: bool,
}

pub fn main(args: Args) -> Result<()> {
    let model = args.model.open()?;
    let exit = model.config.exit();
    let walk = Walk::new(&model.config, None, &exit)?;
    let n_ctx = setup::n_ctx(args.ctx, &model)?;
    let document = document(&model, &walk, n_ctx, args.kv_type);
    setup::warn(&model.warnings);
    match args.json {
        true => output::json_line(&mut output::stdout(), &document),
        false => output::for_people(&for_people(&model, &walk, &document)),
    }
}

fn document(model: &Model, walk: &Walk, n_ctx: usize, kv: KvType) -> Value {
    let c = &model.config;
    let sizes = model.sizes_by_dtype();
    let cache = |n_ctx: usize, kv: KvType| -> u64 {
        let layers = 0..c.n_layers;
        let of_layer = |layer| kv_bytes(c, layer, walk.n_cycles, n_ctx, kv);
        layers.map(of_layer).fold(0, u64::saturating_add)
    };
    let by_type = |&(_, kv): &(&str, KvType)| {
        json!({
            "kv_type": kv.name(),
            "bytes": cache(n_ctx, kv),
            "bytes_per_position": cache(1, kv),
        })
    };
    let cache_by_type: Vec<Value> = KV_TYPES.iter().map(by_type).collect();
    let bytes_by_dtype: serde_json::Map<_, _> = sizes
        .iter()
        .map(|(dtype, size)| (dtype.clone(), json!(size.bytes)))
        .collect();
    let steps: Vec<Value> = walk.layers().map(step_json).collect();
    json!({
        "model": model.name,
        "family": c.family.name,
        "loops": (c.middle_layers() > 0).then(|| json!({
            "head_layers": c.head_layers(),
            "middle_layers": c.middle_layers(),
            "tail_layers": c.tail_layers(),
            "cycles": c.cycles(),
            "norm_after_each": c.loops.norm,
            "score": c.score.map(ScoreSource::name),
            "exit": exit_json(c),
        })),
        "ztt": c.pool.map(|pool| json!({
            "head_layers": c.head_layers(),
            "middle_layers": c.middle_layers(),
            "tail_layers": c.tail_layers(),
            "cycles": c.cycles(),
            "zero_token_scope": match pool.scope {
                ZeroTokenScope::All => "all",
                ZeroTokenScope::Middle => "middle",
            },
            "zero_token_index": match pool.index {
                ZeroTokenIndex::EffectiveLayer => "effective_layer",
                ZeroTokenIndex::Cycle => "cycle",
            },
            "exit": exit_json(c),
        })),
        "layers": c.n_layers,
        "effective_layers": steps.len(),
        "hidden": c.hidden,
        "intermediate": c.intermediate,
        "heads": c.n_heads,
        "kv_heads": c.n_kv_heads,
        "head_dim": c.head_dim,
        "vocab": c.vocab,
        "max_positions": c.max_positions,
        "tied_embeddings": c.tied,
        "tokenizer": model.has_tokenizer(),
        "pool": model.pool.as_ref().map(|p| json!({
            "rows": p.n_rows,
            "heads": p.n_heads,
            "value": p.value.is_some(),
        })),
        "parameters": model.n_parameters(),
        "weight_bytes": model.weight_bytes(),
        "bytes_by_dtype": bytes_by_dtype,
        "ctx": n_ctx,
        "kv_type": kv.name(),
        "kv_cache_bytes": cache(n_ctx, kv),
        "kv_cache_by_type": cache_by_type,
        "walk": steps,
    })
}

fn step_json(step: &EffectiveLayer) -> Value {
    let (part, cycle) = match step.part {
        Part::Head => ("head", None),
        Part::Middle { cycle, .. } => ("middle", Some(cycle)),
        Part::Tail => ("tail", None),
    };
    json!({
        "effective_layer": step.e,
        "part": part,
        "cycle": cycle,
        "layer": step.layer,
        "pool_row": step.pool_row,
    })
}

fn for_people(model: &Model, steps: &Walk, d: &Value) -> String {
    let c = &model.config;
    let whole = |key: &str| d[key].as_u64().unwrap_or(0);
    let by_dtype: Vec<_> = d["bytes_by_dtype"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(dtype, n)| format!("{dtype} {}", output::bytes(n.as_u64().unwrap_or(0))))
        .collect();
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let value = printable::one_line(&value);
        text.push_str(&format!("{key:<12} {value}\n"));
    };
    line("model", model.name.clone());
    let is_looped = c.middle_layers() > 0;
    let kind = match c.pool {
        Some(_) => "zero token transformer on ",
        None if is_looped => "looped ",
        None => "plain ",
    };
    line("family", format!("{kind}{}", c.family.name));
    line("layers", layers(c));
    line("walk", walk(steps));
    line("pool", pool(model));
    if is_looped {
        line("score", score(c));
        line("exit", exit(c));
    }
    line(
        "shape",
        format!(
            "hidden {}, intermediate {}, {} heads over {} KV heads of {}, vocabulary {}",
            c.hidden, c.intermediate, c.n_heads, c.n_kv_heads, c.head_dim, c.vocab
        ),
    );
    line("positions", c.max_positions.to_string());
    line(
        "tokenizer",
        if model.has_tokenizer() { "yes" } else { "none" }.to_string(),
    );
    line(
        "parameters",
        format!("{:.3} M", whole("parameters") as f64 / 1e6),
    );
    line(
        "weights",
        format!(
            "{} ({})",
            output::bytes(whole("weight_bytes")),
            by_dtype.join(", ")
        ),
    );
    // The type that is asked for first.
    let mut caches: Vec<&Value> = d["kv_cache_by_type"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    caches.sort_by_key(|cache| cache["kv_type"] != d["kv_type"]);
    for (i, cache) in caches.into_iter().enumerate() {
        let bytes = |key: &str| output::bytes(cache[key].as_u64().unwrap_or(0));
        let text = format!(
            "{} for {} positions in {}, {} each",
            bytes("bytes"),
            whole("ctx"),
            cache["kv_type"].as_str().unwrap_or(""),
            bytes("bytes_per_position")
        );
        line(if i == 0 { "KV cache" } else { "" }, text);
    }
    text
}

fn layers(c: &Config) -> String {
    match (c.head_layers(), c.middle_layers(), c.tail_layers()) {
        (_, 0, _) => format!("{} stored", c.n_layers),
        (0, n, 0) => format!("{n} stored: all x {} cycles", c.cycles()),
        (head, middle, tail) => format!(
            "{} stored: {head} head, {middle} middle x {} cycles, {tail} tail",
            c.n_layers,
            c.cycles()
        ),
    }
}

/// Parameter layers in the order they run, a cycle in brackets.
fn walk(walk: &Walk) -> String {
    let list = |of: &dyn Fn(Part) -> bool| {
        let layers = walk.layers().filter(|step| of(step.part));
        let layers: Vec<_> = layers.map(|step| step.layer.to_string()).collect();
        layers.join(" ")
    };
    const SHOWN: usize = 8;
    let n = match walk.cycle(0).next() {
        Some(_) => walk.n_cycles,
        None => 0,
    };
    let cycle = |c| list(&|part| matches!(part, Part::Middle { cycle, .. } if cycle == c));
    let cycles = (0..if n > SHOWN { 1 } else { n }).map(|c| match n > SHOWN {
        true => format!("[{}] x {n}", cycle(c)),
        false => format!("[{}]", cycle(c)),
    });
    let parts: Vec<_> = std::iter::once(list(&|part| part == Part::Head))
        .chain(cycles)
        .chain(std::iter::once(list(&|part| part == Part::Tail)))
        .filter(|part| !part.is_empty())
        .collect();
    let n_layers = walk.layers().count();
    format!("{} ({n_layers} effective layers)", parts.join(" "))
}

fn pool(model: &Model) -> String {
    match &model.pool {
        None => "none".to_string(),
        Some(p) => format!(
            "{} rows, {} of {} heads, {}",
            p.n_rows,
            p.n_heads,
            model.config.n_heads,
            if p.value.is_some() {
                "key and value"
            } else {
                "key alone"
            }
        ),
    }
}

/// What makes the scores of cycles.
fn score(c: &Config) -> String {
    match c.score {
        None => "none".to_string(),
        Some(source @ ScoreSource::ZeroAttention) => {
            format!("{} ({})", source.name(), name_of(REDUCES, c.exit.reduce))
        }
        Some(source @ ScoreSource::Gate) => format!("{} (the chance to have left)", source.name()),
    }
}

fn exit_json(c: &Config) -> Value {
    json!({
        "threshold": c.exit.threshold,
        "min_cycles": c.exit.min_cycles,
        "reduce": name_of(REDUCES, c.exit.reduce),
        "kv": name_of(KV_POLICIES, c.exit.kv),
    })
}

fn exit(c: &Config) -> String {
    let rule = &c.exit;
    let threshold = c
        .score
        .map_or(rule.threshold, |s| s.threshold(rule.threshold));
    match threshold {
        None => "never".to_string(),
        Some(threshold) => format!(
            "when the score reaches {threshold}, after at least {} cycle(s), KV {}",
            rule.min_cycles,
            name_of(KV_POLICIES, rule.kv)
        ),
    }
}
