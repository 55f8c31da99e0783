//! The engine: it runs a model on a device or on the host, and turns token ids into logits and
//! tokens.

mod budget;
mod decode;
mod decoding;
mod drafts;
mod memory;
mod observe;
mod options;
mod pass;
mod row;
pub mod sampling;
pub mod weights;

use std::collections::VecDeque;
use std::sync::Arc;

pub use budget::check_fit;
pub use decoding::Decoding;
pub use drafts::{Draft, DraftCounts, DraftDepth, Drafter, Drafts, n_valid};
pub use memory::kv_cache::kv_bytes;
pub use memory::rows::Place;
pub use memory::sizes::MAX_BATCH;
pub use observe::cases::{Case, visit_cases};
pub use observe::profile::{Entry, Profile};
pub use observe::recorded::{Recorded, recorded_cases, recorded_pass};
pub use observe::work::DeviceStats;
pub use options::{DEFAULT_CTX, Logits, Options};
pub use pass::recorder::Phase;
pub use row::{Row, Wants};
pub use weights::device_model::DeviceModel;

use crate::error::{Error, Result};
use crate::gpu::adapter::{AdapterChoice, choose};
use crate::gpu::{Gpu, Timestamps};
use crate::kernels::draw::NO_TOKEN;
use crate::model::Model;
use crate::model::config::KvPolicy;
use crate::reference::Output;
use crate::schedule::{Rule, Score, TextRules, Walk};
use decode::executor::{Executor, PlacedRow};
use decode::host::Host;
use decode::session::Session;
use drafts::Cuts;
use memory::sizes::Sizes;
use options::walk;
use sampling::{Sampler, SamplingOptions};

/// A model ready to run, with the keys and values of a number of sequences.
///
/// ```
/// use ztt_wgpu::engine::{Engine, Options, Row, Wants};
/// use ztt_wgpu::model::{BUILTIN, Fetch, Model};
///
/// let model = Model::open(BUILTIN, Fetch::Never)?;
/// let mut engine = Engine::on_host(&model, &Options::of(&model).with_sequences(2))?;
/// let rule = engine.rules().prompt();
/// let row = |sequence, id, wants| Row { sequence, id: Some(id), rule, wants };
/// // Two tokens of the first sequence and one of the second, in one pass.
/// let batch = [
///     row(0, 17, Wants::NOTHING),
///     row(0, 42, Wants::LOGITS),
///     row(1, 42, Wants::LOGITS),
/// ];
/// let outputs = pollster::block_on(engine.run(&batch))?;
/// assert!(outputs[0].logits.is_empty());
/// assert_ne!(outputs[1].logits, outputs[2].logits);
/// assert_eq!((engine.positions_of(0), engine.positions_of(1)), (2, 1));
/// # Ok::<(), ztt_wgpu::Error>(())
/// ```
pub struct Engine<'m> {
    backend: Backend<'m>,
    sizes: Sizes,
    n_vocab: usize,
    n_cycles: usize,
    score: Option<Score>,
    rules: TextRules,
    drafts: Drafts,
    /// Of a draft by depth, as a part of a pass: its cost, and the weights that it reads.
    draft_cost: f64,
    draft_share: f64,
    sequences: Vec<SequenceState>,
    /// Batches under way: their rows, and the sequences before them.
    under_way: VecDeque<(Vec<Row>, Vec<SequenceState>)>,
}

enum Backend<'m> {
    Host(Box<Host<'m>>),
    Device(Box<Session>),
}

/// What the engine knows of a sequence.
#[derive(Clone, Copy)]
struct SequenceState {
    /// Positions in the cache.
    n_positions: usize,
    /// The most cycles that its positions may run: one has no keys in later cycles.
    max_cycles: usize,
    sampler: SamplerState,
    /// Whether a token was drawn from its newest position.
    is_drawn: bool,
}

/// The sampler of a sequence.
#[derive(Clone, Copy)]
enum SamplerState {
    None,
    /// It has seen so many tokens, and has not drawn yet.
    Set(usize),
    /// It draws; so many tokens of its text lie before the sequence, modulo 2^32.
    Draws(u32),
}

impl SamplerState {
    /// After a row at this position, from which a token is drawn.
    fn drawing(self, position: usize) -> Self {
        match self {
            SamplerState::Set(n_seen) => {
                SamplerState::Draws((n_seen as u32).wrapping_sub(position as u32 + 1))
            }
            other => other,
        }
    }
}

