//! How fast a model runs: prompts and generation, by the conventions of llama-bench.

use std::sync::Arc;
use std::time::Instant;

use super::check::token_ids;
use super::report::{Detail, ModelDetail, Row, Unit};
use super::stats::Stats;
use crate::engine::{DeviceModel, Engine, Logits, Options, Work};
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
    pub kv_type: KvType,
    pub cap: Option<usize>,
    pub exit: ExitRule,
}

/// Where a model runs.
pub enum Place {
    Host,
    Device(Arc<DeviceModel>),
}

/// A model with what does not change from test to test.
pub struct Subject<'m> {
    pub name: String,
    pub model: &'m Model,
    pub place: Place,
    /// The class of kernels.
    pub kernels: String,
    /// Measured in this run.
    pub read_gb_per_s: Option<f64>,
}

impl Test {
    /// `pp512`, `tg128`, with `@ d512` for a cache that is not empty.
    pub fn name(&self) -> String {
        let test = match self.n_prompt {
            0 => format!("tg{}", self.n_gen),
            n => format!("pp{n}"),
        };
        match self.n_depth {
            0 => test,
            depth => format!("{test} @ d{depth}"),
        }
    }

    fn n_tokens(&self) -> usize {
        self.n_prompt + self.n_gen
    }
}

/// What one repetition came to.
struct Repetition {
    seconds: f64,
    cycles: usize,
    work: Work,
}

/// A test that is set up: the cache filled to its depth.
pub struct Running<'a, 'm> {
    subject: &'a Subject<'m>,
    test: Test,
    engine: Engine<'m>,
    ids: Vec<u32>,
    repetitions: Vec<Repetition>,
}

impl<'a, 'm> Running<'a, 'm> {
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when the cache does not fit the adapter.
    pub fn new(subject: &'a Subject<'m>, test: Test) -> Result<Self> {
        let options = Options {
            cap: test.cap,
            exit: test.exit.clone(),
            n_ctx: test.n_depth + test.n_tokens(),
            kv_type: test.kv_type,
            logits: Logits::Last,
        };
        let mut engine = match &subject.place {
            Place::Host => Engine::on_host(subject.model, &options)?,
            Place::Device(device) => Engine::on_device(subject.model, device, &options)?,
        };
        let mut ids = token_ids(options.n_ctx, subject.model.config.vocab);
        if test.n_depth > 0 {
            pollster::block_on(engine.forward(&ids[..test.n_depth], Logits::Last))?;
            ids.drain(..test.n_depth);
        }
        Ok(Self {
            subject,
            test,
            engine,
            ids,
            repetitions: Vec::new(),
        })
    }

    /// Runs the test without counting it.
    pub fn warm_up(&mut self) -> Result<()> {
        repeat(&mut self.engine, &self.test, &self.ids).map(|_| ())
    }

    /// Runs the test once more.
    pub fn repeat(&mut self) -> Result<()> {
        let repetition = repeat(&mut self.engine, &self.test, &self.ids)?;
        self.repetitions.push(repetition);
        Ok(())
    }

    /// What the repetitions came to.
    ///
    /// # Panics
    /// When there was none.
    pub fn row(&self) -> Row {
        row(self.subject, &self.test, &self.repetitions)
    }
}

/// All tokens of the test, from the same depth every time.
fn repeat(engine: &mut Engine<'_>, test: &Test, ids: &[u32]) -> Result<Repetition> {
    engine.truncate(test.n_depth);
    let before = engine.work();
    let start = Instant::now();
    let batch = match test.n_prompt {
        0 => 1,
        n => n,
    };
    let mut cycles = 0;
    for ids in ids.chunks(batch) {
        let outputs = pollster::block_on(engine.forward(ids, Logits::Last))?;
        cycles += outputs.iter().map(|output| output.cycles).sum::<usize>();
    }
    Ok(Repetition {
        seconds: start.elapsed().as_secs_f64(),
        cycles,
        work: engine.work().since(&before),
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
    let n = test.n_tokens() as f64;
    let samples: Vec<f64> = repetitions.iter().map(|r| n / r.seconds).collect();
    let stats = Stats::new(&samples);
    // The walk is the same in every repetition.
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
            exit_threshold: test.exit.threshold.filter(|_| model.pool.is_some()),
            exit_kv: policies
                .filter(|(_, policy)| *policy == test.exit.kv)
                .map(|(name, _)| name.to_string())
                .collect(),
            n_prompt: test.n_prompt,
            n_gen: test.n_gen,
            n_depth: test.n_depth,
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
