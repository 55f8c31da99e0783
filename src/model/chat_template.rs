//! The checkpoint's chat template: messages to the text that the model was trained on.
//!
//! Templates are Jinja, with the additions that transformers makes to it
//! (`apply_chat_template`): Python's methods of strings, `raise_exception`, `strftime_now`, a
//! `tojson` that does not escape for HTML.

mod to_json;

use std::collections::BTreeMap;

use jiff::ZonedDateTime;
use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error as Failure, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;

use to_json::to_json;

use super::Text;
use super::json::{Object, parse_object};
use crate::error::{Error, Result, first_line};

/// Which of several templates is meant for chats.
const DEFAULT: &str = "default";

/// Steps that a template may take: far more than any conversation needs, and a second or so of a
/// template that would never end.
const FUEL: u64 = 10_000_000;

/// Tokens that templates know by these names, where `tokenizer_config.json` has them.
const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// A template that has been read without an error.
pub struct ChatTemplate {
    /// How errors name the file.
    file: String,
    source: String,
    special_tokens: BTreeMap<&'static str, String>,
    /// What `strftime_now` takes for the time: the clock's, where nothing is set.
    now: Option<DateTime>,
}

/// What a template sees.
#[derive(Serialize)]
struct Context<'a, M> {
    messages: &'a [M],
    tools: Option<()>,
    documents: Option<()>,
    add_generation_prompt: bool,
    #[serde(flatten)]
    special_tokens: &'a BTreeMap<&'static str, String>,
}

impl ChatTemplate {
    /// The template of a checkpoint, of its `tokenizer_config.json` and `chat_template.jinja`:
    /// the latter wins, the former also says what the special tokens are.
    pub fn of_checkpoint(config: Option<&Text>, template: Option<&Text>) -> Result<Option<Self>> {
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
        Self::parse(file, source, special_tokens(&json)?).map(Some)
    }

    /// Reads `source`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::File`] where it is no template.
    pub fn parse(
        file: &str,
        source: String,
        special_tokens: BTreeMap<&'static str, String>,
    ) -> Result<Self> {
        let template = Self {
            file: file.to_string(),
            source: without_marks(&source),
            special_tokens,
            now: None,
        };
        match template.environment().template_from_str(&template.source) {
            Ok(_) => Ok(template),
            Err(e) => Err(Error::file(file, "a chat template", first_line(e))),
        }
    }

    /// Takes this for the time, whatever the clock says.
    pub fn at(self, now: DateTime) -> Self {
        Self {
            now: Some(now),
            ..self
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
        let context = Context {
            messages,
            tools: None,
            documents: None,
            add_generation_prompt,
            special_tokens: &self.special_tokens,
        };
        let environment = self.environment();
        let rendered = environment
            .template_from_str(&self.source)
            .and_then(|template| template.render(Serde(&context)));
        rendered.map_err(|e| Error::ChatTemplate {
            file: self.file.clone(),
            message: first_line(e),
        })
    }

    /// Jinja as transformers sets it up.
    fn environment(&self) -> Environment<'_> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        if let Ok(syntax) = syntax.build() {
            environment.set_syntax(syntax);
        }
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
            Err(Failure::new(ErrorKind::InvalidOperation, message))
        });
        let now = self.now;
        environment.add_function("strftime_now", move |format: String| {
            let now = now.unwrap_or_else(|| ZonedDateTime::now().datetime());
            jiff::fmt::strtime::format(format, now)
                .map_err(|e| Failure::new(ErrorKind::InvalidOperation, e.to_string()))
        });
        environment
    }
}

/// `source` without the marks that some templates put round what the assistant says. Transformers
/// looks at `{% generation %}` in training alone; a block that is always there stands for it.
fn without_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, opened)) = rest.split_once("{%") {
        let Some((tag, after)) = opened.split_once("%}") else {
            break;
        };
        let name = tag.trim_matches(|c: char| c.is_whitespace() || "-+".contains(c));
        let tag = match name {
            "generation" => tag.replace(name, "if true"),
            "endgeneration" => tag.replace(name, "endif"),
            _ => tag.to_string(),
        };
        out.extend([before, "{%", &tag, "%}"]);
        rest = after;
    }
    out + rest
}

/// The template for chats in a `tokenizer_config.json`, which may have several, each with a name.
fn in_config(json: &Object) -> Result<Option<String>> {
    const FIELD: &str = "chat_template";
    let templates = match json.get(FIELD) {
        Some(serde_json::Value::Array(templates)) => templates,
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

/// The special tokens a `tokenizer_config.json` names, each a string or an object with one.
fn special_tokens(json: &Object) -> Result<BTreeMap<&'static str, String>> {
    let mut tokens = BTreeMap::new();
    for name in SPECIAL_TOKENS {
        let token = match json.get(name) {
            Some(serde_json::Value::Object(token)) => token["content"].as_str(),
            _ => json.text(name)?,
        };
        tokens.extend(token.map(|text| (name, text.to_string())));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, messages: &[serde_json::Value]) -> Result<String> {
        let now = DateTime::constant(2025, 3, 9, 12, 0, 0, 0);
        let tokens = BTreeMap::from([("bos_token", "<s>".to_string())]);
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
    fn marks_round_an_answer_are_left_out() {
        let source = "a {%- generation %} b {% endgeneration -%} c {% if true %}d{% endif %}{% ";
        let plain = "a {%- if true %} b {% endif -%} c {% if true %}d{% endif %}{% ";
        assert_eq!(without_marks(source), plain);
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
        let of = |config: serde_json::Value, file: Option<&str>| {
            let text = |name, text: String| Text {
                name,
                file: name.to_string(),
                text,
            };
            let config = text("tokenizer_config.json", config.to_string());
            let file = file.map(|t| text("chat_template.jinja", t.to_string()));
            ChatTemplate::of_checkpoint(Some(&config), file.as_ref())
        };
        let named = |name: &str| json!({"name": name, "template": name});
        let several = json!({"chat_template": [named("tool_use"), named("default")],
                             "eos_token": {"content": "</s>", "lstrip": false}});
        let found = of(several.clone(), None).unwrap().unwrap();
        assert_eq!(found.source, "default");
        assert_eq!(found.special_tokens["eos_token"], "</s>");
        let found = of(several, Some("beside")).unwrap().unwrap();
        assert_eq!(found.source, "beside");
        assert_eq!(found.special_tokens["eos_token"], "</s>");
        assert!(of(json!({}), None).unwrap().is_none());
        let error = of(json!({"chat_template": [named("rag")]}), None)
            .err()
            .unwrap();
        assert!(error.to_string().contains("`rag`"), "{error}");
    }
}
