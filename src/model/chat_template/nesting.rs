//! How much of a template stands inside something else, which the engine parses, compiles and
//! frees with a frame of its stack for each.

use super::limits::MAX_TERMS;
use super::tokens::{Kind, Token};

/// Words that are operators.
const OPERATORS: [&str; 7] = ["and", "else", "if", "in", "is", "not", "or"];

/// The branches that are open.
#[derive(Default)]
pub struct Nesting {
    /// Of each `if`, its `elif`s: the engine has each inside the one before.
    open: Vec<usize>,
}

impl Nesting {
    /// Goes through a tag, which is a block of this `name`, or has none.
    pub fn check(&mut self, name: &str, tokens: &[Token]) -> Result<(), String> {
        match name {
            "if" => self.open.push(1),
            "elif" => self
                .open
                .iter_mut()
                .last()
                .into_iter()
                .for_each(|n| *n += 1),
            "endif" => drop(self.open.pop()),
            _ => (),
        }
        let around = self.open.iter().sum::<usize>();
        let found = around.max(terms(tokens));
        match found > MAX_TERMS {
            true => Err(format!(
                "more than {MAX_TERMS} operators or branches around a term"
            )),
            false => Ok(()),
        }
    }
}

/// How many operators, brackets and the like stand around a term at most. Commas begin another
/// term, and what a bracket holds stands inside the term that it belongs to.
fn terms(tokens: &[Token]) -> usize {
    // The operators in each bracket that is open, since its last comma.
    let mut open = vec![0];
    let (mut around, mut most) = (0_usize, 0);
    for token in tokens {
        let Some(last) = open.last_mut() else { break };
        let text = token.text.as_str();
        match token.kind {
            Kind::Operator if token.depth() > 0 => {
                *last += 1;
                around += 1;
                open.push(0);
            }
            Kind::Operator if token.depth() < 0 => {
                // A bracket that nothing has opened closes nothing.
                let is_open = open.len() > 1;
                around -= is_open.then(|| open.pop()).flatten().unwrap_or(0);
            }
            Kind::Operator if matches!(text, "," | ":") => {
                around -= *last;
                *last = 0;
            }
            Kind::Operator => {
                *last += 1;
                around += 1;
            }
            Kind::Name if OPERATORS.contains(&text) => {
                *last += 1;
                around += 1;
            }
            _ => (),
        }
        most = most.max(around);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tag;
    use super::*;

    fn of(expression: &str) -> usize {
        terms(&tag(&format!("{{{{ {expression} }}}}")).unwrap().tokens)
    }

    #[test]
    fn terms_are_counted_where_they_stand_inside_each_other() {
        assert_eq!(of("a"), 0);
        assert_eq!(of("a + b.c | d"), 3);
        assert_eq!(of("[a + b, c + d, -e]"), 2);
        assert_eq!(of("((a + b) * c)[d]"), 3);
        assert_eq!(of("not a if b else c"), 3);
        assert_eq!(of("{'a': b.c, 'd': e.f}"), 2);
    }
}
