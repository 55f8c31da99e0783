//! A text that grows token by token until a stop rule ends it.

use std::collections::VecDeque;

use serde::Serialize;

use super::StopRules;
use super::stops::Stops;
use crate::error::Result;
use crate::model::tokenizer::{TextStream, Tokenizer};
use crate::reference::Output;

/// One generated token.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// Counted from 0 within the generated text.
    pub index: usize,
    pub id: u32,
    /// The text that this token adds, or completed; empty inside a character.
    pub text: String,
    /// Cycles that the position ran from whose logits the token was drawn.
    pub cycles: usize,
    /// The score of each of those cycles; empty without a pool.
    pub scores: Vec<f32>,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// `max_tokens` were generated.
    Length,
    /// The model ended its text.
    Eos,
    /// A stop text came.
    StopString,
    /// The context is full.
    Context,
    /// The receiver wants no more, or somebody set [`StopRules::interrupt`].
    Interrupted,
}

/// The text generated so far, and whether it has ended. Tokens are held back while their text is
/// not certain, or may yet turn out to be the beginning of a stop text.
pub struct GeneratedText<'t> {
    /// `None` where nobody reads the text.
    stream: Option<TextStream<'t>>,
    max_tokens: usize,
    eos: Vec<u32>,
    stops: Stops,
    n_tokens: usize,
    /// Tokens whose text the stream holds.
    waiting: VecDeque<Token>,
    /// Tokens that were not given out yet: a stop text may begin in them.
    held: VecDeque<Token>,
    /// Bytes of the text before them.
    n_released: usize,
    finish: Option<Finish>,
}

