//! The command or the message in a line of a conversation.

use std::path::Path;

use anyhow::{Result, bail};

pub const HELP: &str = "\
/reset        forget the turns; the system message stays
/system TEXT  replace the system message; without TEXT there is none
/stats        what the last answer took
/save FILE    write the conversation as JSON messages
/help         list the commands
/exit         leave, as Ctrl-D and Ctrl-C do at an empty prompt
Ctrl-C ends an answer that is being generated.
";

#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// An empty line.
    Nothing,
    Say(&'a str),
    Reset,
    System(Option<&'a str>),
    Stats,
    Save(&'a Path),
    Help,
    Exit,
}

/// Reads a line: a command begins with a slash, everything else is said to the model.
pub fn parse(line: &str) -> Result<Command<'_>> {
    let line = line.trim();
    if !line.starts_with('/') {
        return Ok(match line.is_empty() {
            true => Command::Nothing,
            false => Command::Say(line),
        });
    }
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = Some(rest.trim()).filter(|text| !text.is_empty());
    Ok(match (name, rest) {
        ("/system", text) => Command::System(text),
        ("/save", Some(file)) => Command::Save(Path::new(file)),
        ("/save", None) => bail!("`/save`: expected a file, found none"),
        ("/reset", None) => Command::Reset,
        ("/stats", None) => Command::Stats,
        ("/help", None) => Command::Help,
        ("/exit", None) => Command::Exit,
        ("/reset" | "/stats" | "/help" | "/exit", Some(text)) => {
            bail!("`{name}`: expected nothing after it, found `{text}`")
        }
        _ => bail!("no command is called `{name}`: `/help` lists them"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_said() {
        let is = |line, expected| assert_eq!(parse(line).unwrap(), expected, "{line}");
        is("", Command::Nothing);
        is("  hello /exit ", Command::Say("hello /exit"));
        is("/system  Be brief. ", Command::System(Some("Be brief.")));
        is("/system", Command::System(None));
        is("/save a b.json", Command::Save(Path::new("a b.json")));
        is("/exit ", Command::Exit);
        for line in ["/save", "/exit now", "/nope", "/"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
