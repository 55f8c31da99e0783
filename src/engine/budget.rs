//! What a model and its texts take on a device, before anything is there.

use super::memory::buffers::{Buffers, angle_bytes};
use super::memory::kv_cache::kv_bytes;
use super::memory::layout::padded;
use super::memory::sizes::Sizes;
use crate::engine::options::{Options, walk};
use crate::engine::weights::target_of;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Target};
use crate::kernels::{KV_TYPES, KvType};
use crate::model::Model;
use crate::model::config::Config;

/// Bytes on the device, no more than there will be: padding and small buffers are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Budget {
    weights: u64,
    /// Of all sequences, each as long as can be.
    caches: u64,
    activations: u64,
}

impl Budget {
    fn total(&self) -> u64 {
        let texts = self.caches.saturating_add(self.activations);
        self.weights.saturating_add(texts)
    }
}

/// What a model is asked to hold, and where.
struct Asked<'a> {
    gpu: &'a Gpu,
    target: Target,
    model: &'a Model,
    n_cycles: usize,
    options: &'a Options,
}

impl Asked<'_> {
    fn sizes(&self, n_ctx: usize, kv_type: KvType) -> Sizes {
        let options = Options {
            n_ctx,
            kv_type,
            ..self.options.clone()
        };
        Sizes::of(&options, self.model.config.vocab).whole()
    }

    fn budget(&self, sizes: Sizes) -> Budget {
        let config = &self.model.config;
        let layers = 0..config.n_layers;
        let (n_cycles, n_places) = (self.n_cycles, sizes.n_places());
        let caches = layers.map(|layer| kv_bytes(config, layer, n_cycles, n_places, sizes.kv_type));
        Budget {
            weights: self.model.weight_bytes(),
            caches: caches.fold(0, u64::saturating_add),
            activations: activation_bytes(config, &self.target, sizes),
        }
    }

    /// Whether the adapter's limits and its memory allow this.
    fn fits(&self, n_ctx: usize, kv_type: KvType) -> bool {
        let sizes = self.sizes(n_ctx, kv_type);
        let has_memory = |memory| self.budget(sizes).total() <= memory;
        self.within_limits(sizes).is_ok() && self.gpu.memory.is_none_or(has_memory)
    }

    fn within_limits(&self, sizes: Sizes) -> Result<()> {
        let (target, config) = (&self.target, &self.model.config);
        Buffers::check(self.gpu, target, config, self.n_cycles, sizes)
    }

    /// The longest context that fits with a type of cache; 0 where none does.
    fn longest(&self, kv_type: KvType) -> usize {
        let (mut fits, mut too_long) = (0, self.options.n_ctx + 1);
        while too_long - fits > 1 {
            let n_ctx = fits + (too_long - fits) / 2;
            match self.fits(n_ctx, kv_type) {
                true => fits = n_ctx,
                false => too_long = n_ctx,
            }
        }
        fits
    }

    /// What would fit, in words that end an error.
    fn advice(&self) -> String {
        let asked = self.options.kv_type;
        let types = KV_TYPES.iter().map(|&(_, kv_type)| kv_type);
        let mut best = (self.longest(asked), asked);
        for kv_type in types.filter(|&kv_type| kv_type != asked) {
            let n_ctx = self.longest(kv_type);
            if n_ctx > best.0 {
                best = (n_ctx, kv_type);
            }
        }
        match best {
            (0, _) => " (no context does: `--quant` makes weights smaller)".to_string(),
            (n_ctx, kv_type) if kv_type == asked => format!(" (`--ctx {n_ctx}` fits)"),
            (n_ctx, kv_type) => {
                format!(" (`--ctx {n_ctx} --kv-type {}` fits)", kv_type.name())
            }
        }
    }
}

/// Refuses a model whose weights, caches and activations do not fit the adapter, as far as that is
/// known: its limits always are, its memory on Vulkan, and on software adapters on Linux. Nothing
/// is put on the device.
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::TooLittleMemory`], each with the longest context that would
/// fit; those of options that do not fit the model.
pub fn check_fit(gpu: &Gpu, model: &Model, options: &Options) -> Result<()> {
    let (walk, _) = walk(model, options)?;
    let asked = Asked {
        gpu,
        target: target_of(gpu, model),
        model,
        n_cycles: walk.n_cycles,
        options,
    };
    let sizes = asked.sizes(options.n_ctx, options.kv_type);
    if let Err(mut e) = asked.within_limits(sizes) {
        if let Error::TooLarge { advice, .. } = &mut e {
            *advice = asked.advice();
        }
        return Err(e);
    }
    let budget = asked.budget(sizes);
    let found = budget.total();
    match gpu.memory.filter(|&limit| found > limit) {
        None => Ok(()),
        Some(limit) => Err(Error::TooLittleMemory {
            model: model.name.clone(),
            adapter: gpu.info.name.clone(),
            limit,
            found,
            weights: budget.weights,
            caches: budget.caches,
            activations: budget.activations,
            advice: asked.advice(),
        }),
    }
}

/// Bytes of the larger buffers between kernels.
fn activation_bytes(config: &Config, target: &Target, sizes: Sizes) -> u64 {
    let heads = config.n_heads * padded(config.head_dim);
    let widths = [
        2 * padded(config.hidden),
        heads,
        padded(config.q_dim()),
        padded(config.intermediate),
        match target.uses_textures() {
            true => config.n_heads * sizes.room,
            false => 0,
        },
    ];
    let a_row = widths
        .iter()
        .fold(0, |sum: u64, &n| sum.saturating_add(n as u64));
    let rows = a_row.saturating_mul(4 * sizes.n_rows as u64);
    let logits = 4 * (sizes.n_outputs as u64).saturating_mul(padded(config.vocab) as u64);
    let angles = angle_bytes(config, sizes).saturating_mul(config.ropes.len() as u64);
    rows.saturating_add(logits).saturating_add(angles)
}
