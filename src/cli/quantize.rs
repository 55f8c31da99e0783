//! `quantize`: a copy of a checkpoint with its matrices quantised. Needs no adapter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{ModelArgs, quant};
use super::{output, setup, stderr};
use crate::error::{Error, Result};
use crate::files::{Existing, NewFolder};
use crate::model::config::QUANTIZATION;
use crate::model::json::parse_object;
use crate::model::quant::Quant;
use crate::model::stored::StoredTensor;
use crate::model::{Model, Text, save};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu quantize ./model -o ./model-q8 --to q8_0";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The folder to write, new or empty
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,

    /// The format: q8_0 (8.5 bits a weight), q4_0 (4.5 bits)
    #[arg(long, value_name = "FORMAT", value_parser = quant)]
    to: Quant,
}

pub fn main(args: Args) -> anyhow::Result<()> {
    let model = args.model.open()?.with_quant(Some(args.to))?;
    let shown = args.output.display().to_string();
    write(&model, args.to, &args.output)?;
    setup::warn(&model.warnings);
    let size = output::bytes(model.weight_bytes());
    stderr::line(format!("wrote {shown}, {size}"));
    Ok(())
}

/// Weights and texts of `model`, which is to be quantised as `quant`, into `folder`.
fn write(model: &Model, quant: Quant, folder: &Path) -> Result<()> {
    let mut new = NewFolder::create(folder, Existing::Empty)?;
    let mut quantized = model.weights().quantized()?;
    // Where the embedding is the output projection, a copy of it would be read as another one.
    let copy = model.weights().copied_head();
    let stored = model.checkpoint.all_stored().into_iter();
    let stored = stored.filter(|tensor| copy.as_ref() != Some(&tensor.name));
    let written = stored.map(|tensor| match quantized.remove(&tensor.name) {
        None => tensor,
        Some(tensor) => StoredTensor::of_blocks(tensor),
    });
    let written: Vec<_> = written.collect();
    new.file("model.safetensors", |out, file| {
        save::tensors(out, file, written, BTreeMap::new())
    })?;
    for text in &model.texts {
        let written = match text.name {
            "config.json" => with_format(model, text, quant)?,
            _ => text.text.clone(),
        };
        new.file(text.name, |out, file| {
            let written = out.write_all(written.as_bytes());
            written.map_err(|e| Error::io(file, e))
        })?;
    }
    model.checkpoint.check_unchanged()?;
    new.finish()
}

/// The text of `config.json`, which now says how matrices are quantised.
fn with_format(model: &Model, config: &Text, quant: Quant) -> Result<String> {
    let mut config = parse_object(&config.file, &config.text)?;
    let (object, field) = QUANTIZATION;
    config.insert(object.to_string(), json!({ field: quant.name() }));
    model.say_untied(&mut config);
    Ok(format!("{:#}\n", Value::Object(config)))
}
