//! Cycles and scores of every position of a text: `cargo run --example scores -- [MODEL] [TEXT]`.

use ztt_wgpu::engine::{Engine, Logits, Options};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

fn main() -> ztt_wgpu::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or(BUILTIN.to_string());
    let model = Model::open(&name, Fetch::Never)?;
    let text = arguments.next().unwrap_or("Call me Ishmael.".to_string());
    let tokenizer = model.tokenizer()?;
    let ids = tokenizer.encode(&text)?;
    let mut engine = pollster::block_on(Engine::on_best(&model, &Options::of(&model)))?;
    let outputs = pollster::block_on(engine.forward(&ids, Logits::Last))?;
    for (id, output) in ids.iter().zip(outputs) {
        let piece = tokenizer.decode(&[*id], false)?;
        let scores = &output.scores[..output.cycles.min(output.scores.len())];
        println!("{piece:12?} cycles {} scores {scores:.3?}", output.cycles);
    }
    Ok(())
}
