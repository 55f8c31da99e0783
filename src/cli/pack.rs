//! `pack`: one file of a checkpoint.

use std::path::PathBuf;

use anyhow::Result;

use super::args::ModelArgs;
use super::{output, setup, stderr};
use crate::files::NewFile;
use crate::model::save;

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu pack ./model -o model.safetensors";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn main(args: Args) -> Result<()> {
    let model = args.model.open()?;
    output::check_files([&args.output], Some(&model))?;
    let texts = model.texts.iter();
    let metadata = texts.map(|t| (t.name.to_string(), t.text.clone()));
    let mut new = NewFile::create(&args.output)?;
    let tensors = model.checkpoint.all_stored();
    save::tensors(&mut new, &args.output, tensors, metadata.collect())?;
    model.checkpoint.check_unchanged()?;
    new.finish()?;
    setup::warn(&model.warnings);
    stderr::line(format!("wrote {}", args.output.display()));
    Ok(())
}
