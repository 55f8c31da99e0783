//! The special tokens that the files beside `tokenizer.json` name, as transformers 5 reads them.
//!
//! `special_tokens_map.json` counts only where `tokenizer_config.json` has no
//! `added_tokens_decoder`, and then comes before it.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::class::Class;
use super::limits::Tokens;
use crate::error::Result;
use crate::model::Text;
use crate::model::json::{Object, kind, parse_object};

/// Roles that every tokenizer may have, in the order in which their tokens are added.
pub const STANDARD: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

const DECODER: &str = "added_tokens_decoder";
/// A list of tokens, or an object of roles of the model's own.
const EXTRA: &str = "extra_special_tokens";
/// The list's name before version 5.
const ADDITIONAL: &str = "additional_special_tokens";
/// Where transformers 5 saves roles of the model's own.
const MODEL_SPECIFIC: &str = "model_specific_special_tokens";

/// One of the files beside `tokenizer.json`, without fields where there is none.
pub struct File {
    /// How errors name it.
    pub name: String,
    pub fields: Map<String, Value>,
}

impl File {
    fn read<'t>(name: &str, find: &impl Fn(&str) -> Option<&'t Text>) -> Result<Self> {
        let (name, fields) = match find(name) {
            Some(text) => (text.file.clone(), parse_object(&text.file, &text.text)?),
            None => (name.to_string(), Map::new()),
        };
        Ok(Self { name, fields })
    }

    pub fn json(&self) -> Object<'_> {
        Object::new(&self.name, &self.fields)
    }
}

/// The files beside `tokenizer.json` that name tokens.
pub struct Files {
    pub config: File,
    pub map: File,
    pub class: Class,
    /// The token that the padding saved in `tokenizer.json` is of.
    saved_pad: Option<String>,
}

impl Files {
    /// Reads the files that `find` finds.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where one is no JSON object.
    pub fn read<'t>(find: &impl Fn(&str) -> Option<&'t Text>) -> Result<Self> {
        let config = File::read("tokenizer_config.json", find)?;
        Ok(Self {
            class: Class::of(&config, find)?,
            map: File::read("special_tokens_map.json", find)?,
            saved_pad: find("tokenizer.json").and_then(|file| saved_pad(&file.text)),
            config,
        })
    }

    /// The added tokens of `tokenizer_config.json`, by id.
    pub fn decoder(&self) -> Result<Option<Vec<(u32, AddedToken)>>> {
        let json = self.config.json();
        let entries = match json.get(DECODER) {
            Some(Value::Object(entries)) => entries,
            Some(other) => return Err(json.error(DECODER, "an object", &kind(other))),
            None => return Ok(None),
        };
        let entries = entries.iter().map(|(id, entry)| {
            let number = id.parse().map_err(|_| json.error(DECODER, "token ids", id));
            let token = match entry {
                Value::Object(fields) => of_object(&json, DECODER, fields)?,
                other => return Err(json.error(DECODER, "tokens as objects", &kind(other))),
            };
            Ok((number?, token))
        });
        entries.collect::<Result<_>>().map(Some)
    }
}

fn saved_pad(tokenizer: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Saved {
        padding: Option<Padding>,
    }
    #[derive(Deserialize)]
    struct Padding {
        pad_token: String,
    }
    // A file that is no tokenizer is refused where it is read.
    let saved: Saved = serde_json::from_str(tokenizer).ok()?;
    Some(saved.padding?.pad_token)
}

/// Tokens by their roles, in the order in which the roles were named first. `None`: said to have
/// none.
#[derive(Default)]
struct Roles {
    all: Vec<(String, Option<AddedToken>)>,
    places: HashMap<String, usize>,
}

impl Roles {
    fn set(&mut self, role: &str, token: Option<AddedToken>) {
        match self.places.get(role) {
            Some(&place) => self.all[place].1 = token,
            None => {
                self.places.insert(role.to_string(), self.all.len());
                self.all.push((role.to_string(), token));
            }
        }
    }

    fn set_default(&mut self, role: &str, content: &str) {
        if !self.places.contains_key(role) {
            self.set(role, Some(AddedToken::from(content, true)));
        }
    }

    /// Sets the roles of an object.
    fn set_all(&mut self, json: &Object, field: &str, roles: &Map<String, Value>) -> Result<()> {
        for (role, value) in roles.iter().filter(|(_, value)| !value.is_null()) {
            self.set(role, Some(token(json, field, value)?));
        }
        Ok(())
    }
}

/// The special tokens that the files name.
pub struct Names {
    /// Those of the standard roles in their order, then those of the model's own.
    pub roles: Vec<(String, AddedToken)>,
    pub extra: Vec<AddedToken>,
}

impl Names {
    /// # Errors [`Error::Field`](crate::Error::Field) where a field is malformed.
    pub fn read(files: &Files) -> Result<Self> {
        let mut fields = Fields::default();
        fields.read_config(&files.config.json())?;
        if files.config.json().get(DECODER).is_none() {
            fields.read_map(&files.map.json())?;
        }
        for (role, content) in files.class.special_tokens() {
            fields.standard.set_default(role, content);
        }
        if let Some(pad) = &files.saved_pad
            && files.class.takes_saved_pad()
        {
            fields.standard.set_default("pad_token", pad);
        }
        Ok(fields.names())
    }

    /// The texts of all of them.
    pub fn contents(&self) -> impl Iterator<Item = &str> {
        let roles = self.roles.iter().map(|(_, token)| token);
        roles.chain(&self.extra).map(|token| token.content.as_str())
    }
}

