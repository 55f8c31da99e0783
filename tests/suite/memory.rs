//! Memory of the program while it loads a model: on a software adapter, whose memory is the host's,
//! the weights lie there once.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Map, Value, json};

use crate::adapter;
use crate::program::{Checkpoint, process, succeed};

pub fn trials() -> Vec<Trial> {
    let name = "memory::weights_are_loaded_once";
    let trial = adapter::trial(name, |_| weights_once());
    match cfg!(target_os = "linux") {
        true => vec![trial],
        false => vec![
            trial
                .with_kind("/proc, which Linux has")
                .with_ignored_flag(true),
        ],
    }
}

const MIB: u64 = 1 << 20;

/// What loading may take besides the weights on the device and what the program takes for a model
/// that is as good as none.
const ALLOWED: u64 = 256 * MIB;

/// Loads a model as it is stored, and one whose matrices are quantised on the way.
fn weights_once() -> Result<()> {
    let checkpoint = Checkpoint::empty()?;
    let stored = write_zeros(checkpoint.path())?;
    // A second copy of the weights would be seen.
    ensure!(stored > ALLOWED + 64 * MIB, "{stored} bytes");
    let name = checkpoint.name();
    let base = peak("builtin", &[])?;
    for quant in [None, Some("q8_0"), Some("q4_0")] {
        let flags: Vec<&str> = quant.iter().flat_map(|quant| ["--quant", *quant]).collect();
        let weights = match quant {
            None => stored,
            Some(quant) => {
                let copy = Checkpoint::empty()?;
                let to = copy.file("quantized").display().to_string();
                succeed(&["quantize", &name, "--to", quant, "-o", &to])?;
                let said = succeed(&["inspect", &to, "--json"])?;
                let document: Value = serde_json::from_str(&said)?;
                document["weight_bytes"].as_u64().context("weight_bytes")?
            }
        };
        let found = peak(&name, &flags)?;
        let [mib, weights_mib, base_mib] = [found, weights, base].map(|n| n / MIB);
        ensure!(
            found < weights + ALLOWED + base,
            "{quant:?}: {mib} MiB for {weights_mib} MiB of weights and a program of {base_mib} MiB"
        );
    }
    Ok(())
}

/// The most memory that the program had while it ran a token of a model, in bytes.
fn peak(model: &str, flags: &[&str]) -> Result<u64> {
    let arguments = ["trace", model, "--ids", "1", "--ctx", "16"];
    let mut program = process(&[&arguments[..], flags].concat());
    let program = program.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = program.spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        // A program that has just ended has no such line any more.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        most = kib.unwrap_or(0).max(most);
        std::thread::sleep(Duration::from_millis(5));
    };
    ensure!(ended.success() && most > 0, "{model}: {ended}, {most} KiB");
    Ok(1024 * most)
}

/// Writes a checkpoint of zeros, in a file with holes, and returns the bytes of its weights. Most
/// of them are one matrix: whoever holds that as a whole while it is uploaded has it twice.
fn write_zeros(folder: &Path) -> Result<u64> {
    const HIDDEN: usize = 2048;
    const INTERMEDIATE: usize = 2048;
    const LAYERS: usize = 1;
    const VOCAB: usize = 131_072;
    let config = json!({
        "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 32, "intermediate_size": INTERMEDIATE, "vocab_size": VOCAB,
        "max_position_embeddings": 16, "tie_word_embeddings": true,
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let mut tensors = vec![
        ("model.embed_tokens".to_string(), vec![VOCAB, HIDDEN]),
        ("model.norm".to_string(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let square = vec![HIDDEN, HIDDEN];
        let shapes = [
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", square.clone()),
            ("self_attn.k_proj", square.clone()),
            ("self_attn.v_proj", square.clone()),
            ("self_attn.o_proj", square),
            ("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]),
        ];
        let named = |(name, shape)| (format!("model.layers.{layer}.{name}"), shape);
        tensors.extend(shapes.map(named));
    }
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let info = json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(format!("{name}.weight"), info);
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(folder.join("model.safetensors"))?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let data = file.stream_position()?;
    file.set_len(data + end as u64)?;
    Ok(end as u64)
}
