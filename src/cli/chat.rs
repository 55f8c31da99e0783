//! `chat`: a conversation at a terminal, or over the lines of standard input.

mod bounded;
mod command;
mod lines;
mod typed_ahead;
#[cfg(unix)]
mod whole_lines;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use super::args::{EngineArgs, LoopedModelArgs, variables};
use super::drafts::DraftArgs;
use super::generation::GenerationArgs;
use super::interrupt::{self, Interrupted};
use super::{complain, output, setup, stderr, summary};
use crate::chat::{Answer, AnswerOptions, ChatSession};
use crate::error::Error;
use crate::generate::{Finish, Token};
use crate::model::Model;
use crate::model::chat_template::Variables;
use command::Command;
use lines::Lines;

/// What stands before a line that is typed.
const PROMPT: &str = "> ";

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu chat ./model
  ztt-wgpu chat ./model --system \"Answer in one word.\" --ctx 2048 --ctx-shift
  ztt-wgpu chat ./model --temperature 0 < questions.txt > answers.txt";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: LoopedModelArgs,

    /// System message at the head of the conversation
    #[arg(long, value_name = "TEXT", help_heading = "Text")]
    system: Option<String>,

    /// Where the conversation does not fit the context, drop its oldest turns
    #[arg(long, help_heading = "Text")]
    ctx_shift: bool,

    /// Variables of the chat template, a JSON object such as `{"enable_thinking": false}`
    #[arg(long, value_name = "JSON", value_parser = variables, help_heading = "Text")]
    chat_template_kwargs: Option<Variables>,

    /// Take messages for plain text: special tokens written in them are not recognised
    #[arg(long, help_heading = "Text")]
    plain_content: bool,

    #[command(flatten)]
    generation: GenerationArgs,

    #[command(flatten)]
    drafts: DraftArgs,

    #[command(flatten)]
    engine: EngineArgs,
}

pub fn main(args: Args) -> Result<()> {
    let name = args.model.name();
    // Before anything that takes time, so that no input typed meanwhile is lost.
    let mut lines = Lines::open()?;
    lines.leave_on_signals()?;
    let is_ready = Arc::new(AtomicBool::new(false));
    let watched = match lines.is_terminal() {
        true => Some(interrupt::watch_when(Arc::clone(&is_ready), lines.leave())?),
        false => None,
    };
    let model = args.model.open()?.with_quant(args.engine.device.quant)?;
    // Before the weights are loaded.
    let variables = args.chat_template_kwargs.unwrap_or_default();
    model.chat_template()?.with_variables(&variables)?;
    let sampling = args.generation.sampling(&model);
    let seed = sampling.seed;
    let engine_options = setup::text_options(&args.engine, &args.drafts, &model)?;
    let ready = setup::engine(&args.engine.device, &model, &engine_options)?;
    let session = ChatSession::new(&model, ready.engine)?;
    let mut session = session.with_variables(&variables)?;
    if args.plain_content {
        session = session.with_plain_content()?;
    }
    session.conversation.set_system(args.system);
    let interrupt = match watched {
        Some(interrupt) => interrupt,
        // A script may wait for a line, or for the device.
        None => interrupt::watch_and_end(|| {})?,
    };
    is_ready.store(true, Ordering::Relaxed);
    setup::warn(&ready.warnings);
    setup::warn(session.tokenizer().warnings());
    let shown_seed = seed.to_string();
    stderr::facts(&[
        ("model", name),
        ("adapter", &ready.adapter),
        ("seed", &shown_seed),
    ]);
    if lines.is_terminal() {
        stderr::line("`/help` lists the commands");
    }
    let turn_end = session.turn_end();
    let rules = args
        .generation
        .turn_rules(&model, turn_end, Arc::clone(&interrupt));
    let mut chat = Chat {
        model: &model,
        session,
        options: AnswerOptions {
            sampling,
            rules,
            shift: args.ctx_shift,
        },
        interrupt: Arc::clone(&interrupt),
        last: None,
    };
    while let Some(line) = lines.next(&interrupt)? {
        let flow = match chat.obey(&line) {
            // One who types can try something else; a script cannot.
            Err(e) if lines.is_terminal() && is_harmless(&e) => {
                complain(&e);
                continue;
            }
            other => other?,
        };
        if flow.is_break() {
            break;
        }
        if chat.was_interrupted() && !lines.is_terminal() {
            return Err(Interrupted.into());
        }
    }
    Ok(())
}

