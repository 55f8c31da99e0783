//! The checkpoint's chat template: messages to the text that the model was trained on.
//!
//! Templates are Jinja, set up as transformers sets it up (`apply_chat_template`). The engine is
//! minijinja; features that it lacks or has otherwise are in the modules here: Python's methods and
//! its ways to write values, Jinja2's filters and tests, and the additions of transformers.

mod arguments;
mod characters;
mod checks;
mod dates;
mod environment;
mod filters;
mod keeping;
mod limits;
mod macros;
mod methods;
mod nesting;
mod objects;
mod python;
mod source;
mod special_tokens;
mod string_making;
mod string_parts;
mod strings;
mod text_filters;
mod to_json;
mod tokens;
mod variables;
mod worker;
mod wrapping;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::civil::DateTime;
use minijinja::Error as Failure;
use minijinja::value::Serde;
use serde::Serialize;
use serde_json::{Map, Value};

use environment::environment;
use limits::{MAX_BYTES, MAX_DEPTH, count, fail, steps_for, time_for, within_limits};
use special_tokens::special_tokens;
use variables::has_name;
pub use variables::{EXPECTED, Variables};
use worker::on_own_stack;

use super::Text;
use super::json::{Object, parse_object};
use crate::error::{Error, Result, first_line};

/// Which of several templates is meant for chats.
const DEFAULT: &str = "default";

/// Characters of an error of a template.
const MAX_LINE: usize = 1000;

/// The names a message may have for the assistant's thoughts, the first one that templates look
/// for.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A template that has been read without an error.
#[derive(Clone)]
pub struct ChatTemplate {
    /// How errors name the file.
    file: String,
    /// The source as the engine takes it.
    source: Arc<str>,
    special_tokens: Arc<BTreeMap<String, String>>,
    variables: Arc<Variables>,
    /// The time for `strftime_now`: the clock's, where nothing is set.
    now: Option<DateTime>,
}

/// The variables of a template.
#[derive(Serialize)]
struct Context<'a> {
    messages: Vec<Value>,
    tools: Option<()>,
    documents: Option<()>,
    add_generation_prompt: bool,
    #[serde(flatten)]
    special_tokens: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    variables: &'a Map<String, Value>,
}

impl ChatTemplate {
    /// The template of a checkpoint with these `texts`, of its `tokenizer_config.json` and
    /// `chat_template.jinja`: the latter wins. The special tokens are read from the files about
    /// tokens.
    pub fn of_checkpoint(texts: &[Text]) -> Result<Option<Self>> {
        let find = |name: &str| texts.iter().find(|t| t.name == name);
        let config = find("tokenizer_config.json");
        let template = find("chat_template.jinja");
        let fields = match config {
            Some(text) => parse_object(&text.file, &text.text)?,
            None => serde_json::Map::new(),
        };
        let config_file = config.map_or("tokenizer_config.json", |text| &text.file);
        let json = Object::new(config_file, &fields);
        let (file, source) = match template {
            Some(text) => (text.file.as_str(), text.text.clone()),
            None => match in_config(&json)? {
                Some(source) => (config_file, source),
                None => return Ok(None),
            },
        };
        let special_tokens = special_tokens(texts)?;
        Self::parse(file, source, special_tokens).map(Some)
    }

    /// Reads `source`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::File`] where it is no template.
    pub fn parse(
        file: &str,
        source: String,
        special_tokens: BTreeMap<String, String>,
    ) -> Result<Self> {
        let refused = |what| {
            let found = format!("{what}, which is not supported");
            Error::file(file, "a chat template", found)
        };
        let source: Arc<str> = source::prepare(&source).map_err(refused)?.into();
        let parsed = on_own_stack(time_for(0), {
            let source = source.clone();
            move || {
                environment(None, steps_for(0))
                    .template_from_str(&source)
                    .map(|_| ())
            }
        });
        match parsed {
            Ok(()) => Ok(Self {
                file: file.to_string(),
                source,
                special_tokens: Arc::new(special_tokens),
                variables: Arc::default(),
                now: None,
            }),
            Err(e) => Err(Error::file(file, "a chat template", line(e))),
        }
    }

    /// Sets the time for `strftime_now`, in the place of the clock's.
    pub fn at(self, now: DateTime) -> Self {
        Self {
            now: Some(now),
            ..self
        }
    }

    /// Sets variables besides those of every template, over those that are set already.
    ///
    /// # Errors
    /// [`Error::Option`] where [`Self::refused`] names one of them.
    pub fn with_variables(&self, variables: &Variables) -> Result<Self> {
        if let Some((name, found)) = self.refused(variables) {
            return Err(Error::Option {
                option: "--chat-template-kwargs",
                expected: EXPECTED.to_string(),
                found: format!("`{name}`, {found}"),
            });
        }
        Ok(Self {
            variables: Arc::new(variables.over(&self.variables)),
            ..self.clone()
        })
    }