impl<'t> GeneratedText<'t> {
    /// An empty text that continues `prompt` and ends by `rules`, but for
    /// [`StopRules::interrupt`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn new(
        tokenizer: Option<&'t Tokenizer>,
        prompt: &[u32],
        rules: &StopRules,
    ) -> Result<Self> {
        let stream = tokenizer.map(|tokenizer| TextStream::after(tokenizer, prompt));
        Ok(Self {
            stream: stream.transpose()?,
            max_tokens: rules.max_tokens,
            eos: rules.eos.clone(),
            stops: Stops::new(&rules.strings),
            n_tokens: 0,
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            n_released: 0,
            finish: (rules.max_tokens == 0).then_some(Finish::Length),
        })
    }

    /// How `id` is called as the next token: see [`TextStream::name`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn name(&self, id: u32) -> Result<String> {
        match &self.stream {
            Some(stream) => stream.name(id),
            None => Ok(id.to_string()),
        }
    }

    /// Tokens so far, those held back included.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Why the text has ended, if it has.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// Adds the token drawn from the logits of `position`; nothing to a text that has ended, be it
    /// before its first token. With `is_full` the context has no room to run it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn push(&mut self, id: u32, position: &Output, is_full: bool) -> Result<()> {
        if self.finish.is_some() {
            return Ok(());
        }
        if self.eos.contains(&id) {
            self.finish = Some(Finish::Eos);
            return self.complete();
        }
        let scores = position.scores.iter().take(position.cycles);
        self.waiting.push_back(Token {
            index: self.n_tokens,
            id,
            text: String::new(),
            cycles: position.cycles,
            scores: scores.copied().collect(),
        });
        self.n_tokens += 1;
        let texts = match &mut self.stream {
            Some(stream) => stream.push(id)?,
            None => vec![String::new()],
        };
        self.settle(texts);
        if self.cut() {
            self.end_at_stop();
        } else if self.n_tokens == self.max_tokens {
            self.finish = Some(Finish::Length);
            self.complete()?;
        } else if is_full {
            self.finish = Some(Finish::Context);
            self.complete()?;
        }
        Ok(())
    }

    /// Ends the text from outside.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn interrupt(&mut self) -> Result<()> {
        self.finish = Some(Finish::Interrupted);
        self.complete()
    }

    /// Takes in what the stream held, now that no token follows.
    fn complete(&mut self) -> Result<()> {
        if let Some(stream) = &mut self.stream {
            let texts = stream.finish()?;
            self.settle(texts);
        }
        if self.cut() {
            self.end_at_stop();
        }
        Ok(())
    }

    /// Gives the oldest waiting tokens their texts.
    fn settle(&mut self, texts: Vec<String>) {
        for text in texts {
            self.stops.push(&text);
            let token = self.waiting.pop_front();
            self.held.extend(token.map(|token| Token { text, ..token }));
        }
    }

    /// Ends the text at a stop text: the waiting tokens, which follow it, have no text.
    fn end_at_stop(&mut self) {
        self.finish = Some(Finish::StopString);
        self.held.extend(self.waiting.drain(..));
    }

    /// The tokens whose text is certain to be part of the output and was not given out yet.
    pub fn release(&mut self) -> Vec<Token> {
        if self.finish.is_some() {
            return self.held.drain(..).collect();
        }
        let n_certain = self.stops.n_certain();
        let mut released = Vec::new();
        while let Some(token) = self.held.front() {
            let end = self.n_released + token.text.len();
            if end > n_certain {
                break;
            }
            self.n_released = end;
            released.extend(self.held.pop_front());
        }
        released
    }

    /// Cuts off a stop text and what follows it; true where there was one.
    fn cut(&mut self) -> bool {
        let Some(found) = self.stops.found() else {
            return false;
        };
        let mut keep = found - self.n_released;
        for token in &mut self.held {
            let n = keep.min(token.text.len());
            token.text.truncate(n);
            keep -= n;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BUILTIN, Fetch, Model};

    /// The texts given out for the tokens of `text`, and why generation ended.
    fn run(stops: &[&str], text: &str, max_tokens: usize) -> (Vec<String>, Option<Finish>) {
        let model = Model::open(BUILTIN, Fetch::Never).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        let rules = StopRules {
            strings: stops.iter().map(|s| s.to_string()).collect(),
            ..StopRules::of(&model, max_tokens)
        };
        let mut generated = GeneratedText::new(Some(&tokenizer), &[], &rules).unwrap();
        let mut given_out = Vec::new();
        for id in tokenizer.encode(text).unwrap() {
            if generated.finish().is_some() {
                break;
            }
            generated.push(id, &Output::default(), false).unwrap();
            let tokens = generated.release();
            given_out.extend(tokens.into_iter().map(|token| token.text));
        }
        (given_out, generated.finish())
    }

    #[test]
    fn a_stop_text_across_tokens_is_cut_off() {
        let (out, finish) = run(&["\n\n"], "one\ntwo\n\nthree", 99);
        assert_eq!(
            (out.concat().as_str(), finish),
            ("one\ntwo", Some(Finish::StopString))
        );
    }

    #[test]
    fn the_earliest_stop_text_counts() {
        let (out, finish) = run(&["later", "so"], "so much later", 99);
        assert_eq!(
            (out.concat().as_str(), finish),
            ("", Some(Finish::StopString))
        );
    }

    #[test]
    fn text_that_only_begins_like_a_stop_is_released() {
        let (out, finish) = run(&["END"], "a EN xé.", 99);
        assert_eq!((out.concat().as_str(), finish), ("a EN xé.", None));
    }

    #[test]
    fn the_last_token_gives_out_what_is_held() {
        let (whole, _) = run(&[], "one two", 99);
        let (out, finish) = run(&["two three"], "one two", whole.len());
        assert_eq!((out, finish), (whole, Some(Finish::Length)));
        assert_eq!(run(&[], "one two", 0).1, Some(Finish::Length));
    }

    /// The texts given out for tokens `<0xNN>`, which are held back until the run of them ends, and
    /// why generation ended.
    fn run_bytes(stops: &[&str], tokens: &[&str], end: &str) -> (Vec<String>, Option<Finish>) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
        let text = std::fs::read_to_string(format!("{folder}/llama.json")).unwrap();
        let tokenizer = Tokenizer::parse("llama", "tokenizer.json", &text).unwrap();
        let rules = StopRules {
            max_tokens: 99,
            eos: vec![tokenizer.id("</s>").unwrap()],
            strings: stops.iter().map(|s| s.to_string()).collect(),
            interrupt: Default::default(),
        };
        let prompt = tokenizer.encode("Call").unwrap();
        let mut generated = GeneratedText::new(Some(&tokenizer), &prompt, &rules).unwrap();
        let mut given_out = Vec::new();
        for token in tokens.iter().chain((!end.is_empty()).then_some(&end)) {
            let id = tokenizer.id(token).unwrap();
            generated.push(id, &Output::default(), false).unwrap();
            given_out.extend(generated.release());
        }
        if generated.finish().is_none() {
            generated.interrupt().unwrap();
            given_out.extend(generated.release());
        }
        let texts = given_out.into_iter().map(|token| token.text).collect();
        (texts, generated.finish())
    }

    #[test]
    fn nothing_is_lost_however_a_text_ends() {
        let tokens = ["▁me", "<0x0A>", "<0x0A>"];
        for (end, finish) in [("</s>", Finish::Eos), ("", Finish::Interrupted)] {
            let (out, found) = run_bytes(&[], &tokens, end);
            assert_eq!(out, [" me", "\n", "\n"], "{end}");
            assert_eq!(found, Some(finish));
        }
        let (out, found) = run_bytes(&[], &["▁me", "<0xF0>", "<0x9F>"], "</s>");
        assert_eq!(out, [" me", "\u{fffd}", "\u{fffd}"]);
        assert_eq!(found, Some(Finish::Eos));
    }

    #[test]
    fn a_stop_text_of_bytes_is_found() {
        for end in ["▁a", "</s>", ""] {
            let (out, finish) = run_bytes(&["\n"], &["▁me", "<0x0A>"], end);
            assert_eq!(out.concat(), " me", "{end}");
            assert_eq!(finish, Some(Finish::StopString));
        }
    }
}
