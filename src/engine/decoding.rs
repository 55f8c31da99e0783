//! A generation token by token: drawn on the host from logits it has read, or on the device,
//! ahead of the host.

use crate::engine::decode::batch::Results;
use crate::engine::decode::pipeline::PassPipeline;
use crate::engine::options::Logits;
use crate::engine::sampling::Sampler;
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::kernels::draw::NO_TOKEN;
use crate::reference::Output;

/// A prompt that was run and the tokens that follow it.
pub struct Decoding<'e, 'm> {
    pub engine: &'e mut Engine<'m>,
    sampler: &'e mut Sampler,
    /// `None` where the host draws.
    ahead: Option<PassPipeline>,
    id: u32,
}

impl<'e, 'm> Decoding<'e, 'm> {
    /// Runs `prompt`, of at least one token, and draws the first token. As far as is known,
    /// `n_passes` passes will follow. One output for each token of the prompt, without logits
    /// where the device draws.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] without a prompt, be there positions in the cache: their logits are
    /// not kept; those of [`Engine::forward`].
    pub async fn start(
        engine: &'e mut Engine<'m>,
        sampler: &'e mut Sampler,
        prompt: &[u32],
        n_passes: usize,
    ) -> Result<(Self, Vec<Output>)> {
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let mut decoding = Self {
            engine,
            sampler,
            ahead: None,
            id: 0,
        };
        let outputs = match decoding.start_on_device(prompt, n_passes).await? {
            Some(outputs) => outputs,
            None => decoding.pass_on_host(prompt).await?,
        };
        Ok((decoding, outputs))
    }

    /// The token drawn last.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Runs the token drawn last and draws the next one.
    ///
    /// # Errors
    /// Those of [`Engine::forward`].
    pub async fn step(&mut self) -> Result<Output> {
        let outputs = match self.step_on_device().await? {
            Some(outputs) => outputs,
            None => self.pass_on_host(&[self.id]).await?,
        };
        Ok(outputs.into_iter().next_back().unwrap_or_default())
    }

    /// `None` where the host is to draw.
    async fn start_on_device(
        &mut self,
        prompt: &[u32],
        n_passes: usize,
    ) -> Result<Option<Vec<Output>>> {
        let options = &self.sampler.options;
        let can_draw = !options.on_host && options.fit_device(self.engine.n_vocab);
        let first_position = self.engine.n_positions;
        self.engine.check(prompt)?;
        let session = match &mut self.engine.backend {
            // A profile is of passes that are waited for.
            Backend::Device(session) if can_draw && !session.is_profiled() => session,
            _ => return Ok(None),
        };
        let sampler = session.device_sampler(self.sampler);
        let results = session
            .forward(first_position, prompt, Logits::Last, Some(&sampler))
            .await?;
        let position = first_position + prompt.len();
        let end = self.engine.n_ctx.min(position.saturating_add(n_passes));
        self.ahead = Some(PassPipeline::new(sampler, position, end));
        self.keep(results).map(Some)
    }

    /// `None` where the host is to draw.
    async fn step_on_device(&mut self) -> Result<Option<Vec<Output>>> {
        self.engine.check(&[self.id])?;
        let (Some(ahead), Backend::Device(session)) = (&mut self.ahead, &mut self.engine.backend)
        else {
            return Ok(None);
        };
        let results = ahead.next(session).await?;
        self.keep(results).map(Some)
    }

    /// Keeps the results of the device: the positions run and the token drawn.
    fn keep(&mut self, results: Results) -> Result<Vec<Output>> {
        let n_positions = self.engine.n_positions + results.outputs.len();
        self.id = match results.drawn {
            None | Some(NO_TOKEN) => {
                return Err(Error::NotANumber {
                    position: n_positions - 1,
                });
            }
            Some(id) => id,
        };
        self.engine.n_positions = n_positions;
        self.sampler.record(self.id);
        Ok(results.outputs)
    }

    async fn pass_on_host(&mut self, ids: &[u32]) -> Result<Vec<Output>> {
        let outputs = self.engine.forward(ids, Logits::Last).await?;
        let last = outputs.last().map_or(&[][..], |output| &output.logits);
        self.id = self.sampler.sample(last);
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Options;
    use crate::engine::sampling::SamplingOptions;
    use crate::model::{BUILTIN, Fetch, Model};

    #[test]
    fn there_must_be_something_to_generate_from() {
        let model = Model::open(BUILTIN, Fetch::Never).unwrap();
        let mut engine = Engine::on_host(&model, &Options::of(&model)).unwrap();
        for n_before in [0, 2] {
            pollster::block_on(engine.forward(&[1, 2][..n_before], Logits::Last)).unwrap();
            let mut sampler = Sampler::new(SamplingOptions::default(), &[]);
            let started = pollster::block_on(Decoding::start(&mut engine, &mut sampler, &[], 3));
            assert!(matches!(started, Err(Error::EmptyPrompt)));
            assert_eq!(engine.n_positions(), n_before);
        }
    }
}
