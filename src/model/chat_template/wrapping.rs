//! Expressions whose values go through [`KEEP`] and [`CONCAT`]: where they get a name, and where
//! the engine would make more of them than there is room for.

use super::keeping::KEEP;
use super::string_making::CONCAT;
use super::tokens::{Kind, Token, next, previous};

/// Words after which a term begins.
const BEFORE_TERMS: [&str; 6] = ["and", "else", "if", "in", "not", "or"];

/// Words that no test takes for what it compares with.
const AFTER_TESTS: [&str; 7] = ["and", "else", "if", "in", "is", "not", "or"];

/// Wraps the expressions of a tag, which is a block of this `name`, or has none.
pub fn wrap(tokens: &mut Vec<Token>, name: &str) {
    let mut wrapping = Wrapping::of(tokens.as_slice());
    let from = match name {
        "" => 0,
        // The tokens before are the loop's names.
        "for" => wrapping.loop_values(),
        _ => next(tokens, 0).map_or(0, |at| at + 1),
    };
    for at in from..tokens.len() {
        if wrapping.begins_term(at, from) {
            wrapping.sum(at);
        }
    }
    (from..tokens.len()).for_each(|at| wrapping.recursion(at));
    if matches!(name, "set" | "with") {
        wrapping.assignments(from);
    }
    let Wrapping {
        before,
        after,
        commas,
        ..
    } = wrapping;
    let mut wrapped = Vec::with_capacity(tokens.len());
    let around = before.into_iter().zip(after).zip(commas);
    for (token, ((before, after), comma)) in std::mem::take(tokens).into_iter().zip(around) {
        wrapped.extend(before);
        wrapped.push(if comma { Token::operator(",") } else { token });
        wrapped.extend(after);
    }
    *tokens = wrapped;
}

/// The parameters of a macro or of a block that is called, as the tag `name` has them.
pub fn parameters<'a>(tokens: &'a [Token], name: &str) -> Vec<&'a str> {
    let Some(open) = tokens.iter().position(|token| token.text == "(") else {
        return Vec::new();
    };
    let directly = previous(tokens, open) == next(tokens, 0);
    if !(name == "macro" || (name == "call" && directly)) {
        return Vec::new();
    }
    let mut parameters = Vec::new();
    let mut depth = 0;
    for at in open..tokens.len() {
        depth += tokens[at].depth();
        if depth == 0 {
            break;
        }
        let first =
            previous(tokens, at).is_some_and(|at| matches!(tokens[at].text.as_str(), "(" | ","));
        if depth == 1 && first && tokens[at].kind == Kind::Name {
            parameters.push(tokens[at].text.as_str());
        }
    }
    parameters
}

struct Wrapping<'a> {
    tokens: &'a [Token],
    /// Where the group that a bracket opens ends.
    ends: Vec<Option<usize>>,
    /// Names of tests, which are no terms.
    tests: Vec<bool>,
    /// The tokens to put before each token, and after it.
    before: Vec<Vec<Token>>,
    after: Vec<Vec<Token>>,
    /// Operators that become commas.
    commas: Vec<bool>,
}

