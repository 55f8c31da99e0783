//! Tokens that transformers reads beside `tokenizer.json`: those of `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json`.
//!
//! As in transformers 5, `added_tokens.json` counts only where `tokenizer_config.json` has no
//! `added_tokens_decoder`. Tokens that `tokenizer.json` lacks are added to the end of the
//! vocabulary in the order of their ids; special tokens that are only named are added after them.
//! `add_bos_token`, `add_eos_token` and `do_lower_case` change nothing: transformers doesn't look
//! at them beside a `tokenizer.json`.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use tokenizers::{AddedToken, Model, ModelWrapper};

use super::Inner;
use super::class::Class;
use super::limits::Tokens;
use super::naming::{Files, Names, STANDARD};
use crate::error::{Error, Result};
use crate::model::Text;
use crate::model::json::{Object, parse_object};

const FORCED_CLEANUP: &str =
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";

/// Tokens below which transformers leaves the regex alone.
const FIXED_FROM: usize = 100_000;

/// Tokens with other ids that are told of one by one.
const MOST_TOLD: usize = 3;

/// The tokens and settings in the files beside `tokenizer.json`.
pub struct Beside {
    /// The file that `by_id` is from, for warnings.
    file: String,
    by_id: BTreeMap<u32, AddedToken>,
    /// Whether `by_id` has all added tokens, in the place of those of `tokenizer.json`.
    is_decoder: bool,
    names: Names,
    class: Class,
    splits_special: bool,
    fixes_regex: bool,
    /// `None`: not asked for; else, whether it is forced upon a BPE.
    cleanup: Option<bool>,
}

impl Beside {
    /// Reads the tokens of `files` and of `added_tokens.json`, which `find` finds.
    ///
    /// # Errors [`Error::File`](crate::Error::File) and [`Error::Field`](crate::Error::Field) where
    /// one is malformed.
    pub fn read<'t>(files: &Files, find: &impl Fn(&str) -> Option<&'t Text>) -> Result<Self> {
        let json = files.config.json();
        let names = Names::read(files)?;
        let decoder = files.decoder()?;
        let is_decoder = decoder.is_some();
        let (file, by_id) = match (decoder, find("added_tokens.json")) {
            (Some(decoder), _) => (files.config.name.clone(), decoder.into_iter().collect()),
            (None, Some(text)) => (text.file.clone(), legacy(text, &names)?),
            (None, None) => (files.config.name.clone(), BTreeMap::new()),
        };
        let mut all = Tokens::default();
        for content in by_id
            .values()
            .map(|t| t.content.as_str())
            .chain(names.contents())
        {
            let refuse = |(expected, found)| Error::file(&file, expected, found);
            all.add(content).map_err(refuse)?;
        }
        Ok(Self {
            file,
            by_id,
            is_decoder,
            names,
            class: files.class,
            splits_special: json.flag("split_special_tokens", false)?,
            fixes_regex: json.flag("fix_mistral_regex", false)? && may_fix_regex(find),
            cleanup: match json.flag("clean_up_tokenization_spaces", false)? {
                true => Some(json.flag(FORCED_CLEANUP, false)?),
                false => None,
            },
        })
    }

    /// Adds the tokens that `tokenizer` lacks; `saved` are those that `tokenizer.json` adds.
    /// Returns the deviations from the files, each in one line.
    pub fn add_to(&self, tokenizer: &mut Inner, saved: &BTreeMap<u32, AddedToken>) -> Vec<String> {
        let mut by_id = self.by_id.clone();
        if !self.is_decoder {
            by_id.extend(saved.clone());
        }
        let known = tokenizer.get_added_tokens_decoder();
        let known: HashSet<&AddedToken> = known.values().collect();
        let mut tokens: Vec<AddedToken> = by_id.values().cloned().collect();
        tokens.retain(|token| !known.contains(token));
        let mut added: HashSet<AddedToken> = tokens.iter().cloned().collect();
        let there: HashSet<String> = (known.into_iter().chain(&tokens))
            .map(|token| token.content.clone())
            .collect();
        let roles = self.names.roles.iter().map(|(role, token)| {
            // A token of a standard role is as it was added; the settings where it is named do not
            // count.
            match STANDARD.contains(&role.as_str()) {
                true => (by_id.values().find(|t| t.content == token.content)).unwrap_or(token),
                false => token,
            }
        });
        for token in roles.chain(&self.names.extra) {
            if !there.contains(&token.content) && added.insert(token.clone()) {
                tokens.push(token.clone());
            }
        }
        let roles = self.names.roles.iter();
        let roles: HashSet<&str> = roles.map(|(_, token)| token.content.as_str()).collect();
        for token in &mut tokens {
            token.special |= roles.contains(token.content.as_str());
        }
        if !tokens.is_empty() {
            tokenizer.add_tokens(&tokens);
        }
        if self.class == Class::Qwen2 {
            let contents = self.names.contents();
            let plain: Vec<_> = contents.map(|c| AddedToken::from(c, true)).collect();
            tokenizer.add_tokens(&plain);
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
        let tokens = self.by_id.iter().map(|(&id, t)| (id, t.content.as_str()));
        let mut warnings = other_ids(&self.file, tokens, tokenizer);
        if self.fixes_regex && tokenizer.get_vocab_size(true) > FIXED_FROM {
            warnings.push(format!(
                "`{}`: `fix_mistral_regex` is not implemented: text is split as tokenizer.json says",
                self.file
            ));
        }
        warnings
    }
}