/// A conversation, its session and its settings.
struct Chat<'m> {
    model: &'m Model,
    session: ChatSession<'m>,
    options: AnswerOptions,
    interrupt: Arc<AtomicBool>,
    /// The result of the last turn.
    last: Option<Answer>,
}

impl Chat<'_> {
    /// Does what a line asks for; `Break` ends the program.
    fn obey(&mut self, line: &str) -> Result<ControlFlow<()>> {
        match command::parse(line)? {
            Command::Nothing => {}
            Command::Say(text) => self.say(text)?,
            Command::Reset => {
                self.session.conversation.reset();
                self.last = None;
            }
            Command::System(text) => {
                let text = text.map(str::to_string);
                self.session.conversation.set_system(text);
            }
            Command::Stats => stderr::text(self.stats()),
            Command::Save(file) => self.save(file)?,
            Command::Help => stderr::text(command::HELP),
            Command::Exit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// One turn.
    fn say(&mut self, text: &str) -> Result<()> {
        self.interrupt.store(false, Ordering::Relaxed);
        let mut out = output::stdout();
        let mut failure: Option<anyhow::Error> = None;
        let receive = |token: &Token| match output::text(&mut out, &token.text) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                failure = Some(e);
                ControlFlow::Break(())
            }
        };
        let answered = pollster::block_on(self.session.ask(text, &self.options, receive));
        if let Some(e) = failure {
            return Err(e);
        }
        let answer = answered.map_err(|e| self.explain(e))?;
        output::text(&mut out, "\n")?;
        setup::warn(&self.remarks(&answer));
        self.last = Some(answer);
        Ok(())
    }

    /// Says what to do where the conversation is too long, and why there is none.
    fn explain(&self, e: Error) -> anyhow::Error {
        if matches!(e, Error::EmptyPrompt) {
            return anyhow::Error::from(e).context("the chat template writes nothing");
        }
        let is_full = matches!(e, Error::ContextFull { .. } | Error::LongPrompt { .. });
        let e = anyhow::Error::from(e);
        match (is_full, self.options.shift) {
            (false, _) => e,
            (true, true) => e.context("this message alone is too long"),
            (true, false) => e.context(
                "too long a conversation, `/reset` starts anew, `--ctx-shift` drops old turns",
            ),
        }
    }

    /// Remarks on an answer for the user.
    fn remarks(&self, answer: &Answer) -> Vec<String> {
        let mut remarks = Vec::new();
        if answer.n_dropped > 0 {
            let n = answer.n_dropped;
            remarks.push(format!("oldest turns dropped to fit the context: {n}"));
        }
        let n = answer.summary.n_generated;
        remarks.extend(match answer.summary.finish {
            Finish::Length => Some(format!("the answer was cut after {n} tokens, see `-n`")),
            Finish::Context => {
                let (_, n_ctx) = self.session.context();
                Some(format!(
                    "the answer was cut: the context of {n_ctx} positions is full"
                ))
            }
            _ => None,
        });
        remarks
    }

    fn was_interrupted(&self) -> bool {
        let finish = self.last.as_ref().map(|answer| answer.summary.finish);
        finish == Some(Finish::Interrupted)
    }

    fn stats(&self) -> String {
        let (used, n_ctx) = self.session.context();
        let context = format!("context  {used} of {n_ctx} positions\n");
        let Some(answer) = &self.last else {
            return context;
        };
        format!(
            "{context}cached   {} of the {} tokens before the answer\n{}",
            answer.n_cached,
            answer.n_prompt,
            summary::text(&answer.summary)
        )
    }

    fn save(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.session.conversation.all())?;
        // An error here does not end the conversation.
        let written = output::check_files([&file.to_path_buf()], Some(self.model))
            .and_then(|()| output::write_file(file, &format!("{text}\n")));
        written.map_err(|e| anyhow::Error::msg(format!("{e:#}")))?;
        stderr::line(format!("wrote {}", file.display()));
        Ok(())
    }
}

/// Whether the conversation can go on after an error.
fn is_harmless(e: &anyhow::Error) -> bool {
    match e.downcast_ref::<Error>() {
        Some(
            Error::ContextFull { .. }
            | Error::LongPrompt { .. }
            | Error::LongText { .. }
            | Error::ChatTemplate { .. }
            | Error::EmptyPrompt,
        ) => true,
        Some(_) => false,
        None => !super::is_closed_output(e),
    }
}
