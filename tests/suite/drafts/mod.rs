//! Tokens that are guessed before they are drawn: the text is the text without guesses.

mod program;
mod rows;
mod texts;

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;
use ztt_wgpu::engine::sampling::SamplingOptions;
use ztt_wgpu::engine::{DeviceModel, DraftDepth, Drafts, Engine, Logits, Options};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::ExitRule;
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

use crate::fixtures::path;
use crate::thorough;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(program::trials());
    trials.extend(rows::trials());
    trials.extend(texts::trials());
    trials
}

/// The embedded model, and a tiny Ouro with random weights.
const MODELS: [&str; 2] = [BUILTIN, OURO];
const OURO: &str = "ouro";

/// A model on the host, or on an adapter.
struct Fixture {
    model: Model,
    device: Option<Arc<DeviceModel>>,
}

impl Fixture {
    fn new(name: &str, gpu: Option<Arc<Gpu>>) -> Result<Self> {
        let name = match name {
            OURO => path("looped").join(name).display().to_string(),
            _ => name.to_string(),
        };
        Self::of(Model::open(&name, Fetch::Never)?, gpu)
    }

    fn of(model: Model, gpu: Option<Arc<Gpu>>) -> Result<Self> {
        let upload = |gpu: Arc<Gpu>| {
            pollster::block_on(DeviceModel::upload(gpu, &model, &mut |_| {})).map(Arc::new)
        };
        Ok(Self {
            device: gpu.map(upload).transpose()?,
            model,
        })
    }

    /// Options with these guesses; with those by depth no token leaves the cycles.
    fn options(&self, drafts: Drafts) -> Options {
        let exit = self.model.config.exit();
        Options {
            n_ctx: self.model.config.max_positions.min(512),
            kv_type: KvType::F16,
            exit: ExitRule {
                threshold: exit.threshold.filter(|_| drafts.depth.is_none()),
                ..exit
            },
            drafts,
            ..Options::of(&self.model)
        }
    }

    fn engine(&self, options: &Options) -> Result<Engine<'_>> {
        Ok(match &self.device {
            Some(device) => Engine::on_device(&self.model, device, options)?,
            None => Engine::on_host(&self.model, options)?,
        })
    }

    /// Tokens of a text that tests generate: the reference is slow.
    fn n_tokens(&self) -> usize {
        match (&self.device, thorough::is_on()) {
            (_, true) => 200,
            (Some(_), false) => 72,
            (None, false) => 32,
        }
    }

    /// Prompts that repeat, and such as do not.
    fn prompts(&self) -> Result<Vec<Vec<u32>>> {
        const N: usize = 20;
        let mut texts = vec![
            "one two three four, one two three four, one two".to_string(),
            "ROMEO:\nBut soft, what light".to_string(),
            "a b c d a b c d a b".to_string(),
        ];
        let words = std::fs::read_to_string(path("classics-val.txt"))?;
        let words: Vec<&str> = words.split_whitespace().take(40 * N).collect();
        texts.extend(words.chunks(40).map(|words| words[..12].join(" ")));
        let n = if thorough::is_on() { N } else { 3 };
        let tokenizer = self.model.tokenizer()?;
        let encoded = texts.iter().take(n).map(|text| Ok(tokenizer.encode(text)?));
        encoded.collect()
    }
}

fn greedy() -> SamplingOptions {
    SamplingOptions {
        temperature: 0.0,
        ..SamplingOptions::default()
    }
}

/// Greedy, and three settings of the samplers.
fn samplers() -> [SamplingOptions; 4] {
    [
        greedy(),
        SamplingOptions {
            seed: 3,
            ..SamplingOptions::default()
        },
        SamplingOptions {
            repeat_penalty: 1.2,
            seed: 11,
            ..SamplingOptions::default()
        },
        SamplingOptions {
            temperature: 1.2,
            top_k: 200,
            top_p: 0.9,
            min_p: 0.0,
            repeat_penalty: 1.05,
            seed: 5,
            ..SamplingOptions::default()
        },
    ]
}

/// Guesses from the text so far: as many as pay, always three, and as many as there can be; by one
/// cycle and by two; and by both.
fn drafts() -> [Drafts; 6] {
    let of = |ngrams, cycles: Option<usize>, tokens| Drafts {
        ngrams,
        depth: cycles.map(DraftDepth::Cycles),
        tokens,
    };
    [
        of(true, None, None),
        of(true, None, Some(3)),
        of(true, None, Some(Drafts::MOST)),
        of(false, Some(1), Some(3)),
        of(false, Some(2), Some(Drafts::MOST)),
        of(true, Some(2), None),
    ]
}

/// Options with logits for as many rows as are verified.
fn for_rows(options: Options) -> Options {
    Options {
        logits: Logits::All,
        ..options
    }
}
