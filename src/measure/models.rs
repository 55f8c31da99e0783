//! How fast a model runs: prompts and generation, by the conventions of llama-bench.

use std::time::Instant;

use super::check::token_ids;
use super::report::{Detail, ModelDetail, Row, Unit};
use super::stats::Stats;
pub use super::texts::Place;
use super::texts::Texts;
use crate::engine::{DeviceStats, Drafts, Logits, Options};
use crate::error::Result;
use crate::kernels::KvType;
use crate::model::Model;
use crate::model::config::{ExitRule, KV_POLICIES};

/// One thing to measure.
#[derive(Clone, Debug)]
pub struct Test {
    /// Tokens of a prompt, or 0.
    pub n_prompt: usize,
    /// Tokens generated one by one, or 0. One of both is 0.
    pub n_gen: usize,
    /// Positions in the cache before.
    pub n_depth: usize,
    /// Texts at once, each of these lengths.
    pub n_parallel: usize,
    pub kv_type: KvType,
    pub cap: Option<usize>,
    pub exit: ExitRule,
}

/// A model with the facts that do not change from test to test.
pub struct Subject<'m> {
    pub name: String,
    pub model: &'m Model,
    pub place: Place,
    /// The class of kernels.
    pub kernels: String,
    /// The read bandwidth measured in this run.
    pub read_gb_per_s: Option<f64>,
}

impl Test {
    /// `pp512`, `tg128`, with `@ d512` for a cache that is not empty and `x 4` for four texts at
    /// once.
    pub fn name(&self) -> String {
        let mut name = match self.n_prompt {
            0 => format!("tg{}", self.n_gen),
            n => format!("pp{n}"),
        };
        if self.n_depth > 0 {
            name += &format!(" @ d{}", self.n_depth);
        }
        if self.n_parallel > 1 {
            name += &format!(" x {}", self.n_parallel);
        }
        name
    }

    /// Tokens of one text.
    fn n_tokens(&self) -> usize {
        self.n_prompt + self.n_gen
    }
}

/// One repetition's figures.
struct Repetition {
    seconds: f64,
    cycles: usize,
    work: DeviceStats,
}

/// A test that is set up: the caches filled to their depth.
pub struct Running<'a, 'm> {
    subject: &'a Subject<'m>,
    test: Test,
    texts: Texts<'m>,
    /// Token ids that every text continues with after its depth.
    ids: Vec<u32>,
    repetitions: Vec<Repetition>,
}

impl<'a, 'm> Running<'a, 'm> {
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when the caches do not fit the adapter.
    pub fn new(subject: &'a Subject<'m>, test: Test) -> Result<Self> {
        let options = Options {
            n_sequences: 1,
            cap: test.cap,
            exit: test.exit.clone(),
            n_ctx: test.n_depth + test.n_tokens(),
            kv_type: test.kv_type,
            logits: Logits::Last,
            drafts: Drafts::NONE,
        };
        let mut texts = Texts::new(subject.model, &subject.place, &options, test.n_parallel)?;
        let mut ids = token_ids(options.n_ctx, subject.model.config.vocab);
        if test.n_depth > 0 {
            texts.extend(&ids[..test.n_depth])?;
            ids.drain(..test.n_depth);
        }
        Ok(Self {
            subject,
            test,
            texts,
            ids,
            repetitions: Vec::new(),
        })
    }

    /// Runs the test without counting it.
    pub fn warm_up(&mut self) -> Result<()> {
        repeat(&mut self.texts, &self.test, &self.ids).map(|_| ())
    }

    /// Runs the test once more.
    pub fn repeat(&mut self) -> Result<()> {
        let repetition = repeat(&mut self.texts, &self.test, &self.ids)?;
        self.repetitions.push(repetition);
        Ok(())
    }

    /// The row of the report.
    ///
    /// # Panics
    /// When there was no repetition.
    pub fn row(&self) -> Row {
        row(self.subject, &self.test, &self.repetitions)
    }
}

/// All tokens of the test, from the same depth every time.
fn repeat(texts: &mut Texts<'_>, test: &Test, ids: &[u32]) -> Result<Repetition> {
    texts.truncate(test.n_depth);
    let before = texts.work();
    let start = Instant::now();
    let cycles = match test.n_prompt {
        0 => texts.generate(ids)?,
        _ => texts.extend(ids)?,
    };
    Ok(Repetition {
        seconds: start.elapsed().as_secs_f64(),
        cycles,
        work: texts.work().since(&before),
    })
}

/// The format of quantised matrices, else the types that are stored.
fn format_of_weights(model: &Model) -> String {
    let stored = || {
        let sizes = model.sizes_by_dtype();
        let names: Vec<_> = sizes.keys().map(|name| name.to_lowercase()).collect();
        names.join("+")
    };
    let quant = model.quant.map(|quant| quant.name().to_string());
    quant.unwrap_or_else(stored)
}

fn row(subject: &Subject<'_>, test: &Test, repetitions: &[Repetition]) -> Row {
    let model = subject.model;
    let n = (test.n_parallel * test.n_tokens()) as f64;
    let samples: Vec<f64> = repetitions.iter().map(|r| n / r.seconds).collect();
    let stats = Stats::new(&samples);
    // Every repetition runs the same cycles and dispatches.
    let Repetition { cycles, work, .. } = &repetitions[0];
    let seconds = n / stats.median;
    let gb_per_s = match subject.place {
        Place::Host => None,
        Place::Device(_) => Some(work.moved.bytes() as f64 / seconds / 1e9),
    };
    let policies = KV_POLICIES.iter();
    Row {
        test: test.name(),
        unit: Unit::TokensPerSecond,
        stats,
        detail: Detail::Model(ModelDetail {
            model: subject.name.clone(),
            size_bytes: model.weight_bytes(),
            params: model.n_parameters(),
            kernels: subject.kernels.clone(),
            quant: format_of_weights(model),
            kv_type: match (&subject.place, test.kv_type) {
                (Place::Host, _) => "f64".to_string(),
                (_, kept) => kept.name().to_string(),
            },
            cycles: test.cap.unwrap_or(model.config.cycles()),
            exit_threshold: test.exit.threshold.filter(|_| model.config.score.is_some()),
            exit_kv: policies
                .filter(|(_, policy)| *policy == test.exit.kv)
                .map(|(name, _)| name.to_string())
                .collect(),
            n_prompt: test.n_prompt,
            n_gen: test.n_gen,
            n_depth: test.n_depth,
            n_parallel: test.n_parallel,
            mean_cycles: *cycles as f64 / n,
            gb_per_s,
            percent_of_bandwidth: gb_per_s
                .zip(subject.read_gb_per_s)
                .map(|(moved, peak)| 100.0 * moved / peak),
            time_to_first_token_ms: (test.n_prompt > 0).then_some(1e3 * seconds),
            submissions_per_token: work.submissions as f64 / n,
            dispatches_per_token: work.dispatches as f64 / n,
            read_backs_per_token: work.read_backs as f64 / n,
        }),
        samples,
    }
}
