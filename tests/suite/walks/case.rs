//! A random model on both sides, and the batches that it runs there.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions, top};
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options, Row, Wants};
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::Model;
use ztt_wgpu::model::config::{ExitRule, KV_POLICIES, REDUCES};
use ztt_wgpu::reference::Output;
use ztt_wgpu::schedule::{Rule, TextRules};

use super::{Planted, between, flip, one_of};
use crate::compare::{all_close, rows_close, same};
use crate::families::tolerance;
use crate::random::Random;

/// Room that texts on the device have at first, which grows several times.
const FIRST_ROOM: usize = 8;

/// How far a device may be from a host that rounds keys and values alike.
#[derive(Clone, Copy)]
struct Slack {
    /// Times the relative error of a row of logits with keys and values in f32.
    logits: f64,
    /// A score less than this from a threshold may lie on its other side on a device.
    score: f64,
}

impl Slack {
    /// A value whose last bits differ may be rounded to the neighbouring number: in f16 of some
    /// thousands, in q8_0 of some hundreds.
    fn of(kv_type: KvType) -> Self {
        let (logits, score) = match kv_type {
            KvType::F32 => (1.0, 1e-4),
            KvType::F16 => (20.0, 1e-3),
            KvType::Q8_0 => (200.0, 5e-3),
        };
        Self { logits, score }
    }

    /// Scores with more than this between them have room for a threshold.
    fn wide(self) -> f32 {
        3.0 * self.score as f32
    }
}

/// Types of the cache; half of all cases have f32, where least is hidden.
const KV_TYPES: [KvType; 4] = [KvType::F32, KvType::F32, KvType::F16, KvType::Q8_0];

/// The part of an error's text that says that a comparison failed.
pub const DIFFERENT: &str = "device and host differ";

fn options(model: &Model, random: &mut Random, planted: Option<Planted>) -> Options {
    let cycles = model.config.cycles();
    Options {
        cap: (random.below(4) == 0).then(|| between(random, 1, cycles)),
        exit: ExitRule {
            reduce: one_of(random, REDUCES).1,
            kv: one_of(random, KV_POLICIES).1,
            ..ExitRule::default()
        },
        n_sequences: between(random, 1, 4),
        // Sequences with fewer keys than a block of them, and with more.
        n_ctx: one_of(random, &[40, 72, 100]),
        kv_type: match one_of(random, &KV_TYPES) {
            kv_type if planted.is_none() => kv_type,
            _ => KvType::F32,
        },
        logits: Logits::All,
        drafts: Drafts::NONE,
    }
}

/// Thresholds in wide gaps between the scores of a text at full depth.
fn thresholds(model: &Model, options: &Options, random: &mut Random) -> Result<Vec<f64>> {
    let ids = (0..24).map(|_| random.below(model.config.vocab) as u32);
    let ids: Vec<u32> = ids.collect();
    let mut host = Engine::on_host_as_stored(model, options)?;
    let outputs = pollster::block_on(host.forward(&ids, Logits::Last))?;
    let slack = Slack::of(options.kv_type);
    let mut scores: Vec<f32> = outputs.into_iter().flat_map(|o| o.scores).collect();
    scores.sort_by(f32::total_cmp);
    let n_outer = scores.len() / 6;
    let gaps = scores[n_outer..scores.len() - n_outer].windows(2);
    let wide = gaps.filter(|gap| gap[1] - gap[0] > slack.wide());
    Ok(wide.map(|gap| f64::from(gap[0] + gap[1]) / 2.0).collect())
}

/// What a sequence runs.
struct Text {
    rules: TextRules,
    /// The token drawn from its newest position.
    drawn: Option<Drawn>,
}

#[derive(Clone, Copy)]
struct Drawn {
    id: u32,
    /// Another logit is so close that a device may draw another token.
    is_close: bool,
}

/// A row as both sides get it.
struct Asked {
    /// With its token, which the host always gets.
    row: Row,
    /// The device goes on from the token that it drew.
    goes_on: bool,
}

pub struct Case<'m> {
    random: Random,
    host: Engine<'m>,
    device: Engine<'m>,
    texts: Vec<Text>,
    thresholds: Vec<f64>,
    /// Rows of a batch of few.
    few: usize,
    /// Relative error of a row of logits.
    allowed: f64,
    /// Scores that near a threshold may lie on either side.
    close: f64,
    vocab: usize,
    planted: Option<Planted>,
}

