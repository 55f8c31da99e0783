//! `completions`: scripts with which a shell completes this program's arguments.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Cli, output};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu completions bash > ~/.local/share/bash-completion/completions/ztt-wgpu
  ztt-wgpu completions fish > ~/.config/fish/completions/ztt-wgpu.fish";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn main(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "ztt-wgpu", &mut script);
    output::text(&mut output::stdout(), &String::from_utf8(script)?)
}
