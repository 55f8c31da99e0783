//! Where the lines of a conversation come from.

use std::io::{self, BufRead, IsTerminal, Read, StdinLock};

use anyhow::{Context, Result, bail};
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, KeyEvent, Movement,
    RepeatCount,
};

use super::typed_ahead::{TypedAhead, leave_on_signals};
use crate::files::MIB;

const PROMPT: &str = "> ";

/// The longest line that is read where nobody edits it.
const MOST_LINE_BYTES: u64 = 16 * MIB;

/// A terminal with line editing and a history of this session, or whatever else standard input
/// is, read line by line.
pub enum Lines {
    Terminal(Box<Terminal>),
    Plain(StdinLock<'static>),
}

/// A terminal, and what keeps what is typed between two lines.
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
        // Terminals that cannot edit read whole lines, as standard input has them; rustyline prints
        // beside a line only where it edits it.
        let typed_ahead = match editor.create_external_printer() {
            Ok(_) => Some(TypedAhead::keep()?),
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
        matches!(self, Self::Terminal(_))
    }

    /// What leaves the terminal as it was, from any thread, where the program ends at once.
    pub fn leave(&self) -> Box<dyn Fn() + Send> {
        let kept = match self {
            Self::Terminal(terminal) => terminal.typed_ahead.as_ref(),
            Self::Plain(_) => None,
        };
        let Some(typed_ahead) = kept else {
            return Box::new(|| {});
        };
        Box::new(typed_ahead.undo())
    }

    /// From now on, signals that end the program leave the terminal as it was.
    pub fn leave_on_signals(&self) -> Result<()> {
        match self {
            Self::Terminal(terminal) if terminal.typed_ahead.is_some() => {
                leave_on_signals(self.leave())
            }
            _ => Ok(()),
        }
    }

    /// The next line without its end; `None` where there are no more.
    pub fn next(&mut self) -> Result<Option<String>> {
        match self {
            Self::Terminal(terminal) => match terminal.editor.readline(PROMPT) {
                Ok(line) => Ok(Some(line)),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(e) => Err(e).context("the terminal"),
            },
            Self::Plain(stdin) => {
                let mut line = String::new();
                let mut bounded = stdin.by_ref().take(MOST_LINE_BYTES + 1);
                let n = bounded.read_line(&mut line).context("standard input")?;
                if n as u64 > MOST_LINE_BYTES {
                    let mib = MOST_LINE_BYTES / MIB;
                    bail!("standard input: expected a line of at most {mib} MiB, found more");
                }
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
