//! `convert`: a Zero Token Transformer out of a plain checkpoint, or of one that loops.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::Result;

use super::args::{ModelArgs, at_least_one};
use super::{setup, stderr};
use crate::model::convert::{Converted, Plan};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu convert ./plain -o ./start
  ztt-wgpu convert ./plain -o ./start --head 2 --middle 4-15 --tail 2 --cycles 3";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The checkpoint folder to write
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Keep this many of the first layers before the cycled ones [default: 2, and 0 of a model that
    /// loops]
    #[arg(long, value_name = "H", help_heading = "Layers")]
    head: Option<usize>,

    /// Keep this many of the last layers after the cycled ones [default: 2, and 0 of a model that
    /// loops]
    #[arg(long, value_name = "T", help_heading = "Layers")]
    tail: Option<usize>,

    /// Run the layers between them this often [default: 2, and as often as a model loops]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Layers")]
    cycles: Option<usize>,

    /// Of the layers between them keep these, counted from 0 [default: all]
    #[arg(long, value_name = "FIRST-LAST", value_parser = layers, help_heading = "Layers")]
    middle: Option<RangeInclusive<usize>>,
}

pub fn main(args: Args) -> Result<()> {
    let model = args.model.open()?;
    let loops = model.config.loops;
    let (head, tail, cycles) = match model.config.middle_layers() {
        0 => (2, 2, 2),
        _ => (loops.head_layers, loops.tail_layers, loops.cycles),
    };
    let plan = Plan {
        head: args.head.unwrap_or(head),
        tail: args.tail.unwrap_or(tail),
        cycles: args.cycles.unwrap_or(cycles),
        middle: args.middle,
    };
    let converted = Converted::new(&model, &plan)?;
    converted.write(&args.output)?;
    setup::warn(&model.warnings);
    let kept = converted.kept().len();
    stderr::line(format!(
        "kept     {kept} of {} layers: {} head, {} middle x {} cycles, {} tail",
        model.config.n_layers,
        plan.head,
        kept - plan.head - plan.tail,
        plan.cycles,
        plan.tail
    ));
    stderr::line("pool     none: training adds it");
    stderr::line(format!("wrote {}", args.output.display()));
    Ok(())
}

/// Two layers with a `-` between them, the first not after the last.
fn layers(text: &str) -> Result<RangeInclusive<usize>, String> {
    let parts = text.split_once('-');
    match parts.map(|(first, last)| (first.parse(), last.parse())) {
        Some((Ok(first), Ok(last))) if first <= last => Ok(first..=last),
        _ => Err("expected the first and the last layer, such as `4-15`".to_string()),
    }
}
