//! JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity`, for which JSON has no numbers.

use serde_json::Value;

/// How transformers writes such a number in strict JSON: an object of this one field, a string.
const TAG: &str = "__float__";

const WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Parses `text`. A number that is not finite becomes the object that transformers writes for it,
/// so that it is no number to who reads the field, and the file can be written again.
///
/// # Errors The fault in the JSON.
pub fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| match tagged(text) {
        Some(tagged) => serde_json::from_str(&tagged),
        None => Err(error),
    })
}

/// The word for a number that is not finite, if `value` stands for one.
pub fn not_finite(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let word = fields.get(TAG)?.as_str()?;
    WORDS.contains(&word).then_some(word)
}

/// `text` with objects in the place of Python's words, or `None` where it has none. Strings are
/// left alone. A word in a wrong place is as wrong as an object.
pub(crate) fn tagged(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut tagged, mut copied) = (String::new(), 0);
    let (mut at, mut in_string) = (0, false);
    while at < bytes.len() {
        let found = WORDS
            .iter()
            .find(|word| bytes[at..].starts_with(word.as_bytes()));
        match (bytes[at], found) {
            (b'"', _) => in_string = !in_string,
            (b'\\', _) if in_string => at += 1,
            (_, Some(word)) if !in_string => {
                tagged += &text[copied..at];
                tagged += &format!("{{\"{TAG}\":\"{word}\"}}");
                at += word.len();
                copied = at;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    (copied > 0).then(|| tagged + &text[copied..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_read_outside_strings() {
        let text =
            r#"{"a": [0.5, Infinity, -Infinity], "NaN": NaN, "s": "\"NaN\" é\\", "t": [NaN]}"#;
        let value = parse(text).unwrap();
        assert_eq!(not_finite(&value["a"][1]), Some("Infinity"));
        assert_eq!(not_finite(&value["a"][2]), Some("-Infinity"));
        assert_eq!(not_finite(&value["NaN"]), Some("NaN"));
        assert_eq!(not_finite(&value["t"][0]), Some("NaN"));
        assert_eq!(value["s"], "\"NaN\" é\\");
        assert_eq!(value["a"][0], 0.5);
        // Written and read again, the value is the same.
        assert_eq!(parse(&value.to_string()).unwrap(), value);
    }

    #[test]
    fn other_words_stay_wrong() {
        for text in [
            "{NaN: 1}",
            "[1NaN]",
            "[NaNs]",
            "[--Infinity]",
            "[Inf]",
            "[nan]",
            "[NaN",
            "\"NaN",
            "[NaN NaN]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [
            r#"{"__float__": "1"}"#,
            r#"{"__float__": "NaN", "a": 1}"#,
            "{}",
            "\"NaN\"",
        ] {
            assert_eq!(not_finite(&parse(text).unwrap()), None, "{text}");
        }
    }
}
