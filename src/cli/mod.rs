//! The command line: one file a subcommand.
//!
//! Standard output carries data, standard error everything else. The status is 0 for success
//! (a closed standard output included), 1 for an error, 2 for wrong usage, 130 where Ctrl-C ended
//! what was asked for.

mod args;
mod bench;
mod bench_drafts;
mod calibrate;
mod chat;
mod color;
mod compare;
mod completions;
mod convert;
mod devices;
mod drafts;
mod generation;
mod inspect;
mod interrupt;
mod log;
mod measuring;
mod microbench;
mod output;
mod pack;
mod perplexity;
mod printable;
mod profile;
mod progress;
mod prompt;
mod quantize;
mod run;
mod scores;
mod serve;
mod setup;
mod stderr;
mod stdout;
mod summary;
mod text;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
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
ZTT_SKIP, ZTT_AHEAD, ZTT_KV_TYPE, ZTT_API_KEY and ZTT_ALIAS stand for arguments that are not given;
NO_COLOR turns colours off.";

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

/// The status that Rust gives a program that panicked.
const PANICKED: u8 = 101;

/// Bytes of stack that suffice for all that the program does: drivers compile shaders on it.
const STACK: usize = 4 << 20;

/// The whole program, from arguments to exit status.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    name_runtime_folder();
    // Another thread takes memory, of which there may be little too.
    if !has_small_stack() {
        return program();
    }
    let thread = std::thread::Builder::new().name("main".to_string());
    match thread.stack_size(STACK).spawn(program) {
        Ok(running) => running.join().unwrap_or(ExitCode::from(PANICKED)),
        // The stack of this thread may suffice.
        Err(_) => program(),
    }
}

/// Whether a shell limits the stack of the first thread to less than [`STACK`].
#[cfg(unix)]
fn has_small_stack() -> bool {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_STACK).is_ok_and(|(limit, _)| limit < STACK as u64)
}

/// Elsewhere the stack is part of the program.
#[cfg(not(unix))]
fn has_small_stack() -> bool {
    false
}

fn program() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(e),
    };
    log::start();
    let prepared = interrupt::prepare(watches_itself(&cli.command));
    status(prepared.and_then(|()| act(cli.command)))
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

/// The exit status for a result. An error is printed here.
fn status(result: anyhow::Result<()>) -> ExitCode {
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

/// Characters of an error that are shown: it may quote a file.
const LONGEST_ERROR: usize = 2000;

/// Prints an error in one line.
fn complain(e: &anyhow::Error) {
    let line = one_line(e);
    let shown = match line.char_indices().nth(LONGEST_ERROR) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    };
    stderr::line(format!("ztt-wgpu: {shown}"));
}

/// Help and version go to standard output; a usage error is one line.
fn usage(e: clap::Error) -> ExitCode {
    if matches!(
        e.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return help(&e);
    }
    let text = e.to_string();
    let body = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = body.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    stderr::line(format!("ztt-wgpu: {line} (see `ztt-wgpu --help`)"));
    ExitCode::from(2)
}

/// Help that is asked for is data, and to be written in full; else it stands in for an error.
fn help(e: &clap::Error) -> ExitCode {
    let plain = e.to_string();
    let shown = printable::lines(&plain);
    if e.use_stderr() {
        match shown == plain {
            true => drop(e.print()),
            false => stderr::text(&plain),
        }
        return ExitCode::from(2);
    }
    // Values of variables are part of the help: one that steers a terminal costs it its colours.
    let written = match shown == plain {
        true => e.print(),
        false => output::stdout().write_all(shown.as_bytes()),
    };
    let written = written.and_then(|()| io::stdout().flush());
    status(written.context("standard output"))
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

/// An error in one line. Libraries break the lines of their messages; a break within quotes belongs
/// to a name, and is left to be shown as such.
fn one_line(e: &anyhow::Error) -> String {
    let text = format!("{e:#}");
    let parts = text.trim().split('`').enumerate();
    let parts = parts.map(|(i, part)| match i % 2 {
        0 => unbroken(part),
        _ => part.to_string(),
    });
    parts.collect::<Vec<_>>().join("`")
}

/// `text` with a blank for each line break and the blanks around it.
fn unbroken(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut line = lines.next().unwrap_or_default().to_string();
    for next in lines {
        line.truncate(line.trim_end().len());
        line.push(' ');
        line.push_str(next.trim_start());
    }
    line
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
    fn errors_are_one_line() {
        let shown = |text: &str| one_line(&anyhow::Error::msg(text.to_string()));
        assert_eq!(
            shown("no file\n  at `a\nb`: \n\nnone\n"),
            "no file at `a\nb`: none"
        );
        assert_eq!(shown("`a  b`"), "`a  b`");
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
