//! Several sequences that one model extends together, as a server decodes them.

use std::sync::Arc;

use crate::engine::decode::session::Session;
use crate::engine::memory::sizes::MAX_BATCH;
use crate::engine::observe::work::DeviceStats;
use crate::engine::options::{Options, schedule};
use crate::engine::weights::device_model::DeviceModel;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::reference::{Output, Reference};

/// A model ready to run, with the keys and values of a fixed number of sequences.
///
/// ```
/// use ztt_wgpu::engine::{Next, Options, Sequences};
/// use ztt_wgpu::model::{BUILTIN, Fetch, Model};
///
/// let model = Model::open(BUILTIN, Fetch::Never)?;
/// let mut sequences = Sequences::on_host(&model, &Options::of(&model), 2)?;
/// let next = |sequence, id, logits| Next { sequence, id, logits };
/// // Two tokens of the first sequence and one of the second, in one pass.
/// let batch = [next(0, 17, false), next(0, 42, true), next(1, 42, true)];
/// let outputs = pollster::block_on(sequences.forward(&batch))?;
/// assert!(outputs[0].logits.is_empty());
/// assert_ne!(outputs[1].logits, outputs[2].logits);
/// assert_eq!((sequences.n_positions(0), sequences.n_positions(1)), (2, 1));
/// # Ok::<(), ztt_wgpu::Error>(())
/// ```
pub struct Sequences<'m> {
    backend: Backend<'m>,
    n_ctx: usize,
    n_vocab: usize,
    /// Positions in the cache of each sequence.
    lengths: Vec<usize>,
}

enum Backend<'m> {
    Host(Vec<Reference<'m>>),
    Device(Box<Session>),
}

/// The next token of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Which sequence, from 0.
    pub sequence: usize,
    pub id: u32,
    /// Whether the logits after this token are wanted.
    pub logits: bool,
}

impl<'m> Sequences<'m> {
    /// Runs `model` in plain Rust on the host, for `n` sequences of `options.n_ctx` positions
    /// each. `options.logits` has no say here: every token asks for itself.
    pub fn on_host(model: &'m Model, options: &Options, n: usize) -> Result<Self> {
        let references = (0..n).map(|_| Reference::new(model, schedule(model, options)?));
        let backend = Backend::Host(references.collect::<Result<_>>()?);
        Ok(Self::new(model, options, n, backend))
    }

    /// Runs `model`, whose weights are in `device_model`, on that device, for `n` sequences of
    /// `options.n_ctx` positions each. `options.logits` has no say here: every token asks for
    /// itself.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the caches do not fit, [`Error::Device`] when the device fails.
    pub fn on_device(
        model: &'m Model,
        device_model: &Arc<DeviceModel>,
        options: &Options,
        n: usize,
    ) -> Result<Self> {
        let schedule = schedule(model, options)?;
        let session = Session::of_several(Arc::clone(device_model), schedule, options, n)?;
        Ok(Self::new(
            model,
            options,
            n,
            Backend::Device(Box::new(session)),
        ))
    }

    fn new(model: &Model, options: &Options, n: usize, backend: Backend<'m>) -> Self {
        Self {
            backend,
            n_ctx: options.n_ctx,
            n_vocab: model.config.vocab,
            lengths: vec![0; n],
        }
    }

    /// Number of sequences.
    pub fn n(&self) -> usize {
        self.lengths.len()
    }

    /// Positions that each sequence has room for.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Positions in the cache of a sequence.
    pub fn n_positions(&self, sequence: usize) -> usize {
        self.lengths[sequence]
    }

    /// The work that the device was given so far; zeros on the host.
    pub fn work(&self) -> DeviceStats {
        match &self.backend {
            Backend::Host(_) => DeviceStats::default(),
            Backend::Device(session) => session.work,
        }
    }

    /// Forgets all positions of a sequence from `n` on.
    pub fn truncate(&mut self, sequence: usize, n: usize) {
        self.lengths[sequence] = self.lengths[sequence].min(n);
        match &mut self.backend {
            Backend::Host(references) => references[sequence].truncate(n),
            // Rows of the cache past the newest position are never read.
            Backend::Device(_) => {}
        }
    }

    /// Runs the given tokens, at most [`MAX_BATCH`], in one pass; those of one sequence follow
    /// each other, and one of them at most asks for logits. One output for each, in their order.
    ///
    /// # Errors
    /// [`Error::ContextFull`] or [`Error::TokenOutside`] before anything runs;
    /// [`Error::NotANumber`] when logits are not finite.
    ///
    /// # Panics
    /// When `batch` has more than [`MAX_BATCH`] tokens, or one of a sequence that is not there.
    pub async fn forward(&mut self, batch: &[Next]) -> Result<Vec<Output>> {
        self.check(batch)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let outputs: Vec<Output> = match &mut self.backend {
            Backend::Host(references) => batch
                .iter()
                .map(|next| references[next.sequence].push(next.id, next.logits))
                .collect(),
            Backend::Device(session) => {
                let mut lengths = self.lengths.clone();
                let places = batch.iter().map(|next| {
                    lengths[next.sequence] += 1;
                    session.place(next.sequence, lengths[next.sequence] - 1)
                });
                let places = places.collect();
                let ids: Vec<u32> = batch.iter().map(|next| next.id).collect();
                let wanted = (0..).zip(batch).filter(|(_, next)| next.logits);
                let with_logits = wanted.map(|(row, _)| row).collect();
                session.forward_places(places, &ids, with_logits).await?
            }
        };
        for (next, output) in batch.iter().zip(&outputs) {
            let position = self.lengths[next.sequence];
            if output.logits.iter().any(|v| !v.is_finite()) {
                return Err(Error::NotANumber { position });
            }
            self.lengths[next.sequence] += 1;
        }
        Ok(outputs)
    }

    /// Whether a batch can be run next.
    fn check(&self, batch: &[Next]) -> Result<()> {
        assert!(batch.len() <= MAX_BATCH, "{} tokens", batch.len());
        let mut lengths = self.lengths.clone();
        for next in batch {
            lengths[next.sequence] += 1;
            if next.id as usize >= self.n_vocab {
                return Err(Error::TokenOutside {
                    id: i64::from(next.id),
                    vocab: self.n_vocab,
                });
            }
        }
        match lengths.into_iter().find(|&n| n > self.n_ctx) {
            None => Ok(()),
            Some(found) => Err(Error::ContextFull {
                limit: self.n_ctx,
                found,
            }),
        }
    }
}
