//! Macros, of which the engine does not know all that Jinja does.

use super::limits::MAX_PARAMETERS;
use super::tokens::{Kind, Token, next, previous};

/// The variables of Jinja that a macro may not use.
const REST: [&str; 2] = ["varargs", "kwargs"];

/// The macros that are open, to find features of Jinja that the engine lacks.
#[derive(Default)]
pub struct Macros {
    /// The parameters of each.
    open: Vec<Vec<String>>,
}

impl Macros {
    /// Goes through a tag, which may open a macro, close it or stand in it.
    pub fn check(&mut self, tag: &str, tokens: &[Token]) -> Result<(), String> {
        if tag == "macro" {
            let parameters = parameters(tokens)?;
            if parameters.len() > MAX_PARAMETERS {
                return Err(format!("a macro of more than {MAX_PARAMETERS} parameters"));
            }
            self.open.push(parameters);
        } else if tag == "endmacro" {
            self.open.pop();
        }
        let Some(parameters) = self.open.last() else {
            return Ok(());
        };
        for (at, token) in tokens.iter().enumerate() {
            let is = |at: Option<usize>, text| at.is_some_and(|at: usize| tokens[at].text == text);
            let free = !is(previous(tokens, at), ".") && !is(next(tokens, at + 1), "=");
            let rest = token.kind == Kind::Name && REST.contains(&token.text.as_str());
            if rest && free && !parameters.contains(&token.text) {
                return Err(format!("`{}` of a macro", token.text));
            }
        }
        Ok(())
    }
}

/// The parameters of a macro. Their defaults may not refer to other parameters, which the engine
/// does not know yet when it computes them.
fn parameters(tokens: &[Token]) -> Result<Vec<String>, String> {
    let mut parameters: Vec<String> = Vec::new();
    let mut depth = 0;
    let mut default = false;
    for (at, token) in tokens.iter().enumerate() {
        depth += token.depth();
        match (token.kind, token.text.as_str()) {
            (Kind::Operator, ",") if depth == 1 => default = false,
            (Kind::Operator, "=") if depth == 1 => default = true,
            (Kind::Name, name) if depth == 1 && !default && parameters.len() <= MAX_PARAMETERS => {
                parameters.push(name.to_string());
            }
            (Kind::Name, name)
                if parameters.iter().any(|p| p == name)
                    && previous(tokens, at).is_some_and(|at| tokens[at].text != ".") =>
            {
                return Err(format!(
                    "a macro's default that refers to its parameter `{name}`"
                ));
            }
            _ => (),
        }
    }
    Ok(parameters)
}