impl SequenceState {
    const EMPTY: Self = Self {
        n_positions: 0,
        max_cycles: usize::MAX,
        sampler: SamplerState::None,
        is_drawn: false,
    };
}

impl<'m> Engine<'m> {
    /// Runs `model` in plain Rust on the host.
    pub fn on_host(model: &'m Model, options: &Options) -> Result<Self> {
        let (walk, rules) = walk(model, options)?;
        let cuts = options.drafts.cuts(&walk, &rules)?;
        let host = Host::new(model, &walk, cuts, options.n_sequences)?;
        let backend = Backend::Host(Box::new(host));
        Ok(Self::new(model, options, backend, &walk, rules))
    }

    /// Runs `model` in plain Rust on the host, with keys and values rounded as a device rounds them
    /// whose cache is of the options' type: to compare devices with.
    pub fn on_host_as_stored(model: &'m Model, options: &Options) -> Result<Self> {
        let (walk, rules) = walk(model, options)?;
        let cuts = options.drafts.cuts(&walk, &rules)?;
        let mut host = Host::new(model, &walk, cuts, options.n_sequences)?;
        host.round_kv(options.kv_type);
        let backend = Backend::Host(Box::new(host));
        Ok(Self::new(model, options, backend, &walk, rules))
    }

    /// Runs `model` on the best adapter of the machine, or on the host where there is none.
    ///
    /// # Errors
    /// Those of [`Engine::on_device`] and [`check_fit`], and [`Error::Device`] when the adapter
    /// cannot be opened.
    pub async fn on_best(model: &'m Model, options: &Options) -> Result<Self> {
        let Some(adapter) = choose(&AdapterChoice::default()).await? else {
            return Self::on_host(model, options);
        };
        let gpu = Arc::new(Gpu::open(&adapter).await?);
        check_fit(&gpu, model, options)?;
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
        let (walk, rules) = walk(model, options)?;
        let cuts = options.drafts.cuts(&walk, &rules)?;
        let session = Session::new(Arc::clone(device_model), walk.clone(), cuts, options)?;
        let backend = Backend::Device(Box::new(session));
        Ok(Self::new(model, options, backend, &walk, rules))
    }

    fn new(
        model: &Model,
        options: &Options,
        backend: Backend<'m>,
        walk: &Walk,
        rules: TextRules,
    ) -> Self {
        let cuts = options.drafts.cuts(walk, &rules).ok().flatten();
        let of_draft = |cuts: &Cuts| {
            let (share, _) = cuts.shares(walk, &model.config);
            (cuts.cost(walk, &model.config), share)
        };
        let (draft_cost, draft_share) = cuts.as_ref().map_or((1.0, 0.0), of_draft);
        Self {
            backend,
            sizes: Sizes::of(options, model.config.vocab),
            n_vocab: model.config.vocab,
            n_cycles: walk.n_cycles,
            score: walk.score,
            rules,
            drafts: options.drafts,
            draft_cost,
            draft_share,
            sequences: vec![SequenceState::EMPTY; options.n_sequences],
            under_way: VecDeque::new(),
        }
    }

    fn executor(&self) -> &dyn Executor {
        match &self.backend {
            Backend::Host(host) => host.as_ref(),
            Backend::Device(session) => session.as_ref(),
        }
    }