impl<'a> Wrapping<'a> {
    fn of(tokens: &'a [Token]) -> Self {
        let mut ends = vec![None; tokens.len()];
        let mut open = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            if token.depth() > 0 {
                open.push(at);
            } else if token.depth() < 0
                && let Some(opened) = open.pop()
            {
                ends[opened] = Some(at + 1);
            }
        }
        Self {
            ends,
            tests: vec![false; tokens.len()],
            before: vec![Vec::new(); tokens.len()],
            after: vec![Vec::new(); tokens.len()],
            commas: vec![false; tokens.len()],
            tokens,
        }
    }

    fn text(&self, at: usize) -> &str {
        &self.tokens[at].text
    }

    /// The operator or the word after a term that ends at `end`.
    fn following(&self, end: usize) -> Option<(usize, &str)> {
        next(self.tokens, end).map(|at| (at, self.text(at)))
    }

    /// Where the values of a loop begin.
    fn loop_values(&self) -> usize {
        let found = self.tokens.iter().position(|token| token.text == "in");
        found.map_or(self.tokens.len(), |at| at + 1)
    }

    /// Whether a term begins at `at` that is no operand of an operator before it.
    fn begins_term(&self, at: usize, from: usize) -> bool {
        let token = &self.tokens[at];
        let term = match token.kind {
            Kind::Blank => false,
            Kind::Name => !AFTER_TESTS.contains(&self.text(at)) && !self.tests[at],
            Kind::Number | Kind::Text => true,
            Kind::Operator => matches!(self.text(at), "(" | "[" | "{" | "-" | "+"),
        };
        let before = previous(self.tokens, at).filter(|&before| before >= from);
        let first = before.is_none_or(|before| match self.tokens[before].kind {
            Kind::Operator => {
                const INSIDE: [&str; 12] =
                    [")", "]", "}", ".", "|", "*", "**", "/", "//", "%", "~", "-"];
                !INSIDE.contains(&self.text(before)) && self.text(before) != "+"
            }
            Kind::Name => BEFORE_TERMS.contains(&self.text(before)),
            _ => false,
        });
        term && first
    }

    /// Terms that are added or subtracted. Sums of lists are made, and so are values that are
    /// sought in something, which the engine may write.
    fn sum(&mut self, start: usize) -> Option<usize> {
        let mut end = self.concatenation(start)?;
        let mut sum = false;
        while let Some((at, "+" | "-")) = self.following(end) {
            sum |= self.text(at) == "+";
            end = self.concatenation(next(self.tokens, at + 1)?)?;
        }
        let in_something = match self.following(end) {
            Some((_, "in")) => true,
            Some((at, "not")) => matches!(self.following(at + 1), Some((_, "in"))),
            _ => false,
        };
        let made = |token: &Token| matches!(token.text.as_str(), "(" | "[" | "{" | "|");
        let sought = in_something && self.tokens[start..end].iter().any(made);
        if (sum && !self.has(&[Kind::Number, Kind::Text], start, end)) || sought {
            self.keep(start, end, 2);
        }
        Some(end)
    }

    fn concatenation(&mut self, start: usize) -> Option<usize> {
        let mut end = self.product(start)?;
        let mut signs = Vec::new();
        while let Some((at, "~")) = self.following(end) {
            signs.push(at);
            end = self.product(next(self.tokens, at + 1)?)?;
        }
        if !signs.is_empty() {
            for at in signs {
                self.commas[at] = true;
            }
            self.before[start].splice(0..0, [Token::name(CONCAT), Token::operator("(")]);
            self.after[end - 1].push(Token::operator(")"));
        }
        Some(end)
    }

    /// Terms that are multiplied or divided. Lists may be repeated.
    fn product(&mut self, start: usize) -> Option<usize> {
        let mut end = self.power(start)?;
        let mut product = false;
        while let Some((at, "*" | "/" | "//" | "%")) = self.following(end) {
            product |= self.text(at) == "*";
            end = self.power(next(self.tokens, at + 1)?)?;
        }
        let makes = |token: &Token| token.kind == Kind::Name || token.depth() > 0;
        let made = self.tokens[start..end].iter().any(makes);
        if product && made && !self.has(&[Kind::Text], start, end) {
            self.keep(start, end, 2);
        }
        Some(end)
    }

    fn power(&mut self, start: usize) -> Option<usize> {
        let mut end = self.operand(start)?;
        while let Some((at, "**")) = self.following(end) {
            end = self.operand(next(self.tokens, at + 1)?)?;
        }
        Some(end)
    }

    /// Where an operand ends, with its sign, attributes, items, calls, filters and tests.
    fn operand(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        while matches!(self.text(at), "-" | "+") {
            at = next(self.tokens, at + 1)?;
        }
        let mut end = match self.text(at) {
            "(" | "[" | "{" => self.ends[at]?,
            _ => at + 1,
        };
        while let Some((at, text)) = self.following(end) {
            end = match text {
                "(" | "[" => self.ends[at]?,
                "." | "|" => next(self.tokens, at + 1)? + 1,
                "is" => self.test(at)?,
                _ if self.tokens[at].kind == Kind::Text
                    && self.tokens[end - 1].kind == Kind::Text =>
                {
                    at + 1
                }
                _ => break,
            };
        }
        Some(end)
    }

    /// Where a test ends that the word `is` at `at` begins.
    fn test(&mut self, at: usize) -> Option<usize> {
        let mut name = next(self.tokens, at + 1)?;
        if self.text(name) == "not" {
            name = next(self.tokens, name + 1)?;
        }
        self.tests[name] = true;
        let Some((at, text)) = self.following(name + 1) else {
            return Some(name + 1);
        };
        let compared = match self.tokens[at].kind {
            Kind::Name => !AFTER_TESTS.contains(&text),
            Kind::Number | Kind::Text => true,
            _ => false,
        };
        match (compared, text) {
            (true, _) => Some(at + 1),
            (_, "[" | "{") => self.ends[at],
            _ => Some(name + 1),
        }
    }

    /// Whether one of these stands by itself among the terms: then they make one, or nothing.
    fn has(&self, kinds: &[Kind], start: usize, end: usize) -> bool {
        let mut depth = 0;
        (start..end).any(|at| {
            depth += self.tokens[at].depth();
            let whole = |next: Option<(usize, &str)>| {
                next.is_none_or(|(at, text)| at >= end || matches!(text, "+" | "*" | "%" | "~"))
            };
            let operator = previous(self.tokens, at)
                .is_none_or(|at| at < start || matches!(self.text(at), "+" | "-" | "*" | "~"));
            depth == 0
                && kinds.contains(&self.tokens[at].kind)
                && operator
                && whole(self.following(at + 1))
        })
    }

    fn keep(&mut self, start: usize, end: usize, namespaces: usize) {
        let open = [
            Token::name(KEEP),
            Token::operator("("),
            Token::operator("("),
        ];
        self.before[start].splice(0..0, open);
        let depth = Token {
            kind: Kind::Number,
            text: namespaces.to_string(),
        };
        let close = [
            Token::operator(")"),
            Token::operator(", "),
            depth,
            Token::operator(")"),
        ];
        self.after[end - 1].extend(close);
    }

    /// The values of `loop(...)`, which a recursive loop goes through.
    fn recursion(&mut self, at: usize) {
        let attribute = previous(self.tokens, at).is_some_and(|at| self.text(at) == ".");
        if self.text(at) != "loop" || self.tokens[at].kind != Kind::Name || attribute {
            return;
        }
        let Some((open, "(")) = self.following(at + 1) else {
            return;
        };
        let close = self.ends[open].map(|end| end - 1);
        let last = close.and_then(|close| previous(self.tokens, close));
        if let (Some((first, _)), Some(last)) = (self.following(open + 1), last)
            && first <= last
        {
            self.keep(first, last + 1, 2);
        }
    }

    /// Wraps the values that `set` and `with` give names to.
    fn assignments(&mut self, from: usize) {
        let mut depth = 0;
        let mut start = from;
        let mut sign = None;
        let with = next(self.tokens, 0).is_some_and(|at| self.text(at) == "with");
        for at in from..=self.tokens.len() {
            let text = self.tokens.get(at).map_or("", |token| token.text.as_str());
            depth += self.tokens.get(at).map_or(0, Token::depth);
            match (text, sign) {
                ("=", None) if depth == 0 => sign = Some(at),
                ("," | "", Some(sign_at))
                    if depth == 0 && (at == self.tokens.len() || (text == "," && with)) =>
                {
                    self.assignment(start, sign_at, at);
                    (start, sign) = (at + 1, None);
                }
                _ => (),
            }
        }
    }

    fn assignment(&mut self, start: usize, sign: usize, end: usize) {
        let has = |text: &str| {
            self.tokens[start..sign]
                .iter()
                .any(|token| token.text == text)
        };
        // Of several names each may have a namespace, an attribute of a namespace none.
        let namespaces = match (has("."), has(",")) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        if let (Some(first), Some(last)) = (next(self.tokens, sign + 1), previous(self.tokens, end))
            && first <= last
        {
            self.keep(first, last + 1, namespaces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tag;
    use super::*;

    fn of(source: &str) -> String {
        let mut tokens = tag(source).unwrap().tokens;
        let name = match source.starts_with("{%") {
            true => tokens[next(&tokens, 0).unwrap()].text.clone(),
            false => String::new(),
        };
        wrap(&mut tokens, &name);
        let text: String = tokens.iter().map(|token| token.text.as_str()).collect();
        text.trim()
            .replace("__keep__", "K")
            .replace("__concat__", "C")
    }

    #[test]
    fn what_gets_a_name_is_kept() {
        assert_eq!(of("{% set a = b, c %}"), "set a = K((b, c), 1)");
        assert_eq!(of("{% set a.b = c(d=e) %}"), "set a.b = K((c(d=e)), 0)");
        assert_eq!(of("{% set a, b = c %}"), "set a, b = K((c), 2)");
        assert_eq!(of("{% set a %}"), "set a");
        assert_eq!(
            of("{% with a = b[c, d], e = f %}"),
            "with a = K((b[c, d]), 1), e = K((f), 1)"
        );
        assert_eq!(of("{{ loop(a.b) }}"), "loop(K((a.b), 2))");
    }

    #[test]
    fn lists_that_are_added_or_repeated_are_made() {
        assert_eq!(of("{{ a + b - c }}"), "K((a + b - c), 2)");
        assert_eq!(of("{{ a + 'b' }}{{ c }}"), "a + 'b'");
        assert_eq!(of("{{ a + 'b'.c() }}"), "K((a + 'b'.c()), 2)");
        assert_eq!(of("{{ [a] * b + c }}"), "K((K(([a] * b), 2) + c), 2)");
        assert_eq!(of("{{ f(a * b) }}"), "f(K((a * b), 2))");
        assert_eq!(of("{{ 2 * 3 + a }}"), "2 * 3 + a");
        assert_eq!(
            of("{{ x is divisibleby 2 and -a ** b * c }}"),
            "x is divisibleby 2 and K((-a ** b * c), 2)"
        );
        assert_eq!(
            of("{{ a | b(c) in d and [e] not in f }}"),
            "K((a | b(c)), 2) in d and K(([e]), 2) not in f"
        );
        assert_eq!(
            of("{% for a, b in c + d if e in f %}"),
            "for a, b in K((c + d), 2) if e in f"
        );
    }

    #[test]
    fn texts_that_are_joined_are_arguments() {
        assert_eq!(
            of("{{ a ~ b.c ~ d | e if f else g ~ h }}"),
            "C(a , b.c , d | e) if f else C(g , h)"
        );
        assert_eq!(
            of("{{ 'a' ~ (b ~ c) * 2 == d }}"),
            "C('a' , K(((C(b , c)) * 2), 2)) == d"
        );
        assert_eq!(of("{{ a is not none ~ b }}"), "C(a is not none , b)");
    }

    #[test]
    fn parameters_are_those_of_the_macro() {
        let of = |source: &str, name: &str| -> Vec<String> {
            let tokens = tag(source).unwrap().tokens;
            parameters(&tokens, name)
                .into_iter()
                .map(str::to_string)
                .collect()
        };
        assert_eq!(
            of("{% macro m(a, b=c(d, e), f=[g, h]) %}", "macro"),
            ["a", "b", "f"]
        );
        assert_eq!(of("{% call(a) m(b) %}", "call"), ["a"]);
        assert!(of("{% call m(b) %}", "call").is_empty());
        assert!(of("{{ m(b) }}", "").is_empty());
    }
}
