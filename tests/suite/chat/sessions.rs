//! Sessions of the library: the contents of the KV cache change no answer.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::chat::{Answer, AnswerOptions, ChatSession};
use ztt_wgpu::engine::sampling::SamplingOptions;
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options};
use ztt_wgpu::generate::{Finish, StopRules};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::{Fetch, Model};

use super::model::ChatModel;
use crate::adapter;
use crate::compare::same;
use crate::fixtures::trial;

const QUESTIONS: [&str; 3] = ["Who is it?", "Why so?", "And whence?"];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("chat::sessions::the_cache_changes_no_answer", || {
            cache(None)
        }),
        adapter::trial(
            "chat::sessions::the_cache_changes_no_answer_on_the_adapter",
            |gpu| cache(Some(gpu)),
        ),
        trial("chat::sessions::an_interrupted_answer_is_kept", interrupted),
    ]
}

fn options(interrupt: &Arc<AtomicBool>) -> AnswerOptions {
    AnswerOptions {
        sampling: SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        },
        rules: StopRules {
            max_tokens: 10,
            eos: Vec::new(),
            strings: Vec::new(),
            interrupt: Arc::clone(interrupt),
        },
        shift: false,
    }
}

fn engine<'m>(model: &'m Model, gpu: Option<Arc<Gpu>>) -> Result<Engine<'m>> {
    let options = Options {
        cap: None,
        exit: model.config.exit(),
        n_sequences: 1,
        n_ctx: 384,
        kv_type: KvType::F32,
        logits: Logits::Last,
        drafts: Drafts::NONE,
    };
    Ok(match gpu {
        None => Engine::on_host(model, &options)?,
        Some(gpu) => {
            let device = Arc::new(pollster::block_on(DeviceModel::upload(
                gpu,
                model,
                &mut |_| {},
            ))?);
            Engine::on_device(model, &device, &options)?
        }
    })
}

/// Asks `question`: the answer's text, and its result.
fn ask(session: &mut ChatSession, question: &str) -> Result<(String, Answer)> {
    let options = options(&Arc::default());
    let mut text = String::new();
    let answered = session.ask(question, &options, |token| {
        text.push_str(&token.text);
        ControlFlow::Continue(())
    });
    let answer = pollster::block_on(answered)?;
    Ok((text, answer))
}

fn cache(gpu: Option<Arc<Gpu>>) -> Result<()> {
    let folder = ChatModel::new()?;
    let model = Model::open(&folder.name(), Fetch::Never)?;
    let mut warm = ChatSession::new(&model, engine(&model, gpu.clone())?)?;
    let mut said: Vec<(&str, String)> = Vec::new();
    for question in QUESTIONS {
        let (text, answer) = ask(&mut warm, question)?;
        let mut cold = ChatSession::new(&model, engine(&model, gpu.clone())?)?;
        for (question, text) in &said {
            cold.conversation.push_user(question.to_string());
            cold.conversation.push_answer(text.clone());
        }
        let (expected, from_nothing) = ask(&mut cold, question)?;
        same("answer", &[&text], &[&expected])?;
        same("cached", &[from_nothing.n_cached], &[0])?;
        let run = answer.n_prompt - answer.n_cached;
        same("run", &[answer.summary.n_prompt], &[run])?;
        ensure!(said.is_empty() || answer.n_cached > run, "{answer:?}");
        said.push((question, text));
    }
    // Held once more, the conversation has all but its last token cached.
    warm.conversation.reset();
    let (text, answer) = ask(&mut warm, QUESTIONS[0])?;
    same("answer", &[&text], &[&said[0].1])?;
    same("cached", &[answer.n_cached], &[answer.n_prompt - 1])
}

fn interrupted() -> Result<()> {
    let folder = ChatModel::new()?;
    let model = Model::open(&folder.name(), Fetch::Never)?;
    let mut session = ChatSession::new(&model, engine(&model, None)?)?;
    let interrupt = Arc::new(AtomicBool::new(false));
    let options = options(&interrupt);
    let mut text = String::new();
    let answered = session.ask(QUESTIONS[0], &options, |token| {
        text.push_str(&token.text);
        interrupt.store(token.index == 2, Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    let summary = pollster::block_on(answered)?.summary;
    ensure!(summary.finish == Finish::Interrupted, "{summary:?}");
    same("generated", &[summary.n_generated], &[3])?;
    let contents = |session: &ChatSession| -> Vec<String> {
        let all = session.conversation.all();
        all.into_iter().map(|m| m.content.clone()).collect()
    };
    same(
        "messages",
        &contents(&session),
        &[QUESTIONS[0].to_string(), text],
    )?;
    // Set before the prompt is run, it leaves the conversation as it was.
    interrupt.store(true, Ordering::Relaxed);
    let before = contents(&session);
    let answered = session.ask(QUESTIONS[1], &options, |_| ControlFlow::Continue(()));
    let summary = pollster::block_on(answered)?.summary;
    same("run", &[summary.n_prompt, summary.n_generated], &[0, 0])?;
    same("messages", &contents(&session), &before)?;
    // And the session goes on.
    let (_, answer) = ask(&mut session, QUESTIONS[1])?;
    ensure!(
        answer.n_cached > 0 && answer.summary.n_generated == 10,
        "{answer:?}"
    );
    Ok(())
}
