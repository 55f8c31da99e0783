//! A template's source made ready for the engine, whose Jinja is not quite Jinja2.
//!
//! Nothing is parsed here: tags are cut into tokens, and a few of these become others that mean the
//! same to the engine. Syntax that it would silently take for something else is refused.

use super::keeping::KEEP;
use super::limits::MAX_SOURCE;
use super::macros::Macros;
use super::methods::{ATTRIBUTE, ITEM, is_method};
use super::nesting::Nesting;
use super::text_filters::PERCENT;
use super::tokens::{Kind, Token, group_end, next, previous, tag};
use super::wrapping::{parameters, wrap};

/// The function that a loop's values go through.
pub const ITERATE: &str = "__iterate__";

/// Bytes of a tag that has no end, which only the engine looks at.
const MAX_OPEN: usize = 1000;

/// `source` for the engine, or the feature in it that is not supported.
pub fn prepare(source: &str) -> Result<String, String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("more than {MAX_SOURCE} bytes"));
    }
    // Jinja knows one line end.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut macros = Macros::default();
    let mut nesting = Nesting::default();
    let mut rest = source.as_str();
    while let Some(at) = opening(rest) {
        let (data, opened) = rest.split_at(at);
        out.push_str(data);
        if opened.starts_with("{#") {
            let end = opened.find("#}").map_or(opened.len(), |at| at + 2);
            out.push_str(&opened[..end]);
            rest = &opened[end..];
            continue;
        }
        let Some(tag) = tag(opened) else {
            if opened.len() > MAX_OPEN {
                return Err("a tag that has no end".to_string());
            }
            rest = opened;
            break;
        };
        let mut tokens = tag.tokens;
        out.push_str(tag.open);
        let block = if opened.starts_with("{%") {
            name(&tokens).to_string()
        } else {
            String::new()
        };
        nesting.check(&block, &tokens)?;
        let kept = keep_parameters(&tokens, &block);
        rewrite(&mut tokens, &block, &mut macros)?;
        out.extend(tokens.iter().map(|token| token.text.as_str()));
        out.push_str(&kept);
        out.push_str(tag.close);
        rest = &opened[tag.length..];
        if opened.starts_with("{%") && name(&tokens) == "raw" {
            let end = raw_end(rest);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    Ok(out + rest)
}

/// Where the next tag or comment begins.
fn opening(text: &str) -> Option<usize> {
    let mut places = text.match_indices('{').map(|(at, _)| at);
    places.find(|&at| text[at + 1..].starts_with(['{', '%', '#']))
}

/// Where the tag `endraw` begins.
fn raw_end(text: &str) -> usize {
    let mut places = text.match_indices("{%").map(|(at, _)| at);
    let found = places.find(|&at| {
        let inside = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        inside.starts_with("endraw")
    });
    found.unwrap_or(text.len())
}

/// The first token of a tag: its name, in a block.
fn name(tokens: &[Token]) -> &str {
    next(tokens, 0).map_or("", |at| tokens[at].text.as_str())
}

/// The statements that keep the parameters of a macro; the last tag is left open.
fn keep_parameters(tokens: &[Token], block: &str) -> String {
    let parameters = parameters(tokens, block).into_iter();
    parameters
        .map(|name| format!("%}}{{% set {name} = {KEEP}({name}, 1) "))
        .collect()
}

fn rewrite(tokens: &mut Vec<Token>, name: &str, macros: &mut Macros) -> Result<(), String> {
    for token in tokens.iter_mut().filter(|token| token.kind == Kind::Text) {
        token.text = escapes(&token.text)?;
    }
    macros.check(name, tokens)?;
    match name {
        "do" => return Err("the statement `do`".to_string()),
        // Transformers looks at these marks round what the assistant says in training alone.
        "generation" | "endgeneration" => {
            let with = name.replace("generation", "with");
            tokens
                .iter_mut()
                .filter(|t| t.text == name)
                .for_each(|t| t.text.clone_from(&with));
            return Ok(());
        }
        "set" => check_target(tokens)?,
        _ => (),
    }
    wrap(tokens, name);
    attributes(tokens, name == "set");
    subscripts(tokens);
    percents(tokens);
    if name == "for" {
        iterate(tokens);
    }
    Ok(())
}

/// A string with the escapes of Python that the engine reads otherwise written in another way.
fn escapes(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('\n') => (),
            Some('/') => out.push_str("\\\\/"),
            Some('a') => out.push_str("\\x07"),
            Some('v') => out.push_str("\\x0b"),
            Some('N') => return Err("a character by its name (`\\N`)".to_string()),
            Some('U') => {
                let digits: String = characters.by_ref().take(8).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32);
                match code.ok_or_else(|| format!("the escape `\\U{digits}`"))? {
                    c if c <= '\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                    c => out.push(c),
                }
            }
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    Ok(out)
}

