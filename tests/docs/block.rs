//! Blocks of commands in a Markdown document.

use anyhow::{Result, bail, ensure};

/// Begins the comment that says how the block after it is run.
const COMMENT: &str = "<!-- test: ";

/// How a block is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Run,
    /// Not at all, for this reason.
    NotRun(String),
    /// It is a file of this name, for the other blocks of the document.
    File(String),
}

/// A command, and the lines that follow it in the document.
#[derive(Clone, Debug)]
pub struct Command {
    pub text: String,
    pub result: String,
}

/// A block between fences.
#[derive(Clone, Debug)]
pub struct Block {
    /// Of the opening fence, counted from 1.
    pub line: usize,
    pub mode: Mode,
    /// Whether it needs SmolLM2 or minutes.
    pub is_slow: bool,
    /// Whether lines after `> ` are typed at a terminal.
    pub is_typed: bool,
    pub is_compared: bool,
    pub commands: Vec<Command>,
    text: String,
}

impl Block {
    /// The name and the text of a file.
    pub fn file(&self) -> Option<(String, String)> {
        match &self.mode {
            Mode::File(name) => Some((name.clone(), self.text.clone())),
            _ => None,
        }
    }
}

/// All blocks of `console` (commands after `$ `, with results), of `sh` (commands alone), files, and
/// commands in tables.
pub fn blocks(document: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut comment = "";
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if let Some(rest) = line.strip_prefix(COMMENT) {
            ensure!(
                rest.ends_with("-->"),
                "line {number}: a comment of one line"
            );
            comment = rest.trim_end_matches("-->").trim();
        } else if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().map(|(line, _)| line);
            let inside: Vec<&str> = inside.take_while(|line| *line != "```").collect();
            let block = block(number, language, std::mem::take(&mut comment), &inside)?;
            blocks.extend(block);
        } else if let Some(command) = in_a_table(line) {
            blocks.push(Block {
                line: number,
                mode: Mode::Run,
                is_slow: true,
                is_typed: false,
                is_compared: false,
                commands: vec![command],
                text: String::new(),
            });
        } else if !line.is_empty() {
            ensure!(
                comment.is_empty(),
                "line {number}: no block after a comment"
            );
        }
    }
    Ok(blocks)
}

/// A command that is the first cell of a row. A server is run in the background.
fn in_a_table(line: &str) -> Option<Command> {
    let (cell, _) = line.strip_prefix("| `")?.split_once("` |")?;
    let is_server = cell.starts_with("ztt-wgpu serve");
    let end = if is_server { " &" } else { "" };
    cell.starts_with("ztt-wgpu ").then(|| Command {
        text: format!("{cell}{end}"),
        result: String::new(),
    })
}

fn block(line: usize, language: &str, comment: &str, inside: &[&str]) -> Result<Option<Block>> {
    let mut block = Block {
        line,
        mode: Mode::Run,
        is_slow: false,
        is_typed: false,
        is_compared: language == "console",
        commands: match language {
            "console" => with_results(inside),
            "sh" => alone(inside),
            _ => Vec::new(),
        },
        text: inside.join("\n") + "\n",
    };
    match comment.split_once(": ") {
        Some(("not run", reason)) => block.mode = Mode::NotRun(reason.to_string()),
        Some(("not compared", _)) => block.is_compared = false,
        _ if language == "python" && !comment.is_empty() => {
            block.mode = Mode::File(comment.to_string());
        }
        _ => {
            for word in comment.split(", ").filter(|word| !word.is_empty()) {
                match word {
                    "slow" => block.is_slow = true,
                    "typed" => block.is_typed = true,
                    _ => bail!("line {line}: `{word}` is not known of a block"),
                }
            }
        }
    }
    let is_of_interest = !block.commands.is_empty() || block.file().is_some();
    Ok(is_of_interest.then_some(block))
}

fn with_results(inside: &[&str]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut is_continued = false;
    for line in inside {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(text), _) => commands.push(Command {
                text: text.to_string(),
                result: String::new(),
            }),
            (None, Some(command)) if is_continued => command.text += &format!("\n{line}"),
            (None, Some(command)) => command.result += &format!("{line}\n"),
            (None, None) => {}
        }
        is_continued = line.ends_with('\\');
    }
    commands
}

fn alone(inside: &[&str]) -> Vec<Command> {
    let lines = inside
        .iter()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let command = |line: &&str| Command {
        text: line.to_string(),
        result: String::new(),
    };
    lines.map(command).collect()
}
