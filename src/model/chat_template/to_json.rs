//! JSON as Python writes it, for templates.

use minijinja::value::Kwargs;
use minijinja::{Error as Failure, ErrorKind, Value};
use serde::Serialize;

/// `tojson` as transformers has it: Python's `json.dumps`, nothing escaped for HTML.
pub fn to_json(value: Value, arguments: Kwargs) -> Result<String, Failure> {
    let indent: Option<usize> = arguments.get("indent")?;
    let _: Option<bool> = arguments.get("ensure_ascii")?;
    arguments.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent {
        Some(n) => {
            let indent = " ".repeat(n);
            let pretty = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(
                &mut out, pretty,
            ))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut out, OneLine,
        )),
    };
    let failed =
        |e: &dyn std::fmt::Display| Failure::new(ErrorKind::BadSerialization, e.to_string());
    written.map_err(|e| failed(&e))?;
    String::from_utf8(out).map_err(|e| failed(&e))
}

/// JSON with a blank after commas and colons, as Python writes it.
struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
    ) -> std::io::Result<()> {
        out.write_all(b": ")
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
    }
}