    /// The first of `variables` that cannot be set for this template, and what it is: a special
    /// token, or a name that the template does not have.
    pub fn refused<'v>(&self, variables: &'v Variables) -> Option<(&'v str, &'static str)> {
        variables.iter().find_map(|(name, _)| {
            let found = match self.special_tokens.contains_key(name) {
                true => "one that the tokenizer sets",
                false if has_name(&self.source, name) => return None,
                false => "one that it does not read",
            };
            Some((name.as_str(), found))
        })
    }

    /// An error about messages that the template does not take.
    pub(super) fn error(&self, message: String) -> Error {
        Error::ChatTemplate {
            file: self.file.clone(),
            message,
        }
    }

    /// Whether the template speaks of `word`, such as a role that it may know.
    pub fn mentions(&self, word: &str) -> bool {
        self.source.contains(word)
    }

    /// The text of `messages`, special tokens written out. Each message is an object, as a rule
    /// with `role` and `content`. With `add_generation_prompt` the text ends where the model's
    /// answer begins.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use ztt_wgpu::model::chat_template::ChatTemplate;
    ///
    /// let source = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }};{% endfor %}";
    /// let template = ChatTemplate::parse("mine.jinja", source.to_string(), BTreeMap::new())?;
    /// let message = BTreeMap::from([("role", "user"), ("content", "Hi\n")]);
    /// assert_eq!(template.render(&[message], false)?, "user: Hi;");
    /// # Ok::<(), ztt_wgpu::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] where the template does not take these messages.
    pub fn render<M: Serialize>(
        &self,
        messages: &[M],
        add_generation_prompt: bool,
    ) -> Result<String> {
        let failed = |message: String| self.error(message);
        let messages = messages
            .iter()
            .map(as_templates_see)
            .collect::<Result<Vec<_>, _>>();
        let messages = messages.map_err(|e| failed(first_line(e)))?;
        let Some(values) = count(&messages, MAX_DEPTH) else {
            let message = format!("messages with more than {MAX_DEPTH} values inside each other");
            return Err(failed(message));
        };
        let values = values.saturating_add(self.variables.n_values());
        let (source, special_tokens) = (self.source.clone(), self.special_tokens.clone());
        let variables = self.variables.clone();
        let now = self.now;
        let rendered = on_own_stack(time_for(values), move || {
            let context = Context {
                messages,
                tools: None,
                documents: None,
                add_generation_prompt,
                special_tokens: &special_tokens,
                variables: variables.fields(),
            };
            within_limits(values, || {
                let environment = environment(now, steps_for(values));
                let template = environment.template_from_str(&source)?;
                let mut text = Limited(Vec::new());
                template.render_captured_to(Serde(&context), &mut text)?;
                Ok(String::from_utf8_lossy(&text.0).into_owned())
            })
        });
        rendered.map_err(|e| failed(line(e)))
    }
}

/// An error of a template as a line that can be read: templates may raise errors with any text.
fn line(e: Failure) -> String {
    let line = first_line(e);
    match line.char_indices().nth(MAX_LINE) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}

/// The text that a template has written, of at most `MAX_BYTES`.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            let message = format!("it writes more than {} MiB", MAX_BYTES >> 20);
            fail(&message);
            return Err(io::Error::other(message));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message as transformers gives it to templates: fields that are null are not there, and the
/// assistant's thoughts have the names that templates look for.
fn as_templates_see<M: Serialize>(message: &M) -> serde_json::Result<Value> {
    let mut message = serde_json::to_value(message)?;
    let Value::Object(fields) = &mut message else {
        return Ok(message);
    };
    fields.retain(|_, value| !value.is_null());
    if let Some(reasoning) = REASONING.iter().find_map(|name| fields.get(*name)).cloned() {
        let mut named = serde_json::Map::from_iter([("thinking".to_string(), reasoning.clone())]);
        named.append(fields);
        named.insert(REASONING[0].to_string(), reasoning);
        *fields = named;
    }
    Ok(message)
}

