//! The field `ztt` of a request: how deep its texts run, and how many tokens are guessed.

use serde_json::Value;

use super::parsing::BODY;
use crate::engine::Drafts;
use crate::error::Result;
use crate::model::json::{Object, kind};
use crate::schedule::{Rule, TextRules};

/// When positions leave the cycles, as far as the request says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Depth {
    threshold: Option<f64>,
    min_cycles: Option<usize>,
    pub cycles: Option<usize>,
    exit_prompt: Option<bool>,
    /// Guesses at a time, 0 for none.
    draft_tokens: Option<usize>,
}

impl Depth {
    /// The field that is read here.
    pub const FIELD: &str = "ztt";

    /// Reads the field of a body.
    ///
    /// # Errors
    /// [`Error::Field`](crate::Error::Field) where it has a field that is not known, or one with an
    /// impossible value.
    pub fn read(body: &Object) -> Result<Self> {
        let mut fields = match body.get(Self::FIELD) {
            None => return Ok(Self::default()),
            Some(Value::Object(fields)) => fields.clone(),
            Some(other) => return Err(body.error(Self::FIELD, "an object", &kind(other))),
        };
        fields.retain(|_, value| !value.is_null());
        let depth = Object::nested(BODY, Self::FIELD, &fields);
        depth.check_names(&[
            "cycles",
            "draft_tokens",
            "exit_prompt",
            "exit_threshold",
            "min_cycles",
        ])?;
        let at_least_one = |field: &str| {
            let asked = depth.get(field);
            asked.map(|_| depth.whole_from(field, 1, None)).transpose()
        };
        Ok(Self {
            threshold: depth.number("exit_threshold")?,
            min_cycles: at_least_one("min_cycles")?,
            cycles: at_least_one("cycles")?,
            exit_prompt: match depth.get("exit_prompt") {
                Some(_) => Some(depth.flag("exit_prompt", true)?),
                None => None,
            },
            draft_tokens: draft_tokens(&depth)?,
        })
    }

    /// Whether positions are to leave on scores.
    pub fn asks_for_exits(&self) -> bool {
        self.threshold.is_some()
    }

    /// Where guesses of a text come from, where `defaults` has what the request does not. Nothing is
    /// guessed where the server guesses nothing.
    pub fn drafts(&self, defaults: Drafts) -> Drafts {
        match self.draft_tokens {
            None => defaults,
            Some(0) => Drafts::NONE,
            tokens => Drafts { tokens, ..defaults },
        }
    }

    /// The rules of a text, where `defaults` has what the request does not.
    pub fn over(&self, defaults: TextRules) -> TextRules {
        TextRules {
            drawn: Rule {
                threshold: self.threshold.or(defaults.drawn.threshold),
                min_cycles: self.min_cycles.unwrap_or(defaults.drawn.min_cycles),
                max_cycles: self.cycles.unwrap_or(defaults.drawn.max_cycles),
            },
            exit_prompt: self.exit_prompt.unwrap_or(defaults.exit_prompt),
        }
    }
}

fn draft_tokens(depth: &Object) -> Result<Option<usize>> {
    const FIELD: &str = "draft_tokens";
    let asked = depth.whole(FIELD)?;
    match asked.filter(|&n| n > Drafts::MOST) {
        Some(n) => {
            let expected = format!("0 to {}", Drafts::MOST);
            Err(depth.error(FIELD, &expected, &n.to_string()))
        }
        None => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Depth> {
        let Value::Object(fields) = json!({ "ztt": value }) else {
            unreachable!()
        };
        Depth::read(&Object::new(BODY, &fields))
    }

    const DEFAULTS: TextRules = TextRules {
        drawn: Rule::FULL_DEPTH,
        exit_prompt: true,
    };

    #[test]
    fn what_is_not_said_is_the_servers() {
        let none = read(json!({"cycles": null})).unwrap();
        assert_eq!(none, Depth::default());
        assert_eq!(none.over(DEFAULTS), DEFAULTS);
        let all =
            json!({"cycles": 2, "exit_threshold": 0.5, "min_cycles": 1, "exit_prompt": false});
        let rules = read(all).unwrap().over(DEFAULTS);
        let drawn = Rule {
            threshold: Some(0.5),
            min_cycles: 1,
            max_cycles: 2,
        };
        assert_eq!((rules.drawn, rules.exit_prompt), (drawn, false));
    }

    #[test]
    fn a_request_guesses_fewer_tokens_or_none() {
        let server = Drafts {
            ngrams: true,
            depth: None,
            tokens: None,
        };
        let drafts = |value| read(value).unwrap().drafts(server);
        assert_eq!(drafts(json!({"cycles": 1})), server);
        assert_eq!(drafts(json!({"draft_tokens": 0})), Drafts::NONE);
        let tokens = drafts(json!({"draft_tokens": 3})).tokens;
        assert_eq!(tokens, Some(3));
        let none = read(json!({"draft_tokens": 3})).unwrap();
        assert!(!none.drafts(Drafts::NONE).any());
    }

    #[test]
    fn errors_name_the_field() {
        for (value, words) in [
            (json!(1), ["`ztt`", "an object"]),
            (json!({"cycles": 0}), ["`ztt.cycles`", "at least 1"]),
            (json!({"draft_tokens": 8}), ["`ztt.draft_tokens`", "0 to 7"]),
            (json!({"min_cycles": 0}), ["`ztt.min_cycles`", "at least 1"]),
            (
                json!({"exit_threshold": "a"}),
                ["`ztt.exit_threshold`", "number"],
            ),
            (
                json!({"exit_prompt": "yes"}),
                ["`ztt.exit_prompt`", "true or false"],
            ),
            (json!({"depth": 1}), ["`ztt.depth`", "found"]),
        ] {
            let error = read(value).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