    fn executor_mut(&mut self) -> &mut dyn Executor {
        match &mut self.backend {
            Backend::Host(host) => host.as_mut(),
            Backend::Device(session) => session.as_mut(),
        }
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

    /// The rules of texts that bring none of their own: those of the options, until they are set.
    pub fn rules(&self) -> TextRules {
        self.rules
    }

    /// Sets the rules of what is run from now on. Positions that are in the cache stay as they are.
    pub fn set_rules(&mut self, rules: TextRules) {
        self.rules = rules;
    }

    /// Where guesses of texts that bring no [`Drafts`] of their own come from: those of the options.
    pub fn drafts(&self) -> Drafts {
        self.drafts
    }

    /// What guesses the tokens of a text that are drawn by `rule`; `None` where nothing does. Depth
    /// is that of the options, and guesses nothing where a token may leave the cycles.
    pub fn drafter(&self, drafts: Drafts, rule: &Rule) -> Option<Drafter> {
        let leaves = rule.may_leave(self.n_cycles);
        let depth = self
            .drafts
            .depth
            .filter(|_| !leaves && drafts.depth.is_some());
        let drafts = Drafts { depth, ..drafts };
        drafts.any().then(|| Drafter::new(drafts, self.draft_cost))
    }

    /// Weights that a guess by depth reads, as a part of those of a pass; 0 where there are none.
    pub fn draft_share(&self) -> f64 {
        self.draft_share
    }

    /// From now on keys and values of skipped cycles come from there. Positions that are in the
    /// cache stay as they are.
    pub fn set_kv_policy(&mut self, kv: KvPolicy) {
        self.forget_under_way();
        self.executor_mut().set_kv_policy(kv);
    }

    /// The most cycles that a position runs.
    pub fn n_cycles(&self) -> usize {
        self.n_cycles
    }

    /// Number of sequences.
    pub fn n_sequences(&self) -> usize {
        self.sequences.len()
    }

    /// Positions in the cache of the first sequence.
    pub fn n_positions(&self) -> usize {
        self.positions_of(0)
    }

    /// Positions in the cache of a sequence.
    pub fn positions_of(&self, sequence: usize) -> usize {
        self.sequences[sequence].n_positions
    }

    /// Positions that the cache of a sequence has room for.
    pub fn n_ctx(&self) -> usize {
        self.sizes.n_ctx
    }

    /// Positions of a sequence that there is memory for so far. Caches grow as texts do.
    pub fn room(&self) -> usize {
        self.sizes.room
    }

    /// Takes memory for `n` positions of each sequence, or gives back what is not needed for them;
    /// for the longest text at least and [`Engine::n_ctx`] at most. Positions stay as they are, and
    /// what is under way is given up.
    ///
    /// # Errors
    /// [`Error::Device`] where the device has not so much memory; texts are as before.
    pub async fn set_room(&mut self, n: usize) -> Result<()> {
        self.forget_under_way();
        let lengths = self.sequences.iter().map(|state| state.n_positions);
        let least = lengths.max().unwrap_or(0).max(1);
        let n = n.clamp(least, self.sizes.n_ctx.max(least));
        self.executor_mut().set_room(n).await?;
        self.sizes.room = n;
        Ok(())
    }

    /// Forgets all positions of the first sequence from `n` on.
    pub fn truncate(&mut self, n: usize) {
        self.truncate_sequence(0, n);
    }

    /// Forgets all positions of a sequence from `n` on. Its tokens are drawn by the same sampler as
    /// before; where the cut is in the text that the sampler was made after, it wants another.
    pub fn truncate_sequence(&mut self, sequence: usize, n: usize) {
        self.forget_under_way();
        let state = &mut self.sequences[sequence];
        if n < state.n_positions {
            state.n_positions = n;
            state.is_drawn = false;
            self.executor_mut().truncate(sequence, n);
        }
    }

    /// Whether the tokens of a sequence can be drawn where its logits are, by these options.
    pub fn draws(&self, options: &SamplingOptions) -> bool {
        self.executor().draws(options)
    }

    /// From now on the tokens of `sequence` are drawn as `sampler` would draw them, where a
    /// [`Row`] wants its token.
    ///
    /// # Panics
    /// Where the engine does not [draw](Engine::draws) by the sampler's options.
    pub fn set_sampler(&mut self, sequence: usize, sampler: &Sampler) {
        self.forget_under_way();
        self.sequences[sequence].sampler = SamplerState::Set(sampler.seen.len());
        self.executor_mut().set_sampler(sequence, sampler);
    }

    /// Runs the next positions of the first sequence as a prompt. One output for each of `ids`.
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
        let rule = self.rules.prompt();
        self.forward_by(rule, ids, logits, Wants::LOGITS).await
    }

    /// Runs the next positions of the first sequence, which leave the cycles by `rule`; the last
    /// one `wants` this.
    ///
    /// # Errors
    /// Those of [`Engine::forward`].
    pub async fn forward_by(
        &mut self,
        rule: Rule,
        ids: &[u32],
        logits: Logits,
        wants: Wants,
    ) -> Result<Vec<Output>> {
        let last = ids.len().saturating_sub(1);
        let row = |(i, &id): (usize, &u32)| Row {
            sequence: 0,
            id: Some(id),
            rule,
            wants: match logits {
                _ if i == last => wants,
                Logits::All => Wants::LOGITS,
                Logits::Last => Wants::NOTHING,
            },
        };
        let rows: Vec<Row> = ids.iter().enumerate().map(row).collect();
        self.forget_under_way();
        self.check(&rows)?;
        let n = self.executor().rows_at_once(ids.len(), logits);
        let before = self.sequences.clone();
        let mut outputs = Vec::with_capacity(ids.len());
        for batch in rows.chunks(n) {
            match self.run(batch).await {
                Ok(results) => outputs.extend(results),
                Err(e) => {
                    self.sequences = before;
                    return Err(e);
                }
            }
        }
        Ok(outputs)
    }

