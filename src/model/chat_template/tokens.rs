//! A tag of a template cut into tokens.

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Blank,
    Name,
    Number,
    /// A string, with its quotes.
    Text,
    Operator,
}

/// A piece of a tag.
#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
}

impl Token {
    pub fn name(text: &str) -> Self {
        Self {
            kind: Kind::Name,
            text: text.to_string(),
        }
    }

    pub fn operator(text: &str) -> Self {
        Self {
            kind: Kind::Operator,
            text: text.to_string(),
        }
    }

    /// How many brackets more are open after this token.
    pub fn depth(&self) -> i32 {
        match (self.kind, self.text.as_str()) {
            (Kind::Operator, "(" | "[" | "{") => 1,
            (Kind::Operator, ")" | "]" | "}") => -1,
            _ => 0,
        }
    }
}

/// A tag: its opening and its closing marks, signs included, and the text between.
pub struct Tag<'a> {
    pub open: &'a str,
    pub tokens: Vec<Token>,
    pub close: &'a str,
    /// Bytes of the whole tag.
    pub length: usize,
}

/// The tag at the start of `text`, unless it has no end.
pub fn tag(text: &str) -> Option<Tag<'_>> {
    let closes: &[&str] = match text.starts_with("{%") {
        true => &["%}", "-%}", "+%}"],
        false => &["}}", "-}}"],
    };
    let signed = text[2..].starts_with(['-', '+']);
    let start = if signed { 3 } else { 2 };
    let mut tokens = Vec::new();
    let mut depth = 0;
    let mut at = start;
    loop {
        let rest = &text[at..];
        if depth == 0
            && let Some(close) = closes.iter().find(|close| rest.starts_with(**close))
        {
            let length = at + close.len();
            return Some(Tag {
                open: &text[..start],
                tokens,
                close: &text[at..length],
                length,
            });
        }
        let (kind, length) = token(rest)?;
        at += length;
        let token = Token {
            kind,
            text: rest[..length].to_string(),
        };
        depth += token.depth();
        tokens.push(token);
    }
}

/// The kind and the bytes of the token at the start of `text`, unless it has no end.
fn token(text: &str) -> Option<(Kind, usize)> {
    let first = text.chars().next()?;
    let while_is = |test: fn(char) -> bool| text.find(|c| !test(c)).unwrap_or(text.len());
    Some(match first {
        c if c.is_whitespace() => (Kind::Blank, while_is(char::is_whitespace)),
        c if c.is_ascii_digit() => (Kind::Number, number(text)),
        c if in_name(c) => (Kind::Name, while_is(in_name)),
        '\'' | '"' => (Kind::Text, string(text, first)?),
        _ => {
            let pairs = ["**", "//", "==", "!=", "<=", ">="];
            let pair = pairs.iter().any(|pair| text.starts_with(pair));
            (Kind::Operator, if pair { 2 } else { first.len_utf8() })
        }
    })
}

fn in_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The bytes of a number: digits, a part after a dot, an exponent.
fn number(text: &str) -> usize {
    let digits = |from: usize| {
        let part = &text[from..];
        from + part.find(|c: char| !in_name(c)).unwrap_or(part.len())
    };
    let starts = |at: usize, signs: &[char]| {
        let mut characters = text[at..].chars();
        characters.next().is_some_and(|c| signs.contains(&c))
            && characters.next().is_some_and(|c| c.is_ascii_digit())
    };
    let mut end = digits(0);
    if starts(end, &['.']) {
        end = digits(end + 1);
    }
    let exponent = text[..end].ends_with(['e', 'E']) && !text.starts_with("0x");
    if exponent && starts(end, &['-', '+']) {
        end = digits(end + 1);
    }
    end
}

/// The bytes of a string with its quotes.
fn string(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => (),
        }
    }
    None
}

/// The first token from `at` on that is not blank.
pub fn next(tokens: &[Token], at: usize) -> Option<usize> {
    (at..tokens.len()).find(|&at| tokens[at].kind != Kind::Blank)
}

/// The last token before `at` that is not blank.
pub fn previous(tokens: &[Token], at: usize) -> Option<usize> {
    (0..at).rev().find(|&at| tokens[at].kind != Kind::Blank)
}

/// The place after the bracket that closes the one at `at`.
pub fn group_end(tokens: &[Token], at: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(at) {
        depth += token.depth();
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}
