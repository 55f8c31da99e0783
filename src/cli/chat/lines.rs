//! Where the lines of a conversation come from.

use std::io::{self, BufRead, IsTerminal, StdinLock};

use anyhow::{Context, Result};
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, KeyEvent, Movement,
    RepeatCount,
};

const PROMPT: &str = "> ";

/// A terminal with line editing and a history of this session, or whatever else standard input
/// is, read line by line.
pub enum Lines {
    Terminal(Box<Editor<(), MemHistory>>),
    Plain(StdinLock<'static>),
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
        Ok(Self::Terminal(Box::new(editor)))
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// The next line without its end; `None` where there are no more.
    pub fn next(&mut self) -> Result<Option<String>> {
        match self {
            Self::Terminal(editor) => match editor.readline(PROMPT) {
                Ok(line) => Ok(Some(line)),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(e) => Err(e).context("the terminal"),
            },
            Self::Plain(stdin) => {
                let mut line = String::new();
                let n = stdin.read_line(&mut line).context("standard input")?;
                Ok((n > 0).then_some(line))
            }
        }
    }
}

/// Ctrl-C empties a line that has something in it; at an empty one it leaves.
struct ClearLine;

impl ConditionalEventHandler for ClearLine {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        match context.line().is_empty() {
            true => Some(Cmd::Interrupt),
            false => Some(Cmd::Kill(Movement::WholeBuffer)),
        }
    }
}
