//! Text token by token, as decoding all tokens at once gives it.

use std::collections::VecDeque;

use super::cleaning::Cleaning;
use super::joining::{Joining, fallback_byte, incomplete_tail};
use super::{Tokenizer, in_common};
use crate::error::Result;

/// Turns a stream of ids into their texts, one for each id, which together are what decoding all
/// ids at once adds to the text of those before them.
///
/// A token's text can depend on its neighbours: the first one of a text may lose a blank, a
/// character may have several tokens, and a row of byte tokens is U+FFFD altogether where one of
/// them is wrong. So a few tokens before the new ones are decoded with them, and a text that later
/// tokens may change is held back until they are there. The first tokens of a character have an
/// empty text.
///
/// Where tokens change the end of the prompt's text (they complete its last character), the text
/// begins where both texts part.
///
/// ```
/// use ztt_wgpu::model::tokenizer::TextStream;
/// use ztt_wgpu::model::{BUILTIN, Fetch, Model};
///
/// let tokenizer = Model::open(BUILTIN, Fetch::Never)?.tokenizer()?;
/// let prompt = tokenizer.encode("Some")?;
/// let mut stream = TextStream::after(&tokenizer, &prompt)?;
/// let mut text = String::new();
/// for id in tokenizer.encode("naïve 🦀")? {
///     text.extend(stream.push(id)?);
/// }
/// text.extend(stream.finish()?);
/// assert_eq!(text, "naïve 🦀");
/// # Ok::<(), ztt_wgpu::Error>(())
/// ```
#[derive(Clone)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// The last tokens that have a text, as many as it takes to decode the tokens that follow.
    window: Vec<u32>,
    /// The part of the window's text that is the prompt's, or has been given to a token.
    base: String,
    /// The texts of tokens that were not given out yet, oldest first. The newest may grow.
    texts: Vec<String>,
    /// The bytes of the row of byte tokens that the window ends in.
    run: Vec<u8>,
    /// Which of `texts` are theirs; of a byte-level tokenizer, which is of the newest token.
    open: Vec<usize>,
    /// Where texts are cleaned up.
    cleaning: Option<Cleaning>,
}

/// Tokens before a text that its cleaning looks back on.
const CLEANED_BACK: usize = 64;

/// The character in the place of bytes that are none.
const BROKEN: char = char::REPLACEMENT_CHARACTER;