/// The fields as they are read, before they are put in order.
#[derive(Default)]
struct Fields {
    standard: Roles,
    /// Roles of the model's own that lie among other fields as objects, or in the map.
    loose: Roles,
    /// The others of its own; these win.
    own: Roles,
    /// `None` where an older list may count.
    extra: Option<Vec<AddedToken>>,
    additional: Vec<AddedToken>,
}

impl Fields {
    fn read_config(&mut self, json: &Object) -> Result<()> {
        for (name, value) in json.fields() {
            let is_token = value.get("__type").is_some_and(|t| t == "AddedToken");
            if STANDARD.contains(&name.as_str()) {
                self.standard.set(name, standard(json, name, value)?);
            } else if name.ends_with("_token") && value.is_string() {
                self.own.set(name, Some(token(json, name, value)?));
            } else if name.ends_with("_token") && is_token {
                self.loose.set(name, Some(token(json, name, value)?));
            }
        }
        let additional = match json.get(ADDITIONAL) {
            Some(value) => Some(list(json, ADDITIONAL, value)?),
            None => None,
        };
        match json.asked(EXTRA) {
            Some(Value::Object(roles)) => {
                self.own.set_all(json, EXTRA, roles)?;
                self.additional = additional.unwrap_or_default();
            }
            Some(value) => self.extra = Some(list(json, EXTRA, value)?),
            None => self.extra = additional.or(json.has(EXTRA).then(Vec::new)),
        }
        // transformers prefers values that it finds elsewhere to those that it has saved.
        if self.own.all.is_empty() {
            self.read_saved(json)?;
        }
        Ok(())
    }

    fn read_saved(&mut self, json: &Object) -> Result<()> {
        match json.get(MODEL_SPECIFIC) {
            Some(Value::Object(roles)) => self.own.set_all(json, MODEL_SPECIFIC, roles),
            Some(other) => Err(json.error(MODEL_SPECIFIC, "an object of tokens", &kind(other))),
            None => Ok(()),
        }
    }

    fn read_map(&mut self, json: &Object) -> Result<()> {
        for (name, value) in json.fields() {
            match (name.as_str(), value) {
                (ADDITIONAL, Value::Null) => self.additional = Vec::new(),
                (ADDITIONAL, _) => self.additional = list(json, name, value)?,
                (EXTRA, Value::Object(roles)) => {
                    self.own.set_all(json, name, roles)?;
                    self.extra = None;
                }
                (EXTRA, Value::Null) => self.extra = Some(Vec::new()),
                (EXTRA, _) => {
                    let all = self.extra.get_or_insert_default();
                    let mut there: HashSet<AddedToken> = all.iter().cloned().collect();
                    for token in list(json, name, value)? {
                        if there.insert(token.clone()) {
                            all.push(token);
                        }
                    }
                }
                (role, _) if STANDARD.contains(&role) => {
                    self.standard.set(role, standard(json, name, value)?);
                }
                (role, Value::String(_) | Value::Object(_)) if role.ends_with("_token") => {
                    self.loose.set(role, Some(token(json, name, value)?));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn names(self) -> Names {
        let mut all = Roles::default();
        for role in STANDARD {
            all.set(role, None);
        }
        for (role, token) in [self.standard.all, self.loose.all, self.own.all].concat() {
            all.set(&role, token);
        }
        let roles = all.all.into_iter();
        Names {
            roles: roles
                .filter_map(|(role, token)| Some((role, token?)))
                .collect(),
            extra: self.extra.unwrap_or(self.additional),
        }
    }
}

fn standard(json: &Object, role: &str, value: &Value) -> Result<Option<AddedToken>> {
    let expected = "a string or an object with `content`";
    match value {
        Value::Null => Ok(None),
        Value::Object(fields) if !fields.get("content").is_some_and(Value::is_string) => {
            Err(json.error(role, expected, "an object without"))
        }
        Value::String(_) | Value::Object(_) => token(json, role, value).map(Some),
        other => Err(json.error(role, expected, &kind(other))),
    }
}

fn list(json: &Object, field: &str, value: &Value) -> Result<Vec<AddedToken>> {
    match value {
        Value::Array(all) => all.iter().map(|value| token(json, field, value)).collect(),
        other => Err(json.error(field, "a list of tokens", &kind(other))),
    }
}

/// A special token: its text, or an object that says more.
fn token(json: &Object, field: &str, value: &Value) -> Result<AddedToken> {
    match value {
        Value::String(content) => {
            check_size(json, field, content)?;
            Ok(AddedToken::from(content.clone(), true))
        }
        Value::Object(fields) => {
            let token = of_object(json, field, fields)?;
            Ok(token.special(true))
        }
        other => Err(json.error(field, "a token", &kind(other))),
    }
}

fn check_size(json: &Object, field: &str, content: &str) -> Result<()> {
    let refuse = |(expected, found): (String, String)| json.error(field, &expected, &found);
    Tokens::default().add(content).map_err(refuse)
}

fn of_object(json: &Object, field: &str, fields: &Map<String, Value>) -> Result<AddedToken> {
    let flag = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(json.error(field, &format!("`{name}` true or false"), &kind(other))),
    };
    let Some(Value::String(content)) = fields.get("content") else {
        return Err(json.error(field, "tokens with a `content`", "one without"));
    };
    check_size(json, field, content)?;
    let is_special = flag("special")?.unwrap_or(false);
    let token = AddedToken::from(content.clone(), is_special)
        .single_word(flag("single_word")?.unwrap_or(false))
        .lstrip(flag("lstrip")?.unwrap_or(false))
        .rstrip(flag("rstrip")?.unwrap_or(false));
    Ok(match flag("normalized")? {
        Some(normalized) => token.normalized(normalized),
        None => token,
    })
}