/// Tokens that are used with other ids than `file` says, each in one line up to a few.
pub fn other_ids<'t>(
    file: &str,
    tokens: impl Iterator<Item = (u32, &'t str)>,
    tokenizer: &Inner,
) -> Vec<String> {
    let others = tokens.filter_map(|(id, content)| {
        let found = tokenizer.token_to_id(content)?;
        (found != id && !content.is_empty()).then_some((id, content, found))
    });
    let others: Vec<_> = others.collect();
    let line = |&(id, content, found): &(u32, &str, u32)| {
        format!(
            "`{file}`: token `{}` has id {id} there and {found} by tokenizer.json: {found} is used, \
             as by transformers",
            content.escape_debug()
        )
    };
    let mut lines: Vec<String> = others.iter().take(MOST_TOLD).map(line).collect();
    if others.len() > MOST_TOLD {
        let n = others.len() - MOST_TOLD;
        lines.push(format!("`{file}`: {n} more tokens have other ids there"));
    }
    lines
}

/// Refuses an added token that has the id of another token: the decoded text would depend on which
/// of them is looked at first.
///
/// # Errors
/// [`Error::Field`].
pub fn check_clashes(file: &str, tokenizer: &Inner) -> Result<()> {
    let added = tokenizer.get_added_tokens_decoder();
    let clash = added.iter().find_map(|(&id, token)| {
        let other = tokenizer.get_model().id_to_token(id)?;
        (other != token.content).then_some((id, token, other))
    });
    match clash {
        None => Ok(()),
        Some((id, token, other)) => Err(Error::Field {
            file: file.to_string(),
            field: "added_tokens".to_string(),
            expected: "an id of its own for each token".to_string(),
            found: format!(
                "`{}` and `{}` with id {id}",
                token.content.escape_debug(),
                other.escape_debug()
            ),
        }),
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

/// The tokens of an `added_tokens.json`.
fn legacy(text: &Text, names: &Names) -> Result<BTreeMap<u32, AddedToken>> {
    let fields = parse_object(&text.file, &text.text)?;
    let json = Object::new(&text.file, &fields);
    let special: HashSet<&str> = names.contents().collect();
    let tokens = fields.iter().map(|(content, id)| {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = number.ok_or_else(|| json.error(content, "a token id", "something else"))?;
        let is_special = special.contains(content.as_str());
        Ok((id, AddedToken::from(content.clone(), is_special)))
    });
    tokens.collect()
}