/// Refuses names that begin with an underscore, as the namespace of transformers does.
fn check_target(tokens: &[Token]) -> Result<(), String> {
    let target = tokens.iter().take_while(|token| token.text != "=");
    let target: Vec<_> = target.filter(|token| token.kind != Kind::Blank).collect();
    match target.as_slice() {
        [.., dot, name] if dot.text == "." && name.text.starts_with('_') => {
            Err(format!("`{}` set on a namespace", name.text))
        }
        _ => Ok(()),
    }
}

/// `x.items`, where it is not called, is Python's method and no item of that name.
fn attributes(tokens: &mut [Token], set: bool) {
    let target = if set {
        tokens.iter().position(|t| t.text == "=")
    } else {
        None
    };
    for at in target.unwrap_or(0)..tokens.len() {
        let named = tokens[at].kind == Kind::Name && is_method(&tokens[at].text);
        let dot = previous(tokens, at).filter(|&dot| tokens[dot].text == ".");
        let called = next(tokens, at + 1).is_some_and(|at| tokens[at].text == "(");
        if named && dot.is_some() && !called {
            tokens[at].text = format!("{ATTRIBUTE}('{}')", tokens[at].text);
        }
    }
}

/// `x['items']`, where there is no such item, is Python's method.
fn subscripts(tokens: &mut [Token]) {
    const WORDS: [&str; 9] = ["and", "else", "elif", "if", "in", "is", "not", "or", "set"];
    for at in 0..tokens.len() {
        let key = &tokens[at];
        let named = key.kind == Kind::Text && is_method(key.text.trim_matches(['\'', '"']));
        let (Some(open), Some(close)) = (previous(tokens, at), next(tokens, at + 1)) else {
            continue;
        };
        let whole = tokens[open].text == "[" && tokens[close].text == "]";
        let receiver = previous(tokens, open).map(|at| &tokens[at]);
        let item = receiver.is_some_and(|token| match token.kind {
            Kind::Name => !WORDS.contains(&token.text.as_str()),
            _ => [")", "]"].contains(&token.text.as_str()),
        });
        if named && whole && item {
            tokens[open].text = format!(".{ITEM}(");
            tokens[close].text = ")".to_string();
        }
    }
}

/// `'%s' % x`, which the engine does not know of strings. Where the value on the left is no string
/// that is written out, the engine refuses the operator by its name.
fn percents(tokens: &mut Vec<Token>) {
    let mut ends = vec![0; tokens.len() + 1];
    for at in 0..tokens.len() {
        let left = previous(tokens, at).filter(|&left| tokens[left].kind == Kind::Text);
        let before = left.and_then(|left| previous(tokens, left));
        let alone = before
            .is_none_or(|at| !["*", "/", "//", "%", "**"].contains(&tokens[at].text.as_str()));
        if tokens[at].text == "%"
            && left.is_some()
            && alone
            && let Some(end) = operand_end(tokens, at + 1)
        {
            ends[end] += 1;
            tokens[at].text = format!("| {PERCENT}(");
        }
    }
    let mut closed = Vec::with_capacity(tokens.len());
    for (token, n) in std::mem::take(tokens)
        .into_iter()
        .map(Some)
        .chain([None])
        .zip(ends)
    {
        closed.extend((0..n).map(|_| Token::operator(")")));
        closed.extend(token);
    }
    *tokens = closed;
}

