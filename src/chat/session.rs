//! A conversation over an engine: each turn computes only what the cache does not hold yet.

use std::ops::ControlFlow;

use super::Conversation;
use crate::engine::Engine;
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::error::{Error, Result};
use crate::generate::{Cached, Finish, StopRules, Summary, Token, generate_after};
use crate::model::Model;
use crate::model::chat_template::{ChatTemplate, Variables};
use crate::model::plain_content::PlainContent;
use crate::model::tokenizer::Tokenizer;
use crate::model::turn_end::turn_end;

/// A conversation with a model.
pub struct ChatSession<'m> {
    engine: Engine<'m>,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    plain: Option<PlainContent>,
    /// May be changed between turns.
    pub conversation: Conversation,
    /// The positions whose keys and values are in the engine's cache.
    cached: Cached,
    /// Turns so far: each draws random numbers of its own.
    n_turns: u64,
}

/// How an answer is made.
pub struct AnswerOptions {
    pub sampling: SamplingOptions,
    pub rules: StopRules,
    /// Drop the oldest turns where the conversation does not fit the context.
    pub shift: bool,
}

impl AnswerOptions {
    /// Without dropping turns.
    pub fn new(sampling: SamplingOptions, rules: StopRules) -> Self {
        Self {
            sampling,
            rules,
            shift: false,
        }
    }
}

/// The result of one turn.
#[derive(Clone, Debug)]
pub struct Answer {
    pub summary: Summary,
    /// Tokens of the conversation, up to where the answer begins.
    pub n_prompt: usize,
    /// How many of them were in the cache already.
    pub n_cached: usize,
    /// Turns that were dropped to make it fit.
    pub n_dropped: usize,
}

/// With `shift` an answer has room for as many tokens as it may take, but no more than this part
/// of the context.
const LARGEST_ROOM: usize = 4;

impl<'m> ChatSession<'m> {
    /// `engine` must have run nothing yet.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] and [`Error::NoChatTemplate`] where the model has none.
    pub fn new(model: &'m Model, engine: Engine<'m>) -> Result<Self> {
        Ok(Self {
            engine,
            tokenizer: model.tokenizer()?,
            template: model.chat_template()?,
            plain: None,
            conversation: Conversation::default(),
            cached: Cached::default(),
            n_turns: 0,
        })
    }

    /// Takes messages for text alone: tokens that the tokenizer adds are not recognised in them.
    ///
    /// # Errors
    /// Those of [`PlainContent::new`].
    pub fn with_plain_content(self) -> Result<Self> {
        let plain = Some(PlainContent::new(&self.tokenizer)?);
        Ok(Self { plain, ..self })
    }

    /// Sets variables of the chat template, for all turns.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::with_variables`].
    pub fn with_variables(self, variables: &Variables) -> Result<Self> {
        let template = self.template.with_variables(variables)?;
        Ok(Self { template, ..self })
    }

    /// The token that ends an answer as the chat template writes it.
    pub fn turn_end(&self) -> Option<u32> {
        turn_end(&self.template, &self.tokenizer)
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Positions in use, and positions there is room for.
    pub fn context(&self) -> (usize, usize) {
        (self.engine.n_positions(), self.engine.n_ctx())
    }

    /// Answers `text`; `receive` gets the answer token by token. The generated text joins the
    /// conversation, be it interrupted; a turn without any generated token leaves no trace.
    ///
    /// # Errors
    /// [`Error::ContextFull`], [`Error::ChatTemplate`] and, where the template writes nothing,
    /// [`Error::EmptyPrompt`], after which the conversation is as it was before; those of the
    /// engine.
    pub async fn ask(
        &mut self,
        text: &str,
        options: &AnswerOptions,
        mut receive: impl FnMut(&Token) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let before = self.conversation.clone();
        self.conversation.push_user(text.to_string());
        let answered = self.answer(options, &mut receive).await;
        match &answered {
            Ok((answer, text)) if !is_unanswered(answer) => {
                self.conversation.push_answer(text.clone());
            }
            _ => self.conversation = before,
        }
        answered.map(|(answer, _)| answer)
    }

    /// Answers the conversation as it stands; also the text.
    async fn answer(
        &mut self,
        options: &AnswerOptions,
        receive: &mut impl FnMut(&Token) -> ControlFlow<()>,
    ) -> Result<(Answer, String)> {
        let (ids, n_dropped) = self.fit(options)?;
        let rules = self.engine.rules();
        let n_cycles = self.engine.n_cycles();
        let n_cached = self.cached.n_reusable(&ids, &rules.prompt(), n_cycles);
        self.engine.truncate(n_cached);
        self.cached.truncate(n_cached);
        let sampling = SamplingOptions {
            seed: options.sampling.seed.wrapping_add(self.n_turns),
            ..options.sampling.clone()
        };
        self.n_turns += 1;
        let mut sampler = Sampler::new(sampling, &ids);
        let mut run = ids.clone();
        let mut text = String::new();
        let receive = |token: &Token| {
            run.push(token.id);
            text.push_str(&token.text);
            receive(token)
        };
        let generated = generate_after(
            &mut self.engine,
            Some(&self.tokenizer),
            &ids,
            n_cached,
            &mut sampler,
            &options.rules,
            receive,
        );
        let summary = generated.await?;
        // Tokens that were held back and never given out are not known here.
        run.truncate(self.engine.n_positions());
        self.engine.truncate(run.len());
        let n_prompt = run.len().min(ids.len());
        self.cached.extend(&run[n_cached..n_prompt], rules.prompt());
        self.cached.extend(&run[n_prompt..], rules.drawn);
        let answer = Answer {
            summary,
            n_prompt: ids.len(),
            n_cached,
            n_dropped,
        };
        Ok((answer, text))
    }

    /// The ids of the conversation, and how many turns were dropped to make it fit.
    fn fit(&mut self, options: &AnswerOptions) -> Result<(Vec<u32>, usize)> {
        let limit = self.engine.n_ctx();
        let room = match options.shift {
            true => options.rules.max_tokens.min(limit / LARGEST_ROOM),
            false => 0,
        };
        let mut n_dropped = 0;
        loop {
            let seen = self.conversation.seen();
            let text = self.template.render(&seen, true)?;
            if let Err(e) = self.tokenizer.check_length(&text, limit) {
                let is_long = matches!(e, Error::LongPrompt { .. });
                if is_long && options.shift && self.conversation.drop_oldest_turn() {
                    n_dropped += 1;
                    continue;
                }
                return Err(e);
            }
            let ids = match &self.plain {
                Some(plain) => plain.encode(&self.template, &self.tokenizer, &seen, &text)?,
                None => self.tokenizer.encode_verbatim(&text)?,
            };
            let found = ids.len();
            if found == 0 {
                return Err(Error::EmptyPrompt);
            }
            if found + room <= limit {
                return Ok((ids, n_dropped));
            }
            match options.shift && self.conversation.drop_oldest_turn() {
                true => n_dropped += 1,
                false if found <= limit => return Ok((ids, n_dropped)),
                false => return Err(Error::ContextFull { limit, found }),
            }
        }
    }
}

/// Whether the turn was ended before anything was generated.
fn is_unanswered(answer: &Answer) -> bool {
    answer.summary.finish == Finish::Interrupted && answer.summary.n_generated == 0
}
