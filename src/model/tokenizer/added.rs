//! What transformers reads beside `tokenizer.json`: tokens of `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json`.
//!
//! As in transformers 5, `special_tokens_map.json` and `added_tokens.json` count only where
//! `tokenizer_config.json` has no `added_tokens_decoder`, and then come before it. Tokens that
//! `tokenizer.json` lacks are added to the end of the vocabulary in the order of their ids; special
//! tokens that are only named are added after them. `add_bos_token`, `add_eos_token`,
//! `add_prefix_space`, `do_lower_case` and `legacy` change nothing: transformers doesn't look at
//! them beside a `tokenizer.json`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, ModelWrapper, Tokenizer as Inner};

use crate::error::Result;
use crate::model::Text;
use crate::model::json::{Object, kind, parse_object};

const DECODER: &str = "added_tokens_decoder";
const FORCED_CLEANUP: &str =
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";
const EXTRA: &str = "extra_special_tokens";
/// Its name before version 5.
const ADDITIONAL: &str = "additional_special_tokens";

/// Tokens below which transformers leaves the regex alone.
const FIXED_FROM: usize = 100_000;

/// What the files beside `tokenizer.json` say of tokens.
pub struct Beside {
    /// The file that `by_id` is from, for warnings.
    file: String,
    by_id: BTreeMap<u32, AddedToken>,
    /// Tokens that a role such as `bos_token` names, then the extra ones. A token of which only
    /// the text is given takes the rest from `tokenizer.json` or `by_id`.
    named: Vec<AddedToken>,
    splits_special: bool,
    fixes_regex: bool,
    /// `None`: not asked for; else, whether it is forced upon a BPE.
    cleanup: Option<bool>,
}

impl Beside {
    /// Reads the files that `find` finds.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) and [`Error::Field`](crate::Error::Field) where one is not what it should be.
    pub fn read<'t>(find: &impl Fn(&str) -> Option<&'t Text>) -> Result<Self> {
        let read = |name: &str| match find(name) {
            Some(text) => Ok((text.file.clone(), parse_object(&text.file, &text.text)?)),
            None => Ok((name.to_string(), Map::new())),
        };
        let (config_file, config) = read("tokenizer_config.json")?;
        let (map_file, map) = read("special_tokens_map.json")?;
        let (added_file, added) = read("added_tokens.json")?;
        let json = Object::new(&config_file, &config);
        let mut beside = Self {
            file: config_file.clone(),
            by_id: BTreeMap::new(),
            named: Vec::new(),
            splits_special: json.flag("split_special_tokens", false)?,
            fixes_regex: json.flag("fix_mistral_regex", false)? && may_fix_regex(find),
            cleanup: match json.flag("clean_up_tokenization_spaces", false)? {
                true => Some(json.flag(FORCED_CLEANUP, false)?),
                false => None,
            },
        };
        let mut fields = Fields::default();
        fields.read(&config_file, &config)?;
        match json.get(DECODER) {
            Some(value) => beside.by_id = decoder(&json, value)?,
            None => {
                fields.read(&map_file, &map)?;
                beside.file = added_file.clone();
                let json = Object::new(&added_file, &added);
                for (content, id) in &added {
                    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    let id =
                        id.ok_or_else(|| json.error(content, "a token id", "something else"))?;
                    let is_special = fields.names(content);
                    let token = AddedToken::from(content.clone(), is_special);
                    beside.by_id.insert(id, token);
                }
            }
        }
        beside.named = fields.tokens();
        Ok(beside)
    }

    /// Adds what `tokenizer` lacks; what of it is not as the files say, each in one line.
    pub fn add_to(&self, tokenizer: &mut Inner) -> Vec<String> {
        let known = tokenizer.get_added_tokens_decoder();
        let is_known = |token: &AddedToken| known.values().any(|k| k.content == token.content);
        let is_named = |token: &AddedToken| self.named.iter().any(|n| n.content == token.content);
        let mut tokens: Vec<AddedToken> = self.by_id.values().cloned().collect();
        for token in &mut tokens {
            token.special |= is_named(token);
        }
        for token in &self.named {
            let is_there = tokens.iter().any(|t| t.content == token.content);
            if !is_there && !is_known(token) {
                tokens.push(token.clone());
            }
        }
        tokens.retain(|token| !token.content.is_empty() && !known.values().any(|k| k == token));
        if !tokens.is_empty() {
            tokenizer.add_tokens(&tokens);
        }
        tokenizer.set_encode_special_tokens(self.splits_special);
        self.warnings(tokenizer)
    }

    /// Whether texts are cleaned up: those of a BPE are not, but where that is forced.
    pub fn cleans_up(&self, tokenizer: &Inner) -> bool {
        let is_bpe = matches!(tokenizer.get_model(), ModelWrapper::BPE(_));
        self.cleanup.is_some_and(|is_forced| is_forced || !is_bpe)
    }

    fn warnings(&self, tokenizer: &Inner) -> Vec<String> {
        let mut warnings = Vec::new();
        for (id, token) in &self.by_id {
            let content = &token.content;
            match tokenizer.token_to_id(content) {
                Some(found) if found != *id && !content.is_empty() => warnings.push(format!(
                    "`{}`: token `{content}` has id {id} there and {found} by tokenizer.json: \
                     {found} is used, as by transformers",
                    self.file
                )),
                _ => {}
            }
        }
        if self.fixes_regex && tokenizer.get_vocab_size(true) > FIXED_FROM {
            warnings.push(format!(
                "`{}`: `fix_mistral_regex` is not implemented: text is split as tokenizer.json says",
                self.file
            ));
        }
        warnings
    }
}

