//! Streams a text that goes on from a prompt: `cargo run --example generate -- "ROMEO:"`.

use std::ops::ControlFlow;

use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{Engine, Options};
use ztt_wgpu::generate::{StopRules, Token, generate};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

fn main() -> ztt_wgpu::Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or("ROMEO:".to_string());
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let tokenizer = model.tokenizer()?;
    let ids = tokenizer.encode(&prompt)?;
    let mut engine = pollster::block_on(Engine::on_best(&model, &Options::of(&model)))?;
    let mut sampler = Sampler::new(SamplingOptions::default(), &ids);
    let rules = StopRules::of(&model, 64);
    let print = |token: &Token| {
        print!("{}", token.text);
        ControlFlow::Continue(())
    };
    let text = Some(&tokenizer);
    let run = generate(&mut engine, text, &ids, &mut sampler, &rules, print);
    let summary = pollster::block_on(run)?;
    eprintln!("\nmean cycles {:.2}", summary.mean_cycles());
    Ok(())
}
