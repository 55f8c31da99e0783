//! A question to a model with a chat template: `cargo run --example chat -- MODEL "Who are you?"`.

use std::ops::ControlFlow;

use ztt_wgpu::chat::{AnswerOptions, ChatSession};
use ztt_wgpu::engine::sampling::SamplingOptions;
use ztt_wgpu::engine::{Engine, Options};
use ztt_wgpu::generate::StopRules;
use ztt_wgpu::model::{Fetch, Model};

fn main() -> ztt_wgpu::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().expect("MODEL");
    let question = arguments.next().unwrap_or("Who are you?".to_string());
    let model = Model::open(&name, Fetch::Never)?;
    let engine = pollster::block_on(Engine::on_best(&model, &Options::of(&model)))?;
    let mut session = ChatSession::new(&model, engine)?;
    let (sampling, rules) = (SamplingOptions::default(), StopRules::of(&model, 64));
    let options = AnswerOptions::new(sampling, rules);
    let answer = session.ask(&question, &options, |token| {
        print!("{}", token.text);
        ControlFlow::Continue(())
    });
    let n_prompt = pollster::block_on(answer)?.n_prompt;
    eprintln!("\n{n_prompt} tokens of conversation");
    Ok(())
}
