//! The texts that a test of a model extends: one, or several at once.

use std::sync::Arc;

use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::{
    Decoding, DeviceModel, DeviceStats, Engine, Logits, MAX_BATCH, Options, Row, Wants,
};
use crate::error::Result;
use crate::model::Model;

/// Where a model runs.
pub enum Place {
    Host,
    Device(Arc<DeviceModel>),
}

/// Texts in shared passes.
pub struct Texts<'m>(Engine<'m>);

impl<'m> Texts<'m> {
    /// `n` empty texts of `options.n_ctx` positions each.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when the caches do not fit the adapter.
    pub fn new(model: &'m Model, place: &Place, options: &Options, n: usize) -> Result<Self> {
        let options = options.clone().with_sequences(n);
        let mut engine = match place {
            Place::Host => Engine::on_host(model, &options)?,
            Place::Device(device) => Engine::on_device(model, device, &options)?,
        };
        // No cache grows while something is timed.
        pollster::block_on(engine.set_room(options.n_ctx))?;
        Ok(Self(engine))
    }

    /// Extends every text by `ids`, with the logits of the last one. Returns the cycles of all
    /// positions together.
    pub fn extend(&mut self, ids: &[u32]) -> Result<usize> {
        if self.0.n_sequences() == 1 {
            let outputs = pollster::block_on(self.0.forward(ids, Logits::Last))?;
            return Ok(outputs.iter().map(|output| output.cycles).sum());
        }
        let rule = self.0.rules().prompt();
        let row = |sequence, i: usize| Row {
            sequence,
            id: Some(ids[i]),
            rule,
            wants: match i + 1 == ids.len() {
                true => Wants::LOGITS,
                false => Wants::NOTHING,
            },
        };
        let sequences = 0..self.0.n_sequences();
        let rows = sequences.flat_map(|sequence| (0..ids.len()).map(move |i| (sequence, i)));
        let rows: Vec<Row> = rows.map(|(sequence, i)| row(sequence, i)).collect();
        self.run(&rows)
    }

    /// Runs rows, batch by batch. Returns the cycles of all together.
    fn run(&mut self, rows: &[Row]) -> Result<usize> {
        let mut cycles = 0;
        for batch in rows.chunks(MAX_BATCH) {
            let outputs = pollster::block_on(self.0.run(batch))?;
            cycles += outputs.iter().map(|output| output.cycles).sum::<usize>();
        }
        Ok(cycles)
    }

    /// Extends every text by as many tokens as there are `ids`: by the first of them, then by the
    /// likeliest tokens, drawn as `run` and `serve` draw them. One text runs ahead of the host.
    /// Returns the cycles of all positions together.
    pub fn generate(&mut self, ids: &[u32]) -> Result<usize> {
        let options = SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        };
        let mut sampler = Sampler::new(options, &[]);
        let n_passes = ids.len() - 1;
        if self.0.n_sequences() > 1 {
            return self.generate_together(&sampler, ids[0], n_passes);
        }
        let start = Decoding::start(&mut self.0, &mut sampler, &ids[..1], n_passes);
        let (mut decoding, outputs) = pollster::block_on(start)?;
        let mut cycles: usize = outputs.iter().map(|output| output.cycles).sum();
        for _ in 0..n_passes {
            cycles += pollster::block_on(decoding.step())?.cycles;
        }
        Ok(cycles)
    }

    fn generate_together(&mut self, sampler: &Sampler, id: u32, n_passes: usize) -> Result<usize> {
        let sequences = 0..self.0.n_sequences();
        sequences
            .clone()
            .for_each(|s| self.0.set_sampler(s, sampler));
        let rule = self.0.rules().drawn;
        let rows = |id: Option<u32>| -> Vec<Row> {
            let row = |sequence| Row {
                sequence,
                id,
                rule,
                wants: Wants::TOKEN,
            };
            sequences.clone().map(row).collect()
        };
        let mut cycles = self.run(&rows(Some(id)))?;
        let next = rows(None);
        for _ in 0..n_passes {
            cycles += self.run(&next)?;
        }
        Ok(cycles)
    }

    /// Forgets all positions of every text from `n` on.
    pub fn truncate(&mut self, n: usize) {
        (0..self.0.n_sequences()).for_each(|sequence| self.0.truncate_sequence(sequence, n));
    }

    /// The work that the device was given so far; zeros on the host.
    pub fn work(&self) -> DeviceStats {
        self.0.work()
    }
}
