//! The body of a request to /v1/completions.

use super::Generation;
use super::fields::{check_names, parse_with_prompt};
use super::parsing::BODY;
use super::prompts::{Found, MAX_PROMPTS, Prompt};
use crate::error::Result;
use crate::model::json::Object;

/// The most `logprobs`, as OpenAI has it.
const MAX_TOP: usize = 5;

/// The fields that are read here.
const FIELDS: [&str; 3] = ["logprobs", "prompt", "top_logprobs"];

/// Texts to be continued.
pub struct CompletionRequest {
    pub prompts: Vec<Prompt>,
    pub generation: Generation,
    /// See [`Job::n_top`](crate::serve::batching::Job::n_top).
    pub n_top: Option<usize>,
}

impl CompletionRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// Those of [`ChatRequest::parse`](super::ChatRequest::parse).
    pub fn parse(body: &[u8]) -> Result<Self> {
        let (fields, prompt) = parse_with_prompt(body)?;
        check_names(&fields, &[&FIELDS, &Generation::FIELDS])?;
        let body = Object::new(BODY, &fields);
        let n_top = body.whole("logprobs")?;
        if let Some(n) = n_top.filter(|&n| n > MAX_TOP) {
            let expected = format!("at most {MAX_TOP}");
            return Err(body.error("logprobs", &expected, &n.to_string()));
        }
        if body.whole("top_logprobs")?.is_some_and(|n| n > 0) {
            let expected = "none: `logprobs` is how many";
            return Err(body.error("top_logprobs", expected, "one"));
        }
        Ok(Self {
            prompts: prompts(&body, prompt)?,
            generation: Generation::read(&body)?,
            n_top,
        })
    }
}

/// A prompt or a list of them; none is an empty one.
fn prompts(body: &Object, found: Option<Found>) -> Result<Vec<Prompt>> {
    match found {
        None | Some(Found::Nothing) => Ok(vec![Prompt::Text(String::new())]),
        Some(Found::Prompts(prompts)) => Ok(prompts),
        Some(Found::TooMany) => {
            let expected = format!("at most {MAX_PROMPTS} prompts");
            Err(body.error("prompt", &expected, "more"))
        }
        Some(Found::Other(shown)) => {
            let expected = "a string, token ids, or a list of either";
            Err(body.error("prompt", expected, &shown))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(prompt: &str) -> Result<Vec<Prompt>, String> {
        let body = format!(r#"{{"prompt": {prompt}}}"#);
        let request = CompletionRequest::parse(body.as_bytes());
        request.map(|r| r.prompts).map_err(|e| e.to_string())
    }

    #[test]
    fn prompts_are_texts_or_ids() {
        let text = |text: &str| Prompt::Text(text.to_string());
        assert_eq!(parse(r#""a""#).unwrap(), [text("a")]);
        assert_eq!(parse(r#"["a", "b"]"#).unwrap(), [text("a"), text("b")]);
        assert_eq!(parse("[1, 2]").unwrap(), [Prompt::Ids(vec![1, 2])]);
        let two = [Prompt::Ids(vec![1]), Prompt::Ids(vec![2, 3])];
        assert_eq!(parse("[[1], [2, 3]]").unwrap(), two);
        assert_eq!(parse("null").unwrap(), [text("")]);
        let many = format!("[{}0]", "0,".repeat(99_999));
        assert_eq!(parse(&many).unwrap(), [Prompt::Ids(vec![0; 100_000])]);
        let many = format!("[{}[0]]", "[0],".repeat(99_999));
        let error = parse(&many).unwrap_err();
        assert!(error.contains("at most 2048 prompts"), "{error}");
        let request = CompletionRequest::parse(b"{}").unwrap();
        assert_eq!(request.prompts, [text("")]);
        for bad in [
            "1",
            "[]",
            "[[]]",
            "[-1]",
            "[1.5]",
            "[1, \"a\"]",
            "{}",
            "[\"a\", 1]",
            "[[1], 1]",
            "[[[1]]]",
            "[null]",
            "[4294967296]",
            "[NaN]",
            "true",
            "[[\"a\"]]",
            "[[1, \"a\"]]",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(
                error.contains("`prompt`: expected a string, token ids"),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn probabilities_are_a_number() {
        let parse = |fields: &str| {
            let body = format!(r#"{{"prompt": "a", {fields}}}"#);
            let request = CompletionRequest::parse(body.as_bytes());
            request.map(|r| r.n_top).map_err(|e| e.to_string())
        };
        assert_eq!(parse(r#""logprobs": 0"#), Ok(Some(0)));
        for none in ["null", "false"] {
            assert_eq!(parse(&format!(r#""logprobs": {none}"#)), Ok(None));
        }
        assert_eq!(parse(r#""logprobs": 2, "top_logprobs": 0"#), Ok(Some(2)));
        let bad = [
            r#""logprobs": 6"#,
            r#""logprobs": true"#,
            r#""top_logprobs": 2"#,
        ];
        for bad in bad {
            assert!(parse(bad).unwrap_err().contains("`logprobs`"), "{bad}");
        }
    }
}
