//! Drawing tokens on the device, from logits that stay there.

use wgpu::BufferUsages;

use super::Sampler;
use crate::engine::memory::rows::DRAW_ROWS;
use crate::engine::pass::recorder::{DispatchSizes, Phase, Recorder, RowList, Size};
use crate::gpu::{Call, Gpu, Target};
use crate::kernels::adjust_logits::MASK_TOKENS;
use crate::kernels::chunk_max::N_CHUNKS;
use crate::kernels::draw::DrawRule;
use crate::kernels::repeat_penalty::{HISTORY_WORDS, RING, RING_PLACES, WINDOW};
use crate::kernels::top_k::MAX_CANDIDATES;
use crate::kernels::{adjust_logits, chunk_max, draw, next_rows, repeat_penalty, top_k};

/// Samplers of sequences, and what the kernels that draw from rows of logits hand each other.
pub struct DeviceSampler {
    target: Target,
    n_vocab: usize,
    /// Values of a row of logits.
    stride: usize,
    n_sequences: usize,
    /// [`DrawRule`] `[sequence]`
    draw_rules: wgpu::Buffer,
    /// u32 `[sequence][HISTORY_WORDS]`; see `shaders/shared/history.wgsl`.
    history: wgpu::Buffer,
    /// u32 `[row of logits][chunk]`
    maxima: wgpu::Buffer,
    /// u32 `[row of logits][MAX_CANDIDATES][key, id]`
    candidates: wgpu::Buffer,
    /// The tokens drawn, u32 `[row of logits]`.
    pub drawn: wgpu::Buffer,
    /// Made when they are first needed.
    adjustments: Option<Adjustments>,
}

struct Adjustments {
    /// f32 `[sequence][stride]`
    biases: wgpu::Buffer,
    /// u32 `[sequence][stride / 32]`
    masks: wgpu::Buffer,
}

/// The kernels that some row of a batch wants besides those that all want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Biases and masks of logits.
    pub adjusts: bool,
    /// The repeat penalty.
    pub penalizes: bool,
}

impl Changes {
    /// What the rows of a sequence with this rule want.
    pub fn of(rule: &DrawRule) -> Self {
        Self {
            adjusts: rule.has_bias + rule.has_mask > 0,
            penalizes: rule.seen_positive != rule.seen_negative,
        }
    }

    /// What either wants.
    pub fn or(self, other: Self) -> Self {
        Self {
            adjusts: self.adjusts || other.adjusts,
            penalizes: self.penalizes || other.penalizes,
        }
    }
}

/// The buffers of a batch that drawing reads and writes.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// f32 `[row of logits][stride]`, rows padded to whole quads.
    pub logits: &'a wgpu::Buffer,
    /// See `shaders/shared/rows.wgsl`.
    pub rows: &'a wgpu::Buffer,
    /// The list of rows that the rows of logits belong to.
    pub list: u32,
}