impl<'m> Case<'m> {
    pub fn new(
        model: &'m Model,
        device_model: &Arc<DeviceModel>,
        mut random: Random,
        planted: Option<Planted>,
    ) -> Result<Self> {
        let options = options(model, &mut random, planted);
        let slack = Slack::of(options.kv_type);
        let mut case = Self {
            host: Engine::on_host_as_stored(model, &options)?,
            device: Engine::on_device(model, device_model, &options)?,
            texts: Vec::new(),
            thresholds: thresholds(model, &options, &mut random)?,
            few: between(&mut random, 2, 8),
            allowed: slack.logits * tolerance(model),
            close: slack.score,
            vocab: model.config.vocab,
            planted,
            random,
        };
        pollster::block_on(case.device.set_room(FIRST_ROOM))?;
        let greedy = SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        };
        let sampler = Sampler::new(greedy, &[]);
        for sequence in 0..options.n_sequences {
            case.host.set_sampler(sequence, &sampler);
            case.device.set_sampler(sequence, &sampler);
            let rules = case.rules();
            case.texts.push(Text { rules, drawn: None });
        }
        Ok(case)
    }

    fn rules(&mut self) -> TextRules {
        let (n, random) = (self.host.n_cycles(), &mut self.random);
        let has_threshold = !self.thresholds.is_empty() && random.below(4) > 0;
        TextRules {
            drawn: Rule {
                threshold: has_threshold.then(|| one_of(random, &self.thresholds)),
                min_cycles: between(random, 1, n).min(between(random, 1, n)),
                max_cycles: match random.below(3) {
                    0 => between(random, 1, n),
                    _ => usize::MAX,
                },
            },
            exit_prompt: flip(random),
        }
    }

    /// Runs a batch on both sides.
    pub fn step(&mut self) -> Result<()> {
        self.cut();
        let mut batch = self.batch();
        let on_host = self.run_on_host(&mut batch)?;
        let rows: Vec<Row> = batch.iter().map(|asked| self.of_device(asked)).collect();
        let on_device = pollster::block_on(self.device.run(&rows))?;
        same("outputs", &[on_device.len()], &[on_host.len()])?;
        for ((asked, host), device) in batch.iter().zip(&on_host).zip(&on_device) {
            let compared = self.compare(asked.row.wants, device, host);
            compared.with_context(|| format!("{DIFFERENT} in {:?}", asked.row))?;
            self.texts[asked.row.sequence].drawn = self.drawn(host);
        }
        Ok(())
    }

    /// Takes positions away from some sequences, from full ones in any case, and now and then
    /// changes where keys and values of skipped cycles come from.
    fn cut(&mut self) {
        if self.random.below(8) == 0 {
            let kv = one_of(&mut self.random, KV_POLICIES).1;
            self.host.set_kv_policy(kv);
            self.device.set_kv_policy(kv);
        }
        for sequence in 0..self.texts.len() {
            let n = self.host.positions_of(sequence);
            let is_full = n == self.host.n_ctx();
            if n == 0 || (!is_full && self.random.below(5) > 0) {
                continue;
            }
            let n = self.random.below(n);
            self.host.truncate_sequence(sequence, n);
            self.device.truncate_sequence(sequence, n);
            self.texts[sequence].drawn = None;
            // A text of its own, which may run deeper than the one before.
            if n == 0 {
                self.texts[sequence].rules = self.rules();
            }
        }
    }

    fn batch(&mut self) -> Vec<Asked> {
        let (n_sequences, n_ctx) = (self.texts.len(), self.host.n_ctx());
        let n = match self.random.below(3) {
            0 => 1,
            1 => self.few,
            _ => between(&mut self.random, 9, 48),
        };
        let first = self.random.below(n_sequences);
        let mut sequences = vec![first; n];
        if self.random.below(3) > 0 {
            sequences.fill_with(|| self.random.below(n_sequences));
        }
        if flip(&mut self.random) {
            sequences.sort_unstable();
        }
        let lengths = (0..n_sequences).map(|sequence| self.host.positions_of(sequence));
        let mut lengths: Vec<usize> = lengths.collect();
        let mut batch = Vec::new();
        for sequence in sequences {
            if lengths[sequence] < n_ctx {
                lengths[sequence] += 1;
                batch.push(self.row(sequence));
            }
        }
        let mut has_later = vec![false; n_sequences];
        for asked in batch.iter_mut().rev() {
            let has_later = &mut has_later[asked.row.sequence];
            asked.row.wants.token = !*has_later && flip(&mut self.random);
            *has_later = true;
        }
        batch
    }

    /// The next row of a sequence: from the token drawn, where there is one, or a token of a prompt.
    fn row(&mut self, sequence: usize) -> Asked {
        let text = &mut self.texts[sequence];
        let drawn = text.drawn.take().filter(|_| self.random.below(4) > 0);
        let (id, rule) = match drawn {
            Some(drawn) => (drawn.id, text.rules.drawn),
            None => (self.random.below(self.vocab) as u32, text.rules.prompt()),
        };
        let row = Row {
            sequence,
            id: Some(id),
            rule,
            wants: one_of(&mut self.random, &[Wants::NOTHING, Wants::LOGITS]),
        };
        Asked {
            row,
            goes_on: drawn.is_some_and(|drawn| !drawn.is_close),
        }
    }

    /// The host's outputs, with logits where tokens are drawn. Rows of a sequence lose their
    /// threshold where a score is so close to it that the device may decide otherwise.
    fn run_on_host(&mut self, batch: &mut [Asked]) -> Result<Vec<Output>> {
        let lengths = (0..self.texts.len()).map(|sequence| self.host.positions_of(sequence));
        let lengths: Vec<usize> = lengths.collect();
        loop {
            let mut rows: Vec<Row> = batch.iter().map(|asked| asked.row).collect();
            for row in &mut rows {
                row.wants.logits = row.wants.any();
            }
            let outputs = pollster::block_on(self.host.run(&rows))?;
            let mut decided = rows.iter().zip(&outputs);
            let close = decided.find(|(row, output)| is_undecided(&row.rule, output, self.close));
            let Some(undecided) = close.map(|(row, _)| row.sequence) else {
                return Ok(outputs);
            };
            for (sequence, &n) in lengths.iter().enumerate() {
                self.host.truncate_sequence(sequence, n);
            }
            for asked in batch.iter_mut() {
                if asked.row.sequence == undecided {
                    asked.row.rule.threshold = None;
                }
            }
        }
    }

    fn of_device(&self, asked: &Asked) -> Row {
        let mut row = Row {
            id: asked.row.id.filter(|_| !asked.goes_on),
            ..asked.row
        };
        match self.planted {
            Some(Planted::Threshold) => row.rule.threshold = row.rule.threshold.map(|_| 0.0),
            Some(Planted::MaxCycles) => {
                row.rule.max_cycles = match row.rule.max_cycles.min(self.host.n_cycles()) {
                    1 => 2,
                    n => n - 1,
                };
            }
            Some(Planted::Rope) | None => {}
        }
        row
    }

    fn compare(&self, wants: Wants, device: &Output, host: &Output) -> Result<()> {
        same("cycles", &[device.cycles], &[host.cycles])?;
        all_close("scores", &device.scores, &host.scores, self.allowed / 5.0)?;
        let (found, expected) = (&device.logits, &host.logits);
        if wants.logits {
            rows_close("logits", found, expected, expected.len(), self.allowed)?;
        } else {
            ensure!(found.is_empty(), "logits that were not asked for");
        }
        match self.drawn(host) {
            Some(drawn) if drawn.is_close => {
                let found = device.drawn.context("no token drawn")?;
                let logit = expected.get(found as usize).context("no such token")?;
                let behind = expected[drawn.id as usize] - logit;
                ensure!(behind <= self.margin(expected), "token {found} drawn");
                Ok(())
            }
            _ => same("token drawn", &[device.drawn], &[host.drawn]),
        }
    }

    fn drawn(&self, host: &Output) -> Option<Drawn> {
        let id = host.drawn?;
        let best = top(&host.logits, 2);
        let is_close = best[0].1 - best[1].1 <= self.margin(&host.logits);
        Some(Drawn { id, is_close })
    }

    /// The most that two logits of a row may differ and have another order on a device.
    fn margin(&self, logits: &[f32]) -> f32 {
        let size: f64 = logits.iter().map(|&v| f64::from(v).powi(2)).sum();
        (2.0 * self.allowed * size.sqrt()) as f32
    }
}

/// Whether a device may decide otherwise when the row leaves.
fn is_undecided(rule: &Rule, output: &Output, close: f64) -> bool {
    let is_near = |t: f64| {
        output
            .scores
            .iter()
            .any(|&s| (f64::from(s) - t).abs() < close)
    };
    rule.threshold.is_some_and(is_near)
}
