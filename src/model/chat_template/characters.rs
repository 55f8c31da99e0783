//! Characters as Python sorts them.

/// The zeros of scripts that write decimal numbers, each followed by the other nine digits.
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50,
    0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// Digits that are not decimal: raised, lowered, in circles and the like.
const DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3),
    (0xb9, 0xb9),
    (0x1369, 0x1371),
    (0x19da, 0x19da),
    (0x2070, 0x2070),
    (0x2074, 0x2079),
    (0x2080, 0x2089),
    (0x2460, 0x2468),
    (0x2474, 0x247c),
    (0x2488, 0x2490),
    (0x24ea, 0x24ea),
    (0x24f5, 0x24fd),
    (0x24ff, 0x24ff),
    (0x2776, 0x277e),
    (0x2780, 0x2788),
    (0x278a, 0x2792),
    (0x10a40, 0x10a43),
    (0x10e60, 0x10e68),
    (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];

/// Numerals among the letters that Rust does not take for numeric, those in use.
const NUMERALS: &str = "一二三四五六七八九十百千万億兆零〇壹貳參肆伍陸柒捌玖拾亿两";

/// Whether `strip` and `split` take a character for blank.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `isdecimal`.
pub fn is_decimal(c: char) -> bool {
    c.is_ascii_digit()
        || (!c.is_ascii()
            && ZEROS
                .iter()
                .any(|&zero| (zero..zero + 10).contains(&u32::from(c))))
}

/// `isdigit`.
pub fn is_digit(c: char) -> bool {
    is_decimal(c)
        || DIGITS
            .iter()
            .any(|&(from, to)| (from..=to).contains(&u32::from(c)))
}

/// `isnumeric`.
pub fn is_numeric(c: char) -> bool {
    c.is_numeric() || NUMERALS.contains(c)
}

/// `isidentifier`.
pub fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters
        .next()
        .is_some_and(|c| c == '_' || c.is_alphabetic())
        && characters.all(|c| c == '_' || c.is_alphanumeric())
}

fn is_cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || is_digraph(c)
}

/// Latin digraphs, which have a title case of their own.
fn is_digraph(c: char) -> bool {
    matches!(c, '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}')
}

/// A character at the start of a word.
fn push_title(out: &mut String, c: char) {
    if is_digraph(c) {
        out.push(match c {
            '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
            '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
            '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
            _ => '\u{1f2}',
        });
        return;
    }
    let mut upper = c.to_uppercase();
    out.extend(upper.next());
    out.extend(upper.flat_map(char::to_lowercase));
}

/// `title`: words begin after a character without case.
pub fn titled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        match in_word {
            true => out.extend(c.to_lowercase()),
            false => push_title(&mut out, c),
        }
        in_word = is_cased(c);
    }
    out
}

/// `capitalize`.
pub fn capitalized(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    if let Some(first) = characters.next() {
        push_title(&mut out, first);
    }
    out + &characters.as_str().to_lowercase()
}

/// `swapcase`.
pub fn swapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_uppercase() {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
    }
    out
}

/// `casefold`.
pub fn folded(text: &str) -> String {
    let fold = |c: char| match c {
        'ı' => vec![c],
        _ => c.to_uppercase().flat_map(char::to_lowercase).collect(),
    };
    text.chars().flat_map(fold).collect()
}

/// `istitle`.
pub fn is_title(text: &str) -> bool {
    let (mut in_word, mut any) = (false, false);
    for c in text.chars() {
        let upper = c.is_uppercase() || is_digraph(c);
        if (upper && in_word) || (c.is_lowercase() && !in_word) {
            return false;
        }
        in_word = is_cased(c);
        any |= in_word;
    }
    any
}

/// The bytes of the first line of `text`, and those of its end.
pub fn line_end(text: &str) -> (usize, usize) {
    const ENDS: [char; 10] = [
        '\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    match text.find(ENDS) {
        None => (text.len(), 0),
        Some(at) if text[at..].starts_with("\r\n") => (at, 2),
        Some(at) => (at, text[at..].chars().next().map_or(0, char::len_utf8)),
    }
}
