//! The texts that a test of a model extends: one, or several at once.

use std::sync::Arc;

use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::{
    Decoding, DeviceModel, DeviceStats, Engine, Logits, MAX_BATCH, Next, Options, Sequences,
};
use crate::error::Result;
use crate::model::Model;

/// Where a model runs.
pub enum Place {
    Host,
    Device(Arc<DeviceModel>),
}

/// One text on the engine of a single sequence, or several in shared passes.
pub enum Texts<'m> {
    One(Box<Engine<'m>>),
    Several(Box<Sequences<'m>>),
}

impl<'m> Texts<'m> {
    /// `n` empty texts of `options.n_ctx` positions each.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when the caches do not fit the adapter.
    pub fn new(model: &'m Model, place: &Place, options: &Options, n: usize) -> Result<Self> {
        Ok(match (place, n) {
            (Place::Host, 1) => Self::One(Box::new(Engine::on_host(model, options)?)),
            (Place::Device(device), 1) => {
                Self::One(Box::new(Engine::on_device(model, device, options)?))
            }
            (Place::Host, n) => Self::Several(Box::new(Sequences::on_host(model, options, n)?)),
            (Place::Device(device), n) => {
                let sequences = Sequences::on_device(model, device, options, n)?;
                Self::Several(Box::new(sequences))
            }
        })
    }

    /// Extends every text by `ids`, with the logits of the last one. Returns the cycles of all
    /// positions together.
    pub fn extend(&mut self, ids: &[u32]) -> Result<usize> {
        let mut cycles = 0;
        match self {
            Self::One(engine) => {
                let outputs = pollster::block_on(engine.forward(ids, Logits::Last))?;
                cycles += outputs.iter().map(|output| output.cycles).sum::<usize>();
            }
            Self::Several(sequences) => {
                let tokens: Vec<Next> = (0..sequences.n())
                    .flat_map(|sequence| (1..).zip(ids).map(move |(i, &id)| (sequence, i, id)))
                    .map(|(sequence, i, id)| Next {
                        sequence,
                        id,
                        logits: i == ids.len(),
                    })
                    .collect();
                for batch in tokens.chunks(MAX_BATCH) {
                    let outputs = pollster::block_on(sequences.forward(batch))?;
                    cycles += outputs.iter().map(|output| output.cycles).sum::<usize>();
                }
            }
        }
        Ok(cycles)
    }

    /// Extends every text by as many tokens as there are `ids`. One text begins with the first of
    /// them and goes on with the likeliest tokens, drawn as `run` draws them: on the device, ahead
    /// of the host. Several texts take the ids one by one, as their logits are read by the host.
    /// Returns the cycles of all positions together.
    pub fn generate(&mut self, ids: &[u32]) -> Result<usize> {
        let engine = match self {
            Self::One(engine) => engine,
            Self::Several(_) => return ids.iter().map(|&id| self.extend(&[id])).sum(),
        };
        let options = SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        };
        let mut sampler = Sampler::new(options, &[]);
        let n_passes = ids.len() - 1;
        let start = Decoding::start(engine, &mut sampler, &ids[..1], n_passes);
        let (mut decoding, outputs) = pollster::block_on(start)?;
        let mut cycles: usize = outputs.iter().map(|output| output.cycles).sum();
        for _ in 0..n_passes {
            cycles += pollster::block_on(decoding.step())?.cycles;
        }
        Ok(cycles)
    }

    /// Forgets all positions of every text from `n` on.
    pub fn truncate(&mut self, n: usize) {
        match self {
            Self::One(engine) => engine.truncate(n),
            Self::Several(sequences) => {
                (0..sequences.n()).for_each(|sequence| sequences.truncate(sequence, n));
            }
        }
    }

    /// The work that the device was given so far; zeros on the host.
    pub fn work(&self) -> DeviceStats {
        match self {
            Self::One(engine) => engine.work(),
            Self::Several(sequences) => sequences.work(),
        }
    }
}