    /// Runs the given rows, at most [`MAX_BATCH`], in one pass; those of one sequence follow each
    /// other. One output for each, in their order.
    ///
    /// Where a row of a sequence follows one that draws a token, its id is a guess of that token, or
    /// `None` for what the options draft by depth. Where the guess is true it draws what it would
    /// alone, and what it gives is of no use where it is not ([`n_valid`]): whoever guessed
    /// truncates the sequence then.
    ///
    /// # Errors
    /// [`Error::ContextFull`] or [`Error::TokenOutside`] before anything runs; [`Error::Option`]
    /// where a sequence would run deeper than its cache holds; [`Error::NotANumber`] when logits
    /// that are asked for, or drawn from, are not finite, but for those of guesses.
    ///
    /// # Panics
    /// When there are more than [`MAX_BATCH`] rows, or more that get logits than the options have
    /// room for; for a sequence that is not there, and a token that was not drawn or that nothing
    /// draws; for a token to be drafted where nothing is drafted by depth, in more rows than are
    /// verified at a time, or beside a row that may leave the cycles.
    pub async fn run(&mut self, rows: &[Row]) -> Result<Vec<Output>> {
        self.forget_under_way();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.submit(rows).await?;
        self.take().await
    }

    /// Batches that are best under way at a time, where their tokens are drawn here and none needs
    /// to be known before the next.
    pub fn ahead(&self) -> usize {
        self.executor().ahead()
    }

    /// Keeps up to `n` batches under way, instead of as many as suit the adapter.
    pub fn set_ahead(&mut self, n: usize) {
        if let Backend::Device(session) = &mut self.backend {
            session.ahead = n.max(1);
        }
    }

    /// Begins to run rows as [`Engine::run`] does, after those under way; [`Engine::take`] gives the
    /// results. What is under way is given up where something else is asked of the engine.
    ///
    /// # Errors
    /// Those of [`Engine::run`] before anything runs, and [`Error::Device`] where the caches have to
    /// grow and the device has no memory: texts are as before.
    ///
    /// # Panics
    /// As [`Engine::run`].
    pub async fn submit(&mut self, rows: &[Row]) -> Result<()> {
        assert!(rows.len() <= MAX_BATCH, "{} rows", rows.len());
        let longest = self.check(rows)?;
        self.sizes.room = self.executor_mut().reserve(longest).await?;
        let before = self.sequences.clone();
        let score = self.score;
        let guesses = guesses(rows);
        let placed = rows.iter().zip(guesses).map(|(row, is_guess)| {
            let state = &mut self.sequences[row.sequence];
            assert!(row.id.is_some() || state.is_drawn, "no token was drawn");
            if row.wants.token {
                state.sampler = state.sampler.drawing(state.n_positions);
            }
            let text_start = match state.sampler {
                SamplerState::Draws(text_start) => text_start,
                _ => 0,
            };
            state.is_drawn = row.wants.token;
            state.max_cycles = row.rule.max_cycles;
            state.n_positions += 1;
            PlacedRow {
                place: Place {
                    position: state.n_positions - 1,
                    sequence: row.sequence,
                    cache_start: self.sizes.cache_start(row.sequence),
                    rule: Rule {
                        threshold: score.and_then(|score| score.threshold(row.rule.threshold)),
                        ..row.rule
                    },
                    text_start,
                },
                id: row.id,
                is_guess,
                wants: row.wants,
            }
        });
        let placed: Vec<PlacedRow> = placed.collect();
        self.check_draws(&placed);
        for row in placed.iter().filter(|row| row.is_drafted()) {
            self.sequences[row.place.sequence].is_drawn = false;
        }
        let n_outputs = placed.iter().filter(|row| row.wants.any()).count();
        assert!(n_outputs <= self.sizes.n_outputs, "{n_outputs} get logits");
        self.under_way.push_back((rows.to_vec(), before));
        self.executor_mut().submit(placed).await
    }