impl DeviceSampler {
    /// For `n_sequences` sequences and `n_rows` rows of `n_vocab` logits, which lie `stride` apart.
    pub fn new(
        gpu: &Gpu,
        n_sequences: usize,
        n_rows: usize,
        n_vocab: usize,
        stride: usize,
    ) -> Self {
        let words = |label, n: usize| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
            gpu.buffer(label, 4 * n as u64, usage)
        };
        Self {
            target: gpu.target.clone(),
            n_vocab,
            stride,
            n_sequences,
            draw_rules: words("draw_rules", n_sequences * size_of::<DrawRule>() / 4),
            history: words("history", n_sequences * HISTORY_WORDS),
            maxima: words("maxima", n_rows * N_CHUNKS as usize),
            candidates: words("candidates", n_rows * 2 * MAX_CANDIDATES),
            drawn: words("drawn", n_rows),
            adjustments: None,
        }
    }

    /// From the next submission on, tokens of `sequence` are drawn as `sampler` would draw them.
    /// Returns the rule they are drawn by.
    ///
    /// # Panics
    /// When the sampler's options do not [fit a device](super::SamplingOptions::fit_device).
    pub fn set(&mut self, gpu: &Gpu, sequence: usize, sampler: &Sampler) -> DrawRule {
        assert!(
            sampler.options.fit_device(self.n_vocab),
            "too many candidates"
        );
        let rule = sampler.draw_rule(self.n_vocab);
        let at = (sequence * size_of::<DrawRule>()) as u64;
        gpu.queue
            .write_buffer(&self.draw_rules, at, bytemuck::bytes_of(&rule));
        let at = (4 * sequence * HISTORY_WORDS) as u64;
        gpu.queue
            .write_buffer(&self.history, at, bytemuck::cast_slice(&history(sampler)));
        self.write_adjustments(gpu, sequence, sampler);
        rule
    }

    /// From the next submission on, `id` is at a place of the text of `sequence`, until another
    /// token is drawn there.
    pub fn set_token(&self, gpu: &Gpu, sequence: usize, place: usize, id: u32) {
        let word = sequence * HISTORY_WORDS + RING + place % RING_PLACES;
        gpu.queue
            .write_buffer(&self.history, 4 * word as u64, bytemuck::bytes_of(&id));
    }

    fn write_adjustments(&mut self, gpu: &Gpu, sequence: usize, sampler: &Sampler) {
        if sampler.bias.is_none() && sampler.mask.is_none() {
            return;
        }
        let mask_words = self.stride.div_ceil(MASK_TOKENS as usize);
        let n_sequences = self.n_sequences;
        let adjustments = self.adjustments.get_or_insert_with(|| Adjustments {
            biases: gpu.storage("biases", 4 * (n_sequences * self.stride) as u64),
            masks: gpu.storage("masks", 4 * (n_sequences * mask_words) as u64),
        });
        if let Some(bias) = &sampler.bias {
            let at = (4 * sequence * self.stride) as u64;
            let bias = &bias[..self.n_vocab.min(bias.len())];
            gpu.queue
                .write_buffer(&adjustments.biases, at, bytemuck::cast_slice(bias));
        }
        if let Some(mask) = &sampler.mask {
            let at = (4 * sequence * mask_words) as u64;
            let mask = &mask[..mask_words.min(mask.len())];
            gpu.queue
                .write_buffer(&adjustments.masks, at, bytemuck::cast_slice(mask));
        }
    }

    /// Records the kernel that gives rows their tokens and positions which go on from the token
    /// drawn last: those of the list `list` whose id is [`next_rows::FROM_HISTORY`].
    pub fn record_next<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        list: u32,
        rows: &'b wgpu::Buffer,
        ids: &'b wgpu::Buffer,
    ) {
        r.enter(Phase::Head);
        let params = next_rows::Params { list };
        let call = next_rows::call(params, [&self.history, rows, ids]);
        r.push_whole("next_rows", call);
    }

    /// Encodes the draw of a token from each row of logits. Returns the number of dispatches.
    pub fn encode_draw(
        &self,
        gpu: &Gpu,
        changes: Changes,
        inputs: Inputs<'_>,
        encoder: &mut wgpu::CommandEncoder,
        counts: &[u32],
    ) -> usize {
        let mut recorder = Recorder::new(self.target.skip);
        self.record_draw(&mut recorder, changes, inputs);
        let pass = recorder.finish(gpu, &DispatchSizes::new(gpu, 0));
        pass.plan.encode(encoder, counts)
    }

    /// Records the draw of a token from each row of logits.
    ///
    /// # Panics
    /// When `changes` asks for adjustments and no sampler had any.
    pub fn record_draw<'b>(&'b self, r: &mut Recorder<'b>, changes: Changes, inputs: Inputs<'b>) {
        let Inputs { logits, rows, list } = inputs;
        let (n_vocab, stride) = (self.n_vocab as u32, self.stride as u32);
        let row_quads = stride / 4;
        r.enter(Phase::Logits);
        let over = RowList {
            list,
            size: Size::Counted(DRAW_ROWS),
        };
        let mut push = |call: Call<'b>| r.push(call.kernel.name, call, over);
        if changes.adjusts {
            let Adjustments { biases, masks } = self.adjustments.as_ref().expect("set before");
            let params = adjust_logits::Params {
                n_vocab,
                stride,
                list,
            };
            let buffers = [&self.draw_rules, biases, masks, rows, logits];
            push(adjust_logits::call(params, buffers));
        }
        if changes.penalizes {
            let params = repeat_penalty::Params {
                n_vocab,
                stride,
                list,
            };
            let buffers = [&self.draw_rules, &self.history, rows, logits];
            push(repeat_penalty::call(params, buffers));
        }
        push(chunk_max::call(
            &self.target,
            chunk_max::Params { n_vocab, row_quads },
            [logits, &self.maxima],
        ));
        push(top_k::call(
            &self.target,
            top_k::Params {
                n_vocab,
                row_quads,
                list,
            },
            [
                logits,
                &self.maxima,
                &self.draw_rules,
                rows,
                &self.candidates,
            ],
        ));
        push(draw::call(
            draw::Params { list },
            [
                &self.candidates,
                &self.draw_rules,
                rows,
                &self.history,
                &self.drawn,
            ],
        ));
    }
}

/// The text so far, as the sampling kernels read it.
fn history(sampler: &Sampler) -> [u32; HISTORY_WORDS] {
    let seen = &sampler.seen;
    let mut words = [0; HISTORY_WORDS];
    let first = seen.len().saturating_sub(WINDOW);
    for (place, &id) in seen.iter().enumerate().skip(first) {
        words[RING + place % RING_PLACES] = id;
    }
    words
}
