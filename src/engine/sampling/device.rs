//! Drawing tokens on the device, from logits that stay there.

use wgpu::BufferUsages;

use crate::engine::memory::rows::OUTPUT_ROWS;
use crate::engine::pass::recorder::{DispatchSizes, Pass, Phase, Recorder, RowList, Size};
use crate::engine::sampling::Sampler;
use crate::gpu::{Call, Gpu, Target, Traffic};
use crate::kernels::chunk_max::N_CHUNKS;
use crate::kernels::repeat_penalty::{HISTORY_WORDS, WINDOW};
use crate::kernels::top_k::MAX_CANDIDATES;
use crate::kernels::{chunk_max, draw, repeat_penalty, top_k};

/// The kernels that turn one row of logits into a token, with the state that they keep.
pub struct DeviceSampler {
    drawing: Drawing,
    pass: Pass,
    /// Bytes and operations that a draw cannot avoid.
    pub moved: Traffic,
}

/// Parameters and buffers of the sampling kernels.
struct Drawing {
    target: Target,
    n_vocab: u32,
    repeat_penalty: Option<repeat_penalty::Params>,
    draw: draw::Params,
    /// f32 `[n_vocab]`, padded to whole quads.
    logits: wgpu::Buffer,
    /// u32 `[chunk]`
    maxima: wgpu::Buffer,
    /// u32 `[candidate][key, id]`
    candidates: wgpu::Buffer,
    /// See `shaders/shared/history.wgsl`.
    history: wgpu::Buffer,
    ids: wgpu::Buffer,
}

impl DeviceSampler {
    /// Goes on where `sampler` is. `logits` is f32 `[n_vocab]`, padded to whole quads; the token
    /// drawn, or [`NO_TOKEN`](draw::NO_TOKEN), is written to the first of `ids`.
    ///
    /// # Panics
    /// When the sampler's options do not
    /// [fit a device](super::SamplingOptions::fit_device).
    pub fn new(
        gpu: &Gpu,
        sampler: &Sampler,
        n_vocab: usize,
        logits: &wgpu::Buffer,
        ids: &wgpu::Buffer,
    ) -> Self {
        assert!(sampler.options.fit_device(n_vocab), "too many candidates");
        let drawing = Drawing {
            target: gpu.target.clone(),
            n_vocab: n_vocab as u32,
            repeat_penalty: sampler.penalty(),
            draw: sampler.options.draw_rule(n_vocab),
            logits: logits.clone(),
            maxima: gpu.storage("maxima", 4 * u64::from(N_CHUNKS)),
            candidates: gpu.storage("candidates", 8 * MAX_CANDIDATES as u64),
            history: gpu.buffer_with("history", &history(sampler), BufferUsages::STORAGE),
            ids: ids.clone(),
        };
        let mut recorder = Recorder::new(gpu.target.skip);
        drawing.record(&mut recorder);
        let pass = recorder.finish(gpu, &DispatchSizes::new(gpu, 0));
        let mut moved = Traffic::default();
        for note in &pass.notes {
            moved += note.cost.over([0]);
        }
        Self {
            drawing,
            pass,
            moved,
        }
    }

    /// Encodes one draw. Returns the number of dispatches.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) -> usize {
        // One row in the batch, and it has logits.
        self.pass.plan.encode(encoder, &[1, 1])
    }

    /// Records the calls of one draw, for measuring.
    pub fn record<'b>(&'b self, r: &mut Recorder<'b>) {
        self.drawing.record(r);
    }
}

impl Drawing {
    pub fn record<'b>(&'b self, r: &mut Recorder<'b>) {
        let n_vocab = self.n_vocab;
        r.enter(Phase::Logits);
        // No list of rows is read: there is one row of logits.
        let over = RowList {
            list: 0,
            size: Size::Counted(OUTPUT_ROWS),
        };
        let mut push = |call: Call<'b>| r.push(call.kernel.name, call, over);
        if let Some(params) = self.repeat_penalty {
            push(repeat_penalty::call(params, [&self.history, &self.logits]));
        }
        push(chunk_max::call(
            &self.target,
            chunk_max::Params { n_vocab },
            [&self.logits, &self.maxima],
        ));
        let k = self.draw.n_candidates;
        push(top_k::call(
            &self.target,
            top_k::Params { n_vocab, k },
            [&self.logits, &self.maxima, &self.candidates],
        ));
        push(draw::call(
            self.draw,
            [&self.candidates, &self.history, &self.ids],
        ));
    }
}

/// The tokens drawn and seen before, as the sampling kernels read them.
fn history(sampler: &Sampler) -> [u32; HISTORY_WORDS] {
    let seen = &sampler.seen;
    let mut words = [0; HISTORY_WORDS];
    words[0] = sampler.n_drawn;
    words[1] = seen.len() as u32;
    let first = seen.len().saturating_sub(WINDOW);
    for (i, &id) in seen.iter().enumerate().skip(first) {
        words[2 + i % WINDOW] = id;
    }
    words
}