    /// The results of the oldest rows under way, an output for each; none where there are none.
    ///
    /// # Errors
    /// [`Error::NotANumber`] as [`Engine::run`], and [`Error::Device`] where the device fails.
    pub async fn take(&mut self) -> Result<Vec<Output>> {
        let outputs = self.executor_mut().take().await?;
        let Some((rows, before)) = self.under_way.pop_front() else {
            return Ok(outputs);
        };
        let mut lengths: Vec<usize> = before.iter().map(|state| state.n_positions).collect();
        for ((row, output), is_guess) in rows.iter().zip(&outputs).zip(guesses(&rows)) {
            let position = lengths[row.sequence];
            lengths[row.sequence] += 1;
            let is_finite = output.logits.iter().all(|logit| logit.is_finite());
            if !is_guess && (!is_finite || output.drawn == Some(NO_TOKEN)) {
                self.forget_under_way();
                self.sequences = before;
                return Err(Error::NotANumber { position });
            }
        }
        Ok(outputs)
    }

    /// Gives up what is under way: its positions are as if they had never run. Tokens drawn in
    /// their sequences are not there any more.
    fn forget_under_way(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        let Some((_, before)) = under_way.front() else {
            return;
        };
        self.sequences.clone_from(before);
        self.executor_mut().forget();
        for row in under_way.iter().flat_map(|(rows, _)| rows) {
            self.sequences[row.sequence].is_drawn = false;
        }
        for (sequence, state) in self.sequences.clone().iter().enumerate() {
            self.executor_mut().truncate(sequence, state.n_positions);
        }
    }

    /// # Panics
    /// Where a row of a sequence draws that has no sampler, or one cannot be drafted.
    fn check_draws(&self, rows: &[PlacedRow]) {
        for row in rows.iter().filter(|row| row.wants.token) {
            let sampler = self.sequences[row.place.sequence].sampler;
            assert!(!matches!(sampler, SamplerState::None), "nothing draws");
        }
        let n_drafted = rows.iter().filter(|row| row.is_drafted()).count();
        if n_drafted > 0 {
            let leaves = |row: &PlacedRow| row.place.rule.may_leave(self.n_cycles);
            assert!(self.drafts.depth.is_some(), "nothing is drafted by depth");
            assert!(!rows.iter().any(leaves), "a row beside drafts may leave");
            assert!(n_drafted <= Drafts::MOST, "{n_drafted} are drafted");
        }
        let pairs = rows.iter().zip(rows.iter().skip(1));
        for (before, row) in pairs.filter(|(_, row)| row.is_drafted()) {
            let is_next = before.place.sequence == row.place.sequence && before.wants.token;
            assert!(is_next, "a draft does not follow a row that draws");
        }
    }

    /// Whether rows can be run next. Returns the positions of the longest sequence after them.
    fn check(&self, rows: &[Row]) -> Result<usize> {
        let mut sequences = self.sequences.clone();
        for row in rows {
            let state = &mut sequences[row.sequence];
            let is_deeper = row.rule.max_cycles.min(self.n_cycles) > state.max_cycles;
            if state.n_positions > 0 && is_deeper {
                return Err(Error::Option {
                    option: "--cycles",
                    expected: format!("at most {}, as of the positions before", state.max_cycles),
                    found: row.rule.max_cycles.min(self.n_cycles).to_string(),
                });
            }
            state.max_cycles = row.rule.max_cycles;
            state.n_positions += 1;
        }
        let outside = |id: &u32| *id as usize >= self.n_vocab;
        if let Some(id) = rows.iter().filter_map(|row| row.id).find(outside) {
            return Err(Error::TokenOutside {
                id: i64::from(id),
                vocab: self.n_vocab,
            });
        }
        let limit = self.sizes.n_ctx;
        let lengths = sequences.iter().map(|state| state.n_positions);
        match lengths.max().unwrap_or(0) {
            found if found > limit => Err(Error::ContextFull { limit, found }),
            longest => Ok(longest),
        }
    }
}

/// Which rows of a batch follow one of their sequence that draws a token: their ids are guesses.
fn guesses(rows: &[Row]) -> Vec<bool> {
    let follows_a_draw = |(i, row): (usize, &Row)| {
        let mut before = rows[..i].iter();
        before.any(|other| other.sequence == row.sequence && other.wants.token)
    };
    rows.iter().enumerate().map(follows_a_draw).collect()
}
