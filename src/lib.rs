//! Runs Zero Token Transformers on any GPU, through wgpu and hand-written WGSL.
//!
//! A Zero Token Transformer (arXiv 2502.12214) keeps its first and last layers fixed and runs the
//! layers between them several times over. Every attention also sees a *zero token*, whose
//! softmax weight says how little a cycle still adds: a position leaves the cycles as soon as
//! that score is high.
//!
//! # The way of the data
//!
//! ```text
//!  files ──> model ──────> engine::weights ──> engine::session ──> logits ──> generate ──> text
//!            config         on the device       a batch a            │  │       stop rules
//!            checkpoint                         submission           │  sampling
//!            tokenizer     schedule ──> engine::forward              │
//!                          the walk     the pass as a                │
//!                                       list of kernels ─────────────┘
//! ```
//!
//! Each module knows only those before it, but for the kernels' declarations, which `gpu` reads:
//!
//! | module | job |
//! |---|---|
//! | [`error`] | what can go wrong, each in one line |
//! | [`model`] | what a checkpoint says: config, tensors by role, tokenizer; knows no device |
//! | [`rope`] | the rotary embedding's angles |
//! | [`schedule`] | config to walk: which layer runs when, with which pool row and cache |
//! | [`mod@reference`] | the whole model in plain Rust, in double precision: the truth |
//! | [`gpu`] | the device: adapters, buffers, pipelines, plans; knows no model |
//! | [`kernels`] | one small module a shader: parameters, bindings, grid |
//! | [`engine`] | model and device together: weights, caches, the pass, sampling |
//! | [`generate`](mod@generate) | prompt to a stream of tokens, stop rules, statistics |
//! | [`chat`] | conversations by turns, over a cache that keeps what they have in common |
//! | [`serve`] | a server of OpenAI's format, texts extended together |
//! | [`page`] | pages of HTML: the look they share, filling a template |
//! | [`evaluate`] | how well a text is predicted: windows, perplexity, sweeps, calibration |
//! | [`measure`] | figures: probes of the adapter, kernels, models; reports of them |
//! | [`cli`] | the command line, one file a subcommand |
//!
//! # As a library
//!
//! A [model](model::Model) is opened, an [engine](engine::Engine) runs it and holds one sequence,
//! [`generate`](fn@generate::generate) streams tokens; each says what its position did.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
//! use ztt_wgpu::engine::{Engine, Options};
//! use ztt_wgpu::generate::{StopRules, generate};
//! use ztt_wgpu::model::{BUILTIN, Fetch, Model};
//!
//! let model = Model::open(BUILTIN, Fetch::Never)?;
//! let tokenizer = model.tokenizer()?;
//! let prompt = tokenizer.encode("Call me")?;
//! let mut engine = pollster::block_on(Engine::on_best(&model, &Options::of(&model)))?;
//! let mut sampler = Sampler::new(SamplingOptions::default(), &prompt);
//! let rules = StopRules::of(&model, 8);
//! let mut scores = Vec::new();
//! let summary = pollster::block_on(generate(
//!     &mut engine,
//!     Some(&tokenizer),
//!     &prompt,
//!     &mut sampler,
//!     &rules,
//!     |token| {
//!         print!("{}", token.text);
//!         scores.push(token.scores.clone()); // one for each cycle that ran
//!         ControlFlow::Continue(())
//!     },
//! ))?;
//! assert_eq!(summary.n_generated, 8);
//! assert!(scores.iter().flatten().all(|score| (0.0..=1.0).contains(score)));
//! # Ok::<(), ztt_wgpu::Error>(())
//! ```
//!
//! In browsers the same calls are awaited where the page awaits: see `examples/web`. Without the
//! default features `cli` and `hub` there is no [`cli`], [`measure`] and [`serve`], and no search for
//! `org/name`.
//!
//! [`Engine::forward`](engine::Engine::forward) gives logits, cycles and scores of every position
//! of a text, [`ChatSession`](chat::ChatSession) holds a conversation. `examples/` has a program
//! for each.
//!
//! # How a token is computed
//!
//! The pass is recorded once, as a [`gpu::plan::Plan`]: embed, head layers, each cycle's middle
//! layers, tail layers, logits. What changes from token to token (ids, positions, which rows are
//! in the batch) lies in buffers, so a token is one submission, all cycles included.
//!
//! Attention leaves the zero attention of each row and middle layer in a small buffer. After
//! each cycle the `exit` kernel sums it in a fixed order, decides which rows leave, and writes
//! two lists of rows, those that stay and those that leave, with the sizes of the dispatches that
//! follow. Later cycles are dispatched indirectly over the rows that stay; rows that leave get
//! the keys and values of the cycles they skip. The host is not asked.
//!
//! While a text is generated, the next token is drawn on the device too: `chunk_max` and `top_k`
//! find the likeliest tokens, `draw` chooses one, exactly as [`engine::sampling`] does on the
//! host, and leaves it where the next pass reads its token. So [`engine::Decoding`] submits passes
//! ahead and reads tokens and scores a few passes behind.
//!
//! # Classes of kernels
//!
//! What is fast differs between adapters. [`gpu::KernelClass`] names the ways kernels are written,
//! and chooses one from what the adapter says of itself; all give the same results. With `texture`
//! matrices lie in textures, one row of activations is read from a uniform buffer, and many rows
//! are first packed into a texture.
//!
//! # Words
//!
//! - *parameter layer*: a stored layer. *Effective layer*: one run of it; `e` counts them.
//! - *cycle*: one run through the middle layers.
//! - *pool*: the zero tokens' keys and values, one row an effective layer or cycle.
//! - *zero attention*: the softmax weight on the zero token. *Score*: its mean over heads,
//!   reduced over a cycle's layers.
//! - *row*: a position in a batch. *Octet*: eight values, the unit rows are padded to.
//!   *Block*: 32 quantised weights of a row that share a scale.

pub mod chat;
#[cfg(feature = "cli")]
pub mod cli;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod generate;
pub mod gpu;
pub mod kernels;
#[cfg(feature = "cli")]
pub mod measure;
pub mod model;
pub mod page;
pub mod reference;
pub mod rope;
pub mod schedule;
#[cfg(feature = "cli")]
pub mod serve;

pub use error::{Error, Result};