/// Where the operand that begins at `at` ends, with its attributes, items, calls and filters.
fn operand_end(tokens: &[Token], at: usize) -> Option<usize> {
    let mut at = next(tokens, at)?;
    while ["-", "+"].contains(&tokens[at].text.as_str()) {
        at = next(tokens, at + 1)?;
    }
    let mut end = match tokens[at].text.as_str() {
        "(" | "[" | "{" => group_end(tokens, at)?,
        _ => at + 1,
    };
    while let Some(at) = next(tokens, end) {
        end = match tokens[at].text.as_str() {
            "(" | "[" => group_end(tokens, at)?,
            "." | "|" => next(tokens, at + 1)? + 1,
            _ if tokens[at].kind == Kind::Text && tokens[end - 1].kind == Kind::Text => at + 1,
            _ => break,
        };
    }
    Some(end)
}

/// Hands the value that a loop goes through to [`ITERATE`].
fn iterate(tokens: &mut Vec<Token>) {
    let mut depth = 0_i32;
    let mut first = None;
    let mut end = tokens.len();
    for (at, token) in tokens.iter().enumerate() {
        depth += token.depth();
        match (token.text.as_str(), first) {
            ("in", None) if depth == 0 && token.kind == Kind::Name => first = next(tokens, at + 1),
            ("if" | "recursive", Some(first)) if depth == 0 && at > first => {
                end = at;
                break;
            }
            _ => (),
        }
    }
    if let (Some(first), Some(last)) = (first, previous(tokens, end)) {
        tokens.insert(last + 1, Token::operator(")"));
        tokens.insert(first, Token::operator(&format!("{ITERATE}(")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_round_an_answer_open_a_scope() {
        let source = "a {%- generation %} b {% endgeneration -%} c {% if true %}d{% endif %}{% ";
        let plain = "a {%- with %} b {% endwith -%} c {% if true %}d{% endif %}{% ";
        assert_eq!(prepare(source).unwrap(), plain);
        let source =
            "{# {% generation %} #}{{ '{% generation %}' }}{% raw %}{% generation %}{% endraw %}";
        assert_eq!(prepare(source).unwrap(), source);
    }

    #[test]
    fn tokens_become_what_the_engine_knows() {
        let of = |source| prepare(source).unwrap();
        assert_eq!(of("a\r\nb\rc"), "a\nb\nc");
        assert_eq!(
            of("{{ x.items }}{{ x.items() }}"),
            "{{ x.__attribute__('items') }}{{ x.items() }}"
        );
        assert_eq!(
            of("{% set x.items = y.get %}"),
            "{% set x.items = __keep__((y.__attribute__('get')), 0) %}"
        );
        assert_eq!(
            of("{{ '%d' % -a.b[1] | c(2) + 1 }}"),
            "{{ '%d' | __percent__( -a.b[1] | c(2)) + 1 }}"
        );
        assert_eq!(
            of("{{ x['items'] in ['items'] }}"),
            "{{ __keep__((x.__item__('items')), 2) in ['items'] }}"
        );
        assert_eq!(of("{{ 2 * 3 % 4 }}"), "{{ 2 * 3 % 4 }}");
        let expected = "{% for a, b in __iterate__(c[1 if x in y]) if d %}";
        assert_eq!(of("{% for a, b in c[1 if x in y] if d %}"), expected);
        assert_eq!(
            of(r"{{ '\U0001f600\/\a\
' }}"),
            r"{{ '😀\\/\x07' }}"
        );
    }

    #[test]
    fn what_the_engine_would_mistake_is_refused() {
        for (source, named) in [
            ("{% do x.y() %}", "`do`"),
            ("{% macro m() %}{{ varargs }}{% endmacro %}", "`varargs`"),
            ("{% macro m(a, b=a + 1) %}{% endmacro %}", "`a`"),
            ("{% set ns._x = 1 %}", "`_x`"),
            (r"{{ '\N{DASH}' }}", r"`\N`"),
        ] {
            let error = prepare(source).unwrap_err();
            assert!(error.contains(named), "{source}: {error}");
        }
        assert!(prepare("{% macro m(kwargs, a=b.kwargs) %}{{ kwargs }}{% endmacro %}").is_ok());
    }
}
