//! The command line: one file a subcommand.
//!
//! Standard output carries data, standard error everything else. The status is 0 for success
//! (a closed standard output included), 1 for an error, 2 for wrong usage, 130 where Ctrl-C ended
//! what was asked for.

mod args;
mod bench;
mod calibrate;
mod chat;
mod color;
mod compare;
mod completions;
mod convert;
mod devices;
mod generation;
mod inspect;
mod interrupt;
mod measuring;
mod microbench;
mod output;
mod pack;
mod perplexity;
mod profile;
mod progress;
mod prompt;
mod quantize;
mod run;
mod serve;
mod setup;
mod summary;
mod text;
mod trace;

use std::io;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::error::Error;
use interrupt::Interrupted;

const HELP: &str = "\
Examples:
  ztt-wgpu run
  ztt-wgpu chat ./model
  ztt-wgpu trace builtin \"Call me Ishmael.\"
  ztt-wgpu bench ./model

`ztt-wgpu help COMMAND` says more. ZTT_MODEL, ZTT_CTX, ZTT_ADAPTER, ZTT_BACKEND, ZTT_KERNELS,
ZTT_KV_TYPE, ZTT_API_KEY and ZTT_ALIAS stand for arguments that are not given; NO_COLOR turns
colours off.";

/// Runs Zero Token Transformers on any GPU.
#[derive(Parser)]
#[command(
    name = "ztt-wgpu",
    version = env!("ZTT_VERSION"),
    arg_required_else_help = true,
    after_help = HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate text
    Run(run::Args),
    /// Hold a conversation, as the model's chat template has it
    Chat(chat::Args),
    /// Answer requests of OpenAI's format over HTTP, many texts at a time
    Serve(serve::Args),
    /// Show what every position of a text did: cycles, scores, top tokens
    Trace(trace::Args),
    /// Show what a checkpoint holds, and the memory it needs
    Inspect(inspect::Args),
    /// Make one file of a checkpoint: weights, config, tokenizer and chat template
    Pack(pack::Args),
    /// Make a ZTT of a plain checkpoint, as the starting point for fine-tuning
    Convert(convert::Args),
    /// Make a copy of a checkpoint with its matrices quantised
    Quantize(quantize::Args),
    /// Measure how well a model predicts a text, at one exit threshold or many
    Perplexity(perplexity::Args),
    /// Find the exit threshold that saves most within a bound on the loss
    Calibrate(calibrate::Args),
    /// Measure how fast a model runs, or compare two such reports
    Bench(bench::Args),
    /// Measure what the adapter can do, and what each kernel reaches of it
    Microbench(microbench::Args),
    /// List the adapters of this machine
    Devices(devices::Args),
    /// Print what a shell needs to complete arguments
    Completions(completions::Args),
}

/// The whole program, from arguments to exit status.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    name_runtime_folder();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(e),
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off")),
        )
        .with_writer(io::stderr)
        .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
        .init();
    let result = interrupt::prepare(watches_itself(&cli.command)).and_then(|()| act(cli.command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if is_closed_output(&e) => ExitCode::SUCCESS,
        Err(e) if e.is::<clap::Error>() => e.downcast().map_or(ExitCode::FAILURE, usage),
        Err(e) if e.is::<Interrupted>() => ExitCode::from(interrupt::STATUS),
        Err(e) => {
            complain(&e);
            ExitCode::FAILURE
        }
    }
}

/// Whether the subcommand itself sees to the signals that end the program.
fn watches_itself(command: &Command) -> bool {
    matches!(
        command,
        Command::Run(_) | Command::Chat(_) | Command::Serve(_)
    )
}

fn act(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run::main(args),
        Command::Chat(args) => chat::main(args),
        Command::Serve(args) => serve::main(args),
        Command::Trace(args) => trace::main(args),
        Command::Inspect(args) => inspect::main(args),
        Command::Pack(args) => pack::main(args),
        Command::Convert(args) => convert::main(args),
        Command::Quantize(args) => quantize::main(args),
        Command::Perplexity(args) => perplexity::main(args),
        Command::Calibrate(args) => calibrate::main(args),
        Command::Bench(args) => bench::main(args),
        Command::Microbench(args) => microbench::main(args),
        Command::Devices(args) => devices::main(args),
        Command::Completions(args) => completions::main(&args),
    }
}

/// Sets `XDG_RUNTIME_DIR` where it is unset. Without it libwayland, which Mesa's drivers ask for
/// displays, writes a line of error for every look at the adapters.
#[cfg(target_os = "linux")]
fn name_runtime_folder() {
    const VARIABLE: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the program has just begun and has no other thread that could read variables.
        unsafe { std::env::set_var(VARIABLE, "/tmp") };
    }
}

/// Says what is wrong, in one line.
fn complain(e: &anyhow::Error) {
    eprintln!("ztt-wgpu: {}", one_line(e));
}

/// Help and version go to standard output; a usage error is one line.
fn usage(e: clap::Error) -> ExitCode {
    if matches!(
        e.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        let status = if e.use_stderr() { 2 } else { 0 };
        let _ = e.print();
        return ExitCode::from(status);
    }
    let text = e.to_string();
    let body = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = body.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    eprintln!("ztt-wgpu: {line} (see `ztt-wgpu --help`)");
    ExitCode::from(2)
}

fn is_closed_output(e: &anyhow::Error) -> bool {
    if let Some(Error::Io { path, cause }) = e.downcast_ref() {
        // The name of standard output where a file is written there.
        return path == "-" && cause.kind() == io::ErrorKind::BrokenPipe;
    }
    e.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn one_line(e: &anyhow::Error) -> String {
    let text = format!("{e:#}");
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The words of a command line in which quotes enclose whole words.
    fn words(line: &str) -> Vec<&str> {
        let parts = line.split('"').enumerate();
        let words = parts.map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        words.collect::<Vec<_>>().concat()
    }

    #[test]
    fn every_example_is_a_command_line() {
        Cli::command().debug_assert();
        let command = Cli::command();
        let all = command.get_subcommands().chain([&command]);
        for command in all {
            let help = command.get_after_help();
            let help = help.map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> = help.lines().filter(|l| l.starts_with("  ")).collect();
            assert!(!examples.is_empty(), "{}", command.get_name());
            for example in examples {
                let arguments = example.split(['<', '>']).next().unwrap_or_default();
                let parsed = Cli::try_parse_from(words(arguments));
                assert!(parsed.is_ok(), "{example}: {:?}", parsed.err());
            }
        }
    }
}
