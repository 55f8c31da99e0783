//! `pack`: one file of a checkpoint.

use std::path::PathBuf;

use anyhow::Result;

use super::args::ModelArgs;
use super::{setup, stderr};
use crate::model::save;

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu pack ./model -o model.safetensors";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn main(args: Args) -> Result<()> {
    let model = args.model.open()?;
    let texts = model.texts.iter();
    let metadata = texts.map(|t| (t.name.to_string(), t.text.clone()));
    save::tensors(&args.output, model.checkpoint.views()?, metadata.collect())?;
    setup::warn(&model.warnings);
    stderr::line(format!("wrote {}", args.output.display()));
    Ok(())
}