impl<'a> TextStream<'a> {
    /// A text that begins with nothing before it; special tokens have no text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            skip_special: true,
            window: Vec::new(),
            base: String::new(),
            texts: Vec::new(),
            run: Vec::new(),
            open: Vec::new(),
            cleaning: tokenizer.cleans_up.then(|| Cleaning::after("")),
        }
    }

    /// A text that continues `prompt`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn after(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Result<Self> {
        let mut stream = Self::new(tokenizer);
        let (window, run) = stream.window_of(prompt, false)?;
        stream.base = tokenizer.decode_raw(&window, true)?;
        (stream.window, stream.run) = (window, run);
        if tokenizer.cleans_up {
            let end = &prompt[prompt.len().saturating_sub(CLEANED_BACK)..];
            let end = tokenizer.decode_raw(end, true)?;
            stream.cleaning = Some(Cleaning::after(&end));
        }
        Ok(stream)
    }

    /// A text from its beginning in which special tokens are written out.
    pub fn with_special(tokenizer: &'a Tokenizer) -> Self {
        Self {
            skip_special: false,
            ..Self::new(tokenizer)
        }
    }

    /// The texts, oldest first, of tokens that nothing can change any more: those pushed before
    /// and not given out yet, and that of `id`, where it can't change either.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn push(&mut self, id: u32) -> Result<Vec<String>> {
        let texts = self.push_raw(id)?;
        Ok(match &mut self.cleaning {
            Some(cleaning) => cleaning.push(texts),
            None => texts,
        })
    }

    /// Pushes `id` as [`push`](Self::push) does, and gives the texts before any cleaning.
    fn push_raw(&mut self, id: u32) -> Result<Vec<String>> {
        let Some(token) = self.tokenizer.shown(id, self.skip_special) else {
            self.texts.push(String::new());
            return Ok(self.settled());
        };
        match self.tokenizer.joining {
            Joining::Runs => match fallback_byte(&token) {
                Some(byte) => {
                    self.run.push(byte);
                    self.add(id);
                }
                None => {
                    self.end_run()?;
                    self.add(id);
                    self.grow(false)?;
                }
            },
            Joining::Whole => self.add(id),
            Joining::Local | Joining::Bytes => {
                self.add(id);
                self.grow(self.is_incomplete())?;
            }
        }
        Ok(self.settled())
    }

    /// The texts that are still held back, where no more tokens come: bytes that are no character
    /// are U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn finish(&mut self) -> Result<Vec<String>> {
        let mut texts = self.finish_raw()?;
        if let Some(cleaning) = &mut self.cleaning {
            texts = cleaning.push(texts);
            texts.extend(cleaning.finish());
        }
        Ok(texts)
    }

    fn finish_raw(&mut self) -> Result<Vec<String>> {
        match self.tokenizer.joining {
            Joining::Runs => self.end_run()?,
            _ => self.grow(false)?,
        }
        Ok(std::mem::take(&mut self.texts))
    }

    /// The name of `id` as the next token: the text it would have, where that is one. Tokens
    /// without a text, special ones and parts of characters, have the names that OpenAI gives them:
    /// their spelling in the vocabulary, and `bytes:\xe2\x82`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn name(&self, id: u32) -> Result<String> {
        if self.tokenizer.joining == Joining::Whole {
            return self.tokenizer.decode_raw(&[id], false);
        }
        let mut next = self.clone();
        let text = match next.push_raw(id)?.pop() {
            text if next.texts.is_empty() => text,
            _ if next.is_incomplete() => None,
            _ => next.finish_raw()?.pop(),
        };
        match text {
            Some(text) if !text.is_empty() && !text.contains(BROKEN) => Ok(text),
            _ => Ok(self.tokenizer.name(id)),
        }
    }

    fn add(&mut self, id: u32) {
        if self.tokenizer.joining != Joining::Runs {
            self.open.clear();
        }
        self.open.push(self.texts.len());
        self.window.push(id);
        self.texts.push(String::new());
    }

    /// Whether the window ends inside a character.
    fn is_incomplete(&self) -> bool {
        self.tokenizer.joining == Joining::Bytes
            && incomplete_tail(&self.tokenizer.bytes_of(&self.window)) > 0
    }

    /// Gives the newest token the text by which the window's has grown, but for a character that is
    /// not complete.
    fn grow(&mut self, is_incomplete: bool) -> Result<()> {
        let whole = self.tokenizer.decode_raw(&self.window, self.skip_special)?;
        let is_kept_back = is_incomplete && whole.ends_with(BROKEN);
        let sure = match is_kept_back {
            true => &whole[..whole.len() - BROKEN.len_utf8()],
            false => whole.as_str(),
        };
        let mut new = &sure[in_common(&self.base, sure)..];
        if !new.is_empty() {
            self.base = sure.to_string();
        }
        // A character that the newest token didn't complete belongs to the token before it.
        let is_bytes = self.tokenizer.joining == Joining::Bytes;
        if is_bytes && self.texts.len() > 1 && new.starts_with(BROKEN) {
            self.texts[0].push(BROKEN);
            new = &new[BROKEN.len_utf8()..];
        }
        if let Some(&newest) = self.open.last() {
            self.texts[newest].push_str(new);
        }
        if self.base == sure {
            self.shrink(is_kept_back)?;
        }
        Ok(())
    }

    /// Gives the byte tokens at the end their texts: each character to the one that completes it.
    fn end_run(&mut self) -> Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        let whole = self.tokenizer.decode_raw(&self.window, self.skip_special)?;
        let new = &whole[in_common(&self.base, &whole)..];
        let is_text = std::str::from_utf8(&self.run).is_ok();
        let n_characters = new.chars().count();
        let mut start = 0;
        for (i, &token) in self.open.iter().enumerate() {
            let n_after = self.open.len() - 1 - i;
            let end = match is_text {
                true => new.floor_char_boundary(new.len().saturating_sub(n_after)),
                false => {
                    let n = n_characters.saturating_sub(n_after);
                    new.char_indices().nth(n).map_or(new.len(), |(at, _)| at)
                }
            };
            self.texts[token].push_str(&new[start..end]);
            start = end;
        }
        self.run.clear();
        self.open.clear();
        self.shrink(false)
    }

    /// Takes out the texts that are final.
    fn settled(&mut self) -> Vec<String> {
        let n = match self.tokenizer.joining {
            Joining::Whole => 0,
            Joining::Runs if !self.run.is_empty() => 0,
            // The text of an incomplete character, once complete, may be the newest token's.
            Joining::Bytes if self.is_incomplete() => *self.open.first().unwrap_or(&0),
            _ => self.texts.len(),
        };
        if n > 0 && n == self.texts.len() {
            self.open.clear();
        }
        self.open.iter_mut().for_each(|token| *token -= n);
        self.texts.drain(..n).collect()
    }

    /// Forgets tokens that nothing depends on any more; all of the window's text is given out,
    /// but for a character at its end that is kept back.
    fn shrink(&mut self, is_kept_back: bool) -> Result<()> {
        let (window, _) = self.window_of(&self.window, true)?;
        let mut base = self.tokenizer.decode_raw(&window, self.skip_special)?;
        if is_kept_back && base.ends_with(BROKEN) {
            base.pop();
        }
        (self.window, self.base) = (window, base);
        Ok(())
    }

    /// The tokens at the end of `ids` that tell how the tokens after them are decoded, and the
    /// bytes of the row that they end in, unless it has ended: enough of them to have a text before
    /// that row, for the first tokens of a text may be decoded in a way of their own, and all of an
    /// incomplete character.
    fn window_of(&self, ids: &[u32], has_ended: bool) -> Result<(Vec<u32>, Vec<u8>)> {
        let joining = self.tokenizer.joining;
        let is_run = joining == Joining::Runs && !has_ended;
        let (mut run, mut row, mut before) = (Vec::new(), Vec::new(), VecDeque::new());
        let mut n_bytes = 0;
        for &id in ids.iter().rev() {
            let Some(token) = self.tokenizer.shown(id, self.skip_special) else {
                continue;
            };
            match fallback_byte(&token).filter(|_| is_run && before.is_empty()) {
                Some(byte) => {
                    row.push(id);
                    run.push(byte);
                    continue;
                }
                None => before.push_front(id),
            }
            n_bytes += token.len();
            let is_enough = match joining {
                Joining::Whole => false,
                // Characters of the alphabet have two bytes at most, those of a text four.
                Joining::Bytes => n_bytes >= 2 * 4,
                Joining::Local | Joining::Runs => true,
            };
            let text = |ids: &[u32]| self.tokenizer.decode_raw(ids, self.skip_special);
            if is_enough && !text(before.make_contiguous())?.is_empty() {
                break;
            }
        }
        run.reverse();
        before.extend(row.into_iter().rev());
        Ok((before.into(), run))
    }
}
