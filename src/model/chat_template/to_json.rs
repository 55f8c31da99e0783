//! JSON as Python writes it, for templates.

use minijinja::value::ValueKind;
use minijinja::{Error as Failure, State, Value};

use super::arguments::{Arguments, Given, failure, items, pay};
use super::limits::{MAX_BYTES, MAX_DEPTH};
use super::methods::is_namespace;
use super::objects::is_list;
use super::python::number;

/// Blanks that each level is indented by at most.
const MAX_INDENT: usize = 1000;

/// `tojson` as transformers has it: Python's `json.dumps`, nothing escaped for HTML.
pub fn to_json(state: &State, value: &Value, given: Given) -> Result<String, Failure> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let arguments = Arguments::of("tojson", names, given)?;
    let indent = match arguments.some(1) {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_string(),
            None => {
                let width = usize::try_from(arguments.whole(1, 0)?).unwrap_or(0);
                if width > MAX_INDENT {
                    return Err(failure(format!(
                        "tojson expects an indent of at most {MAX_INDENT}, found {width}"
                    )));
                }
                " ".repeat(width)
            }
        }),
    };
    let separators = match arguments.some(2) {
        None => [if indent.is_some() { "," } else { ", " }, ": "].map(str::to_string),
        Some(given) => {
            let parts: Vec<_> = given
                .try_iter()?
                .map(|v| v.as_str().map(str::to_string))
                .collect();
            match <[Option<String>; 2]>::try_from(parts) {
                Ok([Some(items), Some(keys)]) => [items, keys],
                _ => return Err(arguments.wrong(given, "two strings as `separators`")),
            }
        }
    };
    let mut writer = Writer {
        state,
        ascii: arguments.flag(0, false),
        sorted: arguments.flag(3, false),
        indent,
        separators,
        out: String::new(),
    };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    ascii: bool,
    sorted: bool,
    indent: Option<String>,
    /// Between items, and between a key and its value.
    separators: [String; 2],
    out: String,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            return Err(failure(format!(
                "tojson expects at most {MAX_DEPTH} values inside each other"
            )));
        }
        if self.out.len() > MAX_BYTES {
            let most = MAX_BYTES >> 20;
            return Err(failure(format!("a text of more than {most} MiB")));
        }
        if let Some(text) = value.as_str() {
            pay(self.state, text.len())?;
            self.text(text);
            return Ok(());
        }
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable if is_list(value) => {
                let items = items(value)?;
                self.container(['[', ']'], depth, items, |this, item| {
                    this.value(&item, depth + 1)
                })
            }
            ValueKind::Map if !is_namespace(value) => {
                let pairs = value.as_object().and_then(|o| o.try_iter_pairs());
                let mut pairs: Vec<_> = pairs.into_iter().flatten().collect();
                if self.sorted {
                    same_kind(pairs.iter().map(|(key, _)| key))?;
                    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.container(['{', '}'], depth, pairs, |this, (key, value)| {
                    this.text(&key_text(&key)?);
                    this.out.push_str(&this.separators[1]);
                    this.value(&value, depth + 1)
                })
            }
            _ => {
                let text = scalar(value)?;
                self.out.push_str(&text);
                Ok(())
            }
        }
    }

    fn container<T>(
        &mut self,
        [open, close]: [char; 2],
        depth: usize,
        items: Vec<T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.out.push(open);
        let empty = items.is_empty();
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push_str(&self.separators[0]);
            }
            self.state.consume_fuel(1)?;
            pay(self.state, self.separators.iter().map(String::len).sum())?;
            self.line(depth + 1)?;
            write(self, item)?;
        }
        if !empty {
            self.line(depth)?;
        }
        self.out.push(close);
        Ok(())
    }

    /// Begins a line, where there is an indent.
    fn line(&mut self, depth: usize) -> Result<(), Failure> {
        if let Some(indent) = &self.indent {
            pay(self.state, indent.len().saturating_mul(depth))?;
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// A key as text, as Python's `json` has it.
fn key_text(key: &Value) -> Result<String, Failure> {
    match key.as_str() {
        Some(text) => Ok(text.to_string()),
        None => scalar(key),
    }
}

/// The JSON of a value that is neither text nor holds other values.
fn scalar(value: &Value) -> Result<String, Failure> {
    Ok(match value.kind() {
        ValueKind::None => "null".to_string(),
        ValueKind::Bool => value.is_true().to_string(),
        ValueKind::Number => match number(value).as_str() {
            "inf" => "Infinity".to_string(),
            "-inf" => "-Infinity".to_string(),
            "nan" => "NaN".to_string(),
            number => number.to_string(),
        },
        kind => {
            return Err(failure(format!(
                "tojson cannot write a value of kind {kind}"
            )));
        }
    })
}

/// Refuses to order values that Python cannot compare.
pub fn same_kind<'a>(values: impl Iterator<Item = &'a Value>) -> Result<(), Failure> {
    let kinds = values.map(|value| match value.kind() {
        ValueKind::Bool => ValueKind::Number,
        kind => kind,
    });
    let kinds: Vec<ValueKind> = kinds.collect();
    let ordered = [ValueKind::Number, ValueKind::String, ValueKind::Seq];
    match kinds
        .iter()
        .find(|kind| **kind != kinds[0] || !ordered.contains(kind))
    {
        Some(kind) if kinds.len() > 1 => Err(failure(format!(
            "there is no order between {} and {kind}",
            kinds[0]
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use minijinja::{Environment, context};

    use super::*;

    #[test]
    fn json_is_pythons() {
        let value: serde_json::Value =
            serde_json::from_str(r#"{"z": "<é'>", "a": [1, 2.5, null, true], "b": {}}"#).unwrap();
        let mut environment = Environment::new();
        environment.add_filter("tojson", to_json);
        let render = |source| {
            let value = Value::from(minijinja::value::Serde(&value));
            environment.render_str(source, context! { value })
        };
        let expected = r#"{"z": "<é'>", "a": [1, 2.5, null, true], "b": {}}"#;
        assert_eq!(render("{{ value | tojson }}").unwrap(), expected);
        let found = render("{{ value.a[:2] | tojson(indent=4) }}").unwrap();
        assert_eq!(found, "[\n    1,\n    2.5\n]");
        let expected = r#"{"a":[1,2.5,null,true],"b":{},"z":"<\u00e9'>"}"#;
        let source = "{{ value | tojson(true, separators=(',', ':'), sort_keys=true) }}";
        assert_eq!(render(source).unwrap(), expected);
    }
}
