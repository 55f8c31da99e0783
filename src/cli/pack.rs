//! `pack`: one file of a checkpoint.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::args::ModelArgs;
use super::setup;
use crate::model::Model;

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
    let shown = args.output.display().to_string();
    write(&model, &args.output).with_context(|| format!("`{shown}`"))?;
    setup::warn(&model.warnings);
    eprintln!("wrote {shown}");
    Ok(())
}

/// Writes beside `file` and renames: the weights may be mapped from the very file.
fn write(model: &Model, file: &Path) -> Result<()> {
    let existed = file.exists();
    // Without truncating, to find out early whether it can be written, and with which
    // permissions: the file that is renamed is the user's alone.
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(file)?;
    let meta = opened.metadata()?;
    anyhow::ensure!(
        meta.is_file(),
        "expected a plain file, found something else"
    );
    let texts = model
        .texts
        .iter()
        .map(|t| (t.name.to_string(), t.text.clone()));
    let mut metadata: HashMap<String, String> = texts.collect();
    metadata.insert("format".to_string(), "pt".to_string());
    let views = model.checkpoint.views()?;
    let written = safetensors::serialize_to_file(views, Some(metadata), file);
    if written.is_err() && !existed {
        // It holds nothing; the error to tell is the first one.
        let _ = std::fs::remove_file(file);
    }
    written.map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => anyhow::Error::from(e),
        other => other.into(),
    })?;
    std::fs::set_permissions(file, meta.permissions())?;
    Ok(())
}
