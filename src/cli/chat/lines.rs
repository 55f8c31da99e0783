//! Where the lines of a conversation come from.

use std::io::{self, ErrorKind, IsTerminal, StdinLock};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, KeyEvent, Movement,
    RepeatCount,
};

use super::typed_ahead::{TypedAhead, leave_on_signals};
#[cfg(unix)]
use super::whole_lines::WholeLines;
use super::{PROMPT, bounded};
use crate::cli::setup;

/// A terminal with line editing and a history of this session, one without, or any other standard
/// input, read line by line.
pub enum Lines {
    Terminal(Box<Terminal>),
    #[cfg(unix)]
    Whole(WholeLines),
    Plain(StdinLock<'static>),
}

/// A terminal, and the keeper of input typed between two lines.
pub struct Terminal {
    editor: Editor<(), MemHistory>,
    typed_ahead: Option<TypedAhead>,
}

impl Lines {
    /// A terminal where both standard input and standard output are one.
    pub fn open() -> Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Plain(io::stdin().lock()));
        }
        let config = Config::builder().auto_add_history(true).build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history).context("the terminal")?;
        let clear = EventHandler::Conditional(Box::new(ClearLine));
        editor.bind_sequence(KeyEvent::ctrl('C'), clear);
        // Rustyline prints beside a line only where it edits it.
        let typed_ahead = match editor.create_external_printer() {
            Ok(_) => Some(TypedAhead::keep()?),
            #[cfg(unix)]
            Err(_) => return Ok(Self::Whole(WholeLines::open()?)),
            #[cfg(not(unix))]
            Err(_) => None,
        };
        if typed_ahead.as_ref().is_some_and(|typed| typed.is_late) {
            editor.bind_sequence(KeyEvent::ctrl('@'), Cmd::EndOfFile);
        }
        let terminal = Terminal {
            editor,
            typed_ahead,
        };
        Ok(Self::Terminal(Box::new(terminal)))
    }

    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// A function that restores the terminal from any thread, for an end of the program at once.
    pub fn leave(&self) -> Box<dyn Fn() + Send> {
        match self.typed_ahead() {
            Some(typed_ahead) => Box::new(typed_ahead.undo()),
            None => Box::new(|| {}),
        }
    }

    fn typed_ahead(&self) -> Option<&TypedAhead> {
        match self {
            Self::Terminal(terminal) => terminal.typed_ahead.as_ref(),
            #[cfg(unix)]
            Self::Whole(terminal) => Some(&terminal.typed_ahead),
            Self::Plain(_) => None,
        }
    }

    /// From now on, signals that end the program leave the terminal as it was.
    pub fn leave_on_signals(&self) -> Result<()> {
        match self.typed_ahead() {
            Some(_) => leave_on_signals(self.leave()),
            None => Ok(()),
        }
    }

    /// The next line; `None` where there are no more. Ctrl-C sets `interrupt`.
    #[cfg_attr(not(unix), expect(unused_variables, reason = "consoles edit lines"))]
    pub fn next(&mut self, interrupt: &AtomicBool) -> Result<Option<String>> {
        match self {
            Self::Terminal(terminal) => terminal.next(),
            #[cfg(unix)]
            Self::Whole(terminal) => terminal.next(interrupt),
            Self::Plain(stdin) => bounded::next(stdin),
        }
    }
}

impl Terminal {
    fn next(&mut self) -> Result<Option<String>> {
        loop {
            match self.editor.readline(PROMPT) {
                Ok(line) => return Ok(Some(line)),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(None),
                // Rustyline does not say which byte it was, and has dropped the line.
                Err(ReadlineError::Io(e)) if e.kind() == ErrorKind::InvalidData => {
                    setup::warn(&[
                        "the terminal: expected UTF-8, found other bytes: the line is dropped"
                            .to_string(),
                    ]);
                }
                Err(e) => return Err(e).context("the terminal"),
            }
        }
    }
}

/// Ctrl-C empties a line that has something in it; at an empty one it ends the conversation.
struct ClearLine;

impl ConditionalEventHandler for ClearLine {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        match context.line().is_empty() {
            true => Some(Cmd::Interrupt),
            false => Some(Cmd::Kill(Movement::WholeBuffer)),
        }
    }
}