/// Whether transformers looks at `fix_mistral_regex`, as far as config.json tells.
fn may_fix_regex<'t>(find: &impl Fn(&str) -> Option<&'t Text>) -> bool {
    let config = find("config.json").and_then(|t| parse_object(&t.file, &t.text).ok());
    let config = config.unwrap_or_default();
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let version = text("transformers_version").and_then(|v| v.split('.').next()?.parse().ok());
    let models = ["mistral", "mistral3", "voxtral", "ministral", "pixtral"];
    version.is_none_or(|major: u32| major < 5)
        && text("model_type").is_none_or(|model| models.contains(&model))
}

/// The fields of `tokenizer_config.json` and `special_tokens_map.json` that name special tokens;
/// a field read later takes the place of the same one read before.
#[derive(Default)]
struct Fields {
    roles: Vec<(String, AddedToken)>,
    extra: Vec<AddedToken>,
    additional: Vec<AddedToken>,
}

impl Fields {
    fn read(&mut self, file: &str, fields: &Map<String, Value>) -> Result<()> {
        let json = Object::new(file, fields);
        for (name, value) in fields {
            if value.is_null() {
                continue;
            }
            let is_role = name.ends_with("_token") && (value.is_string() || value.is_object());
            match name.as_str() {
                ADDITIONAL => self.additional = list(&json, name, value)?,
                EXTRA => match value {
                    // Roles of the model's own.
                    Value::Object(roles) => {
                        for (role, value) in roles {
                            self.set(role, token(&json, name, value)?);
                        }
                    }
                    _ => self.extra.extend(list(&json, name, value)?),
                },
                _ if is_role => self.set(name, token(&json, name, value)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn set(&mut self, role: &str, token: AddedToken) {
        self.roles.retain(|(name, _)| name != role);
        self.roles.push((role.to_string(), token));
    }

    fn names(&self, content: &str) -> bool {
        let extra = self.extra.iter().chain(&self.additional);
        let mut all = self.roles.iter().map(|(_, token)| token).chain(extra);
        all.any(|token| token.content == content)
    }

    fn tokens(self) -> Vec<AddedToken> {
        let extra = match self.extra.is_empty() {
            true => self.additional,
            false => self.extra,
        };
        let roles = self.roles.into_iter().map(|(_, token)| token);
        roles.chain(extra).collect()
    }
}

fn decoder(json: &Object, value: &Value) -> Result<BTreeMap<u32, AddedToken>> {
    let Value::Object(entries) = value else {
        return Err(json.error(DECODER, "an object", &kind(value)));
    };
    let entries = entries.iter().map(|(id, entry)| {
        let number = id.parse().map_err(|_| json.error(DECODER, "token ids", id));
        let token = match entry {
            Value::Object(fields) => of_object(json, DECODER, fields)?,
            other => return Err(json.error(DECODER, "tokens as objects", &kind(other))),
        };
        Ok((number?, token))
    });
    entries.collect()
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
        Value::String(content) => Ok(AddedToken::from(content.clone(), true)),
        Value::Object(fields) => {
            let token = of_object(json, field, fields)?;
            Ok(token.special(true))
        }
        other => Err(json.error(field, "a token", &kind(other))),
    }
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
