//! The engine: it runs a model on a device or on the host, and turns token ids into logits.

mod decode;
mod decoding;
mod memory;
mod observe;
mod options;
mod pass;
pub mod sampling;
mod sequences;
pub mod weights;

use std::sync::Arc;

pub use decoding::Decoding;
pub use memory::kv_cache::kv_bytes;
pub use memory::sizes::MAX_BATCH;
pub use observe::cases::{Case, visit_cases};
pub use observe::profile::{Entry, Profile};
pub use observe::recorded::{Recorded, recorded_cases, recorded_pass};
pub use observe::work::DeviceStats;
pub use options::{DEFAULT_CTX, Logits, Options};
pub use pass::recorder::Phase;
pub use sequences::{Next, Sequences};
pub use weights::device_model::DeviceModel;

use crate::error::{Error, Result};
use crate::gpu::adapter::{AdapterChoice, choose};
use crate::gpu::{Gpu, Timestamps};
use crate::model::Model;
use crate::reference::{Output, Reference};
use decode::session::Session;
use options::schedule;

/// A model ready to run, with the keys and values of one sequence.
pub struct Engine<'m> {
    backend: Backend<'m>,
    n_ctx: usize,
    n_vocab: usize,
    n_positions: usize,
}

enum Backend<'m> {
    Host(Box<Reference<'m>>),
    Device(Box<Session>),
}

impl<'m> Engine<'m> {
    /// Runs `model` in plain Rust on the host.
    pub fn on_host(model: &'m Model, options: &Options) -> Result<Self> {
        let schedule = schedule(model, options)?;
        let reference = Reference::new(model, schedule)?;
        Ok(Self::new(
            model,
            options,
            Backend::Host(Box::new(reference)),
        ))
    }

    /// Runs `model` on the best adapter of the machine, or on the host where there is none.
    ///
    /// # Errors
    /// Those of [`Engine::on_device`], and [`Error::Device`] when the adapter cannot be opened.
    pub async fn on_best(model: &'m Model, options: &Options) -> Result<Self> {
        let Some(adapter) = choose(&AdapterChoice::default()).await? else {
            return Self::on_host(model, options);
        };
        let gpu = Arc::new(Gpu::open(&adapter).await?);
        let device_model = DeviceModel::upload(gpu, model, &mut |_| {}).await?;
        Self::on_device(model, &Arc::new(device_model), options)
    }

    /// Runs `model`, whose weights are in `device_model`, on that device.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the caches do not fit, [`Error::Device`] when the device fails.
    pub fn on_device(
        model: &'m Model,
        device_model: &Arc<DeviceModel>,
        options: &Options,
    ) -> Result<Self> {
        let schedule = schedule(model, options)?;
        let session = Session::new(Arc::clone(device_model), schedule, options)?;
        Ok(Self::new(
            model,
            options,
            Backend::Device(Box::new(session)),
        ))
    }

    /// The work that the device was given so far; zeros on the host.
    pub fn work(&self) -> DeviceStats {
        match &self.backend {
            Backend::Host(_) => DeviceStats::default(),
            Backend::Device(session) => session.work,
        }
    }

    /// Times every dispatch from now on. Without an argument the best timestamps of the adapter
    /// are used.
    ///
    /// # Errors
    /// [`Error::Option`] on the host, where there are no dispatches.
    pub fn start_profile(&mut self, timestamps: Option<Timestamps>) -> Result<()> {
        match &mut self.backend {
            Backend::Host(_) => Err(Error::Option {
                option: "--profile",
                expected: "an adapter".to_string(),
                found: "the plain Rust reference, which has no kernels".to_string(),
            }),
            Backend::Device(session) => {
                let best = session.gpu().timestamps();
                session.start_profile(timestamps.unwrap_or(best));
                Ok(())
            }
        }
    }

    /// The times taken since the profile was started or last taken; `None` without a profile.
    pub fn take_profile(&mut self) -> Option<Profile> {
        match &mut self.backend {
            Backend::Host(_) => None,
            Backend::Device(session) => session.take_profile(),
        }
    }

    fn new(model: &Model, options: &Options, backend: Backend<'m>) -> Self {
        Self {
            backend,
            n_ctx: options.n_ctx,
            n_vocab: model.config.vocab,
            n_positions: 0,
        }
    }

    /// Positions in the cache.
    pub fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// Positions the cache has room for.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Forgets all positions from `n` on.
    pub fn truncate(&mut self, n: usize) {
        self.n_positions = self.n_positions.min(n);
        match &mut self.backend {
            Backend::Host(reference) => reference.truncate(n),
            // Rows of the cache past the newest position are never read.
            Backend::Device(_) => {}
        }
    }

    /// Runs the next positions. One output for each of `ids`.
    ///
    /// ```
    /// use ztt_wgpu::engine::{Engine, Logits, Options};
    /// use ztt_wgpu::model::{BUILTIN, Fetch, Model};
    ///
    /// let model = Model::open(BUILTIN, Fetch::Never)?;
    /// let ids = model.tokenizer()?.encode("Call me Ishmael")?;
    /// let mut engine = Engine::on_host(&model, &Options::of(&model))?;
    /// let outputs = pollster::block_on(engine.forward(&ids, Logits::Last))?;
    /// for output in &outputs {
    ///     assert!((1..=model.config.cycles()).contains(&output.cycles));
    /// }
    /// assert_eq!(outputs[ids.len() - 1].logits.len(), model.config.vocab);
    /// # Ok::<(), ztt_wgpu::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ContextFull`] or [`Error::TokenOutside`] before anything runs;
    /// [`Error::NotANumber`] when the logits asked for are not finite.
    pub async fn forward(&mut self, ids: &[u32], logits: Logits) -> Result<Vec<Output>> {
        self.check(ids)?;
        let wanted = |i: usize| logits == Logits::All || i + 1 == ids.len();
        let outputs: Vec<Output> = match &mut self.backend {
            Backend::Host(reference) => ids
                .iter()
                .enumerate()
                .map(|(i, &id)| reference.push(id, wanted(i)))
                .collect(),
            Backend::Device(session) => {
                let results = session.forward(self.n_positions, ids, logits, None);
                results.await?.outputs
            }
        };
        for (i, output) in outputs.iter().enumerate() {
            if output.logits.iter().any(|v| !v.is_finite()) {
                return Err(Error::NotANumber {
                    position: self.n_positions + i,
                });
            }
        }
        self.n_positions += ids.len();
        Ok(outputs)
    }

    /// Whether `ids` can be run next.
    fn check(&self, ids: &[u32]) -> Result<()> {
        let found = self.n_positions + ids.len();
        if found > self.n_ctx {
            return Err(Error::ContextFull {
                limit: self.n_ctx,
                found,
            });
        }
        match ids.iter().find(|&&id| id as usize >= self.n_vocab) {
            None => Ok(()),
            Some(&id) => Err(Error::TokenOutside {
                id: i64::from(id),
                vocab: self.n_vocab,
            }),
        }
    }
}
