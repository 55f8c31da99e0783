//! The state of a server that all of its routes share.

use std::time::Duration;

use super::admission::Admission;
use super::batching::{Backend, Queue};
use super::connections::Limits;
use super::health::Health;
use super::http::Callers;
use super::metrics::Metrics;
use super::openai::unix_time;
use crate::engine::Drafts;
use crate::engine::sampling::SamplingOptions;
use crate::error::Result;
use crate::model::Model;
use crate::model::chat_template::{ChatTemplate, Variables};
use crate::model::plain_content::PlainContent;
use crate::model::tokenizer::Tokenizer;
use crate::model::turn_end::turn_end;
use crate::schedule::TextRules;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the model in requests.
    pub name: String,
    /// The values of fields that a request leaves out; the seed is not looked at.
    pub sampling: SamplingOptions,
    /// Of requests that have none; `None` draws one for each.
    pub seed: Option<u64>,
    /// Of requests that have none; the context is a bound in any case.
    pub max_tokens: usize,
    /// Texts that may wait for a sequence.
    pub n_waiting: usize,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long requests under way have to end once the server is told to stop.
    pub grace: Duration,
    /// Whether messages are text alone: tokens that the tokenizer adds are not recognised in them.
    pub plain_content: bool,
    /// Variables of the chat template, where a request does not set them.
    pub variables: Variables,
    /// The key that requests must bring along, but for /health.
    pub api_key: Option<String>,
    pub callers: Callers,
    pub limits: Limits,
}

/// A server's model, as far as it is not the batcher's, and its state.
pub struct App {
    pub settings: Settings,
    pub tokenizer: Tokenizer,
    /// Or why there is none.
    pub template: Result<ChatTemplate>,
    /// Where messages are text alone.
    pub plain: Option<PlainContent>,
    pub n_vocab: usize,
    pub n_ctx: usize,
    /// Cycles have scores, on which positions may leave.
    pub has_scores: bool,
    /// The most cycles that a position runs.
    pub n_cycles: usize,
    /// Of requests that bring none.
    pub rules: TextRules,
    /// Of requests that bring none.
    pub drafts: Drafts,
    /// Bytes that a prompt may have: one with more has more tokens than the context holds, where
    /// the tokenizer keeps all of a text.
    pub max_prompt_bytes: Option<usize>,
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
    /// The token of the chat template that ends answers, too.
    pub turn_end: Option<u32>,
    /// When the server started, in seconds since 1970.
    pub created: u64,
    pub admission: Admission,
    pub queue: Queue,
    pub health: Health,
    pub metrics: Metrics,
}

impl App {
    /// Of a server of `model`, which `backend` runs.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`](crate::Error::NoTokenizer), those of reading the tokenizer, and,
    /// where they are asked for, those of [`PlainContent::new`] and
    /// [`ChatTemplate::with_variables`].
    pub fn new(settings: Settings, model: &Model, backend: &impl Backend) -> Result<Self> {
        let (n_sequences, n_ctx) = (backend.n(), backend.n_ctx());
        let tokenizer = model.tokenizer()?;
        let template = match settings.variables.is_empty() {
            true => model.chat_template(),
            false => Ok(model.chat_template()?.with_variables(&settings.variables)?),
        };
        let turns = template.as_ref().ok();
        Ok(Self {
            turn_end: turns.and_then(|template| turn_end(template, &tokenizer)),
            plain: match settings.plain_content {
                true => Some(PlainContent::new(&tokenizer)?),
                false => None,
            },
            max_prompt_bytes: tokenizer.most_bytes(n_ctx),
            tokenizer,
            template,
            n_vocab: model.config.vocab,
            n_ctx,
            has_scores: model.config.score.is_some(),
            n_cycles: backend.n_cycles(),
            rules: backend.rules(),
            drafts: backend.drafts(),
            bos: model.bos(),
            eos: model.eos().to_vec(),
            created: unix_time(),
            admission: Admission::new(settings.max_body),
            queue: Queue::new(settings.n_waiting, n_sequences),
            health: Health::default(),
            metrics: Metrics::new(backend.n_cycles(), n_sequences),
            settings,
        })
    }
}
