//! Runs Zero Token Transformers on any GPU, through wgpu and hand-written WGSL.
//!
//! A Zero Token Transformer (arXiv 2502.12214) keeps its first and last layers fixed and runs the
//! layers between them several times over. Every attention also sees a *zero token*, whose
//! softmax weight says how little a cycle still adds: a position leaves the cycles as soon as
//! that score is high.
//!
//! # As a library
//!
//! A [model](model::Model) is opened, an [engine](engine::Engine) runs it and holds sequences,
//! [`generate`](fn@generate::generate) streams the tokens of the first; each says what its
//! position did.
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
//! When a position leaves the cycles is a [rule](schedule::Rule), which may change from text to
//! text, and from [row](engine::Row) to row. So one engine tries many thresholds:
//!
//! ```
//! use ztt_wgpu::engine::{Engine, Logits, Options};
//! use ztt_wgpu::model::{BUILTIN, Fetch, Model};
//! use ztt_wgpu::schedule::{Rule, TextRules};
//!
//! let model = Model::open(BUILTIN, Fetch::Never)?;
//! let ids = model.tokenizer()?.encode("Call me Ishmael.")?;
//! let mut engine = Engine::on_host(&model, &Options::of(&model))?;
//! let mut cycles = Vec::new();
//! for threshold in [None, Some(0.6), Some(0.2)] {
//!     let drawn = Rule { threshold, ..Rule::FULL_DEPTH };
//!     engine.set_rules(TextRules { drawn, exit_prompt: true });
//!     engine.truncate(0);
//!     let outputs = pollster::block_on(engine.forward(&ids, Logits::Last))?;
//!     cycles.push(outputs.iter().map(|output| output.cycles).sum::<usize>());
//! }
//! assert!(cycles[0] > cycles[1] && cycles[1] > cycles[2]);
//! # Ok::<(), ztt_wgpu::Error>(())
//! ```
//!
//! In browsers these calls are awaited where the page awaits: see `examples/web`. Without the
//! default features `cli` and `hub` there is no [`cli`], [`measure`] and [`serve`], and no search for
//! `org/name`.
//!
//! [`Engine::forward`](engine::Engine::forward) gives logits, cycles and scores of every position
//! of a text, [`Engine::run`](engine::Engine::run) extends several texts in one pass,
//! [`ChatSession`](chat::ChatSession) holds a conversation. `examples/` has programs.
//!
#![doc = include_str!("../docs/architecture.md")]

/// Compiles the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
pub mod kv_type;
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