/// The template for chats in a `tokenizer_config.json`, which may have several, each with a name.
fn in_config(json: &Object) -> Result<Option<String>> {
    const FIELD: &str = "chat_template";
    let templates = match json.get(FIELD) {
        Some(Value::Array(templates)) => templates,
        Some(Value::Object(templates)) => {
            return match templates.get(DEFAULT).and_then(Value::as_str) {
                Some(source) => Ok(Some(source.to_string())),
                None => {
                    let expected = format!("a template called `{DEFAULT}`");
                    let names: Vec<_> = templates.keys().map(|name| format!("`{name}`")).collect();
                    Err(json.error(FIELD, &expected, &names.join(", ")))
                }
            };
        }
        Some(_) => return Ok(json.text(FIELD)?.map(str::to_string)),
        None => return Ok(None),
    };
    let chat = templates.iter().find(|t| t["name"] == DEFAULT);
    match chat.and_then(|t| t["template"].as_str()) {
        Some(source) => Ok(Some(source.to_string())),
        None => {
            let names: Vec<_> = templates
                .iter()
                .map(|t| format!("`{}`", t["name"].as_str().unwrap_or_default()))
                .collect();
            let expected = format!("a template called `{DEFAULT}`");
            Err(json.error(FIELD, &expected, &names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, messages: &[Value]) -> Result<String> {
        let now = DateTime::constant(2025, 3, 9, 12, 0, 0, 0);
        let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
        let template = ChatTemplate::parse("t.jinja", source.to_string(), tokens)?;
        template.at(now).render(messages, true)
    }

    #[test]
    fn blocks_take_their_line_with_them() {
        let source = "a\n  {% if true %}\nb\n  {% endif %}\nc {% if true %} d{% endif %}\n\ne\n";
        assert_eq!(render(source, &[]).unwrap(), "a\nb\nc  d\ne");
    }

    #[test]
    fn templates_know_tokens_and_the_date() {
        let source =
            "{{ bos_token + strftime_now('%d %b %Y') }}{{ eos_token }}|{{ tools is none }}";
        assert_eq!(render(source, &[]).unwrap(), "<s>09 Mar 2025|True");
    }

    #[test]
    fn variables_are_set_and_their_values_count() {
        let source = "{{ think is defined }} {{ think }} {{ tool_token }}{{ n is defined }}";
        let tokens = BTreeMap::from([("tool_token".to_string(), "<t>".to_string())]);
        let template = ChatTemplate::parse("t.jinja", source.to_string(), tokens).unwrap();
        let with = |text: &str| {
            let variables = Variables::parse(text).unwrap();
            template
                .with_variables(&variables)
                .map_err(|e| e.to_string())
        };
        let rendered = |template: &ChatTemplate| template.render(&[] as &[Value], true).unwrap();
        let first = with(r#"{"think": false, "n": [1, 2]}"#).unwrap();
        assert_eq!(rendered(&first), "True False <t>True");
        let second = Variables::parse(r#"{"think": null}"#).unwrap();
        let second = first.with_variables(&second).unwrap();
        assert_eq!(rendered(&second), "True None <t>True");
        assert_eq!(rendered(&template), "False  <t>False");
        for (text, words) in [
            (r#"{"thinks": 1}"#, "`thinks`, one that it does not read"),
            (
                r#"{"tool_token": 1}"#,
                "`tool_token`, one that the tokenizer sets",
            ),
        ] {
            let error = with(text).err().unwrap();
            assert!(error.contains("--chat-template-kwargs: "), "{error}");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn messages_are_as_transformers_gives_them() {
        let message = json!({"role": "assistant", "content": null, "reasoning": "so"});
        let found = render("{{ messages[0] }}", &[message]).unwrap();
        let expected = "{'thinking': 'so', 'role': 'assistant', 'reasoning': 'so', ";
        assert_eq!(found, expected.to_string() + "'reasoning_content': 'so'}");
    }

    #[test]
    fn what_a_template_raises_is_the_error() {
        let source = "{{ raise_exception('Roles must alternate!') }}";
        let error = render(source, &[]).unwrap_err().to_string();
        assert!(error.contains("`t.jinja`: chat template: "), "{error}");
        assert!(error.contains("Roles must alternate!"), "{error}");
        let error = render("{% if %}", &[]).unwrap_err().to_string();
        assert!(
            error.contains("`t.jinja`: expected a chat template"),
            "{error}"
        );
    }

    #[test]
    fn the_default_of_several_templates_is_taken() {
        let of = |config: Value, file: Option<&str>| {
            let text = |name, text: String| Text {
                name,
                file: name.to_string(),
                text,
            };
            let mut texts = vec![text("tokenizer_config.json", config.to_string())];
            texts.extend(file.map(|t| text("chat_template.jinja", t.to_string())));
            ChatTemplate::of_checkpoint(&texts)
        };
        let named = |name: &str| json!({"name": name, "template": name});
        let several = json!({"chat_template": [named("tool_use"), named("default")],
                             "eos_token": {"content": "</s>", "lstrip": false}});
        let found = of(several.clone(), None).unwrap().unwrap();
        assert_eq!(&*found.source, "default");
        assert_eq!(found.special_tokens["eos_token"], "</s>");
        let found = of(several, Some("beside")).unwrap().unwrap();
        assert_eq!(&*found.source, "beside");
        assert_eq!(found.special_tokens["eos_token"], "</s>");
        assert!(of(json!({}), None).unwrap().is_none());
        let by_name = json!({"chat_template": {"rag": "x", "default": "by name"}});
        assert_eq!(
            of(by_name, None).unwrap().unwrap().source.as_ref(),
            "by name"
        );
        let error = of(json!({"chat_template": [named("rag")]}), None)
            .err()
            .unwrap();
        assert!(error.to_string().contains("`rag`"), "{error}");
    }
}
