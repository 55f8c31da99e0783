//! The exit rule in `config.json`, the block `ztt.exit` or a field of the family: how it is
//! written, and put into a file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::json::parse_object;
use super::ztt::ExitRule;
use super::{BUILTIN, TEXT_LIMIT};
use crate::error::{Error, Result};
use crate::files;

/// The block as `ztt.exit` holds it; without a threshold that field is left out. For a learned gate
/// it is the field `gate` alone, which is a family's own.
pub fn to_json(rule: &ExitRule, gate: Option<&str>) -> Value {
    let mut block = json!({});
    if let Some(field) = gate {
        block[field] = rule.threshold.into();
        return block;
    }
    if let Some(threshold) = rule.threshold {
        block["threshold"] = threshold.into();
    }
    block["min_cycles"] = rule.min_cycles.into();
    block["reduce"] = rule.reduce.name().into();
    block["kv"] = rule.kv.name().into();
    if let Some(prompt) = rule.prompt {
        block["prompt"] = prompt.into();
    }
    block
}

/// The `config.json` of the model that the user calls `name`: a folder, or a file in one.
///
/// # Errors
/// [`Error::File`] where the model has no such file.
pub fn config_file(name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    let folder = match path.is_file() {
        true => path.parent().unwrap_or(Path::new("")),
        false => path,
    };
    let file = folder.join("config.json");
    match name != BUILTIN && file.is_file() {
        true => Ok(file),
        false => Err(Error::file(
            name,
            "a checkpoint folder with a config.json to write to",
            "a model without one",
        )),
    }
}

/// Replaces the block in a `config.json`, or the field `gate`. All other fields keep their values
/// and their order; the file is indented by two spaces.
///
/// # Errors
/// [`Error::Field`] where the file has no `ztt` block, [`Error::Io`] where it cannot be written;
/// the file is then as it was.
pub fn write(file: &Path, rule: &ExitRule, gate: Option<&str>) -> Result<()> {
    let text = files::text(file, TEXT_LIMIT)?;
    let text = with_exit(&file.display().to_string(), &text, rule, gate)?;
    files::write(file, text.as_bytes())
}

/// The text of a `config.json` with its block replaced, or the field `gate`; `file` names it in
/// errors.
fn with_exit(file: &str, text: &str, rule: &ExitRule, gate: Option<&str>) -> Result<String> {
    let mut config = parse_object(file, text)?;
    if let Some(field) = gate {
        config.insert(field.to_string(), rule.threshold.into());
        return Ok(format!("{:#}\n", Value::Object(config)));
    }
    let Some(Value::Object(ztt)) = config.get_mut("ztt") else {
        return Err(Error::Field {
            file: file.to_string(),
            field: "ztt".to_string(),
            expected: "an object".to_string(),
            found: "none".to_string(),
        });
    };
    ztt.insert("exit".to_string(), to_json(rule, None));
    Ok(format!("{:#}\n", Value::Object(config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ztt::KvPolicy;

    #[test]
    fn only_the_block_changes() {
        let rule = ExitRule {
            threshold: Some(0.35),
            kv: KvPolicy::Share,
            ..ExitRule::default()
        };
        let text = r#"{"z": 1, "ztt": {"exit": {"kv": "share"}, "cycles": 3}, "a": 0.5}"#;
        let changed = with_exit("f", text, &rule, None).unwrap();
        let compact: Value = serde_json::from_str(&changed).unwrap();
        assert_eq!(
            compact.to_string(),
            concat!(
                r#"{"z":1,"ztt":{"exit":{"threshold":0.35,"min_cycles":1,"reduce":"mean","#,
                r#""kv":"share"},"cycles":3},"a":0.5}"#
            )
        );
        assert!(with_exit("f", r#"{"ztt": 1}"#, &rule, None).is_err());
        let text = r#"{"z": 1, "early_exit_threshold": 1.0, "a": 0.5}"#;
        let gate = Some("early_exit_threshold");
        let changed = with_exit("f", text, &rule, gate).unwrap();
        let compact: Value = serde_json::from_str(&changed).unwrap();
        assert_eq!(
            compact.to_string(),
            r#"{"z":1,"early_exit_threshold":0.35,"a":0.5}"#
        );
        let printed = to_json(&rule, gate).to_string();
        assert_eq!(printed, r#"{"early_exit_threshold":0.35}"#);
    }
}
