//! `quantize`: a copy of a checkpoint with its matrices quantised. Needs no adapter.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, View, serialize_to_file};
use serde_json::json;

use super::args::{ModelArgs, quant};
use super::{output, setup, stderr};
use crate::model::config::QUANTIZATION;
use crate::model::json::parse_object;
use crate::model::quant::Quant;
use crate::model::tensor::Tensor;
use crate::model::{Model, Text};

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

pub fn main(args: Args) -> Result<()> {
    let model = args.model.open()?.with_quant(Some(args.to))?;
    let shown = args.output.display().to_string();
    write(&model, args.to, &args.output).with_context(|| format!("`{shown}`"))?;
    setup::warn(&model.warnings);
    let size = output::bytes(model.weight_bytes());
    stderr::line(format!("wrote {shown}, {size}"));
    Ok(())
}

/// A tensor of the new checkpoint.
enum Written<'a> {
    AsStored(TensorView<'a>),
    /// Rows of blocks, and the shape they are stored with.
    Quantised(Tensor<'a>, [usize; 2]),
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Written::AsStored(view) => view.dtype(),
            Written::Quantised(..) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Written::AsStored(view) => view.shape(),
            Written::Quantised(_, shape) => shape,
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Written::AsStored(view) => view.data().into(),
            Written::Quantised(tensor, _) => tensor.bytes.as_ref().into(),
        }
    }

    fn data_len(&self) -> usize {
        self.data().len()
    }
}

/// Weights and texts of `model`, which is to be quantised as `quant`, into `folder`.
fn write(model: &Model, quant: Quant, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let is_empty = fs::read_dir(folder)?.next().is_none();
    ensure!(
        is_empty,
        "expected a new or empty folder, found files in it"
    );
    let mut quantized = model.weights().quantized()?;
    // Where the embedding is the output projection, a copy of it would be read as another one.
    let copy = model.weights().copied_head();
    let stored = model.checkpoint.views()?.into_iter();
    let stored = stored.filter(|(name, _)| copy.as_ref() != Some(name));
    let written = stored.map(|(name, view)| match quantized.remove(&name) {
        None => (name, Written::AsStored(view)),
        Some(tensor) => {
            let shape = [tensor.n_rows(), tensor.dtype.n_bytes(tensor.n_cols())];
            (name, Written::Quantised(tensor, shape))
        }
    });
    let written: Vec<_> = written.collect();
    let metadata = [("format".to_string(), "pt".to_string())];
    let file = folder.join("model.safetensors");
    serialize_to_file(written, Some(metadata.into()), &file).map_err(|e| match e {
        SafeTensorError::IoError(e) => anyhow::Error::from(e),
        other => other.into(),
    })?;
    for text in &model.texts {
        let written = match text.name {
            "config.json" => with_format(model, text, quant)?,
            _ => text.text.clone(),
        };
        fs::write(folder.join(text.name), written)?;
    }
    Ok(())
}

/// The text of `config.json`, which now says how matrices are quantised.
fn with_format(model: &Model, config: &Text, quant: Quant) -> Result<String> {
    let mut config = parse_object(&config.file, &config.text)?;
    let (object, field) = QUANTIZATION;
    config.insert(object.to_string(), json!({ field: quant.name() }));
    model.say_untied(&mut config);
    Ok(serde_json::to_string_pretty(&config)? + "\n")
}
