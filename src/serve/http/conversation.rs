//! From the messages of a chat to the tokens of a prompt.

use axum::http::StatusCode;

use super::error::ApiError;
use super::prepare::{Times, check_length};
use crate::error::{Error, Result as PlainResult};
use crate::model::chat_template::{ChatTemplate, EXPECTED, Variables};
use crate::serve::app::App;
use crate::serve::openai::{BODY, ChatRequest, RequestMessage, Role};

/// The tokens of a conversation, up to where the answer begins.
pub fn ids(
    app: &App,
    mut messages: Vec<RequestMessage>,
    variables: &Variables,
    times: Times,
) -> Result<Vec<u32>, ApiError> {
    let template = app.template.as_ref().map_err(|e| {
        let none = ApiError::new(StatusCode::BAD_REQUEST, e.to_string());
        none.with_param("messages")
    })?;
    let template = &with_variables(app, template, variables)?;
    if !template.mentions("developer") {
        let developers = messages.iter_mut().filter(|m| m.role == Role::Developer);
        developers.for_each(|message| message.role = Role::System);
    }
    times.check()?;
    let text = render(template, &mut messages)?;
    check_length(app, &text, "messages")?;
    times.check()?;
    check_tools(template, &messages, &text)?;
    times.check()?;
    let ids = match &app.plain {
        Some(plain) => plain.encode(template, &app.tokenizer, &messages, &text)?,
        None => app.tokenizer.encode_verbatim(&text)?,
    };
    if ids.is_empty() {
        return Err(ApiError::from(Error::EmptyPrompt).with_param("messages"));
    }
    Ok(ids)
}

/// The template with the variables of a request.
fn with_variables(
    app: &App,
    template: &ChatTemplate,
    variables: &Variables,
) -> PlainResult<ChatTemplate> {
    let refuse = |name: &str, expected: &str, found: &str| Error::Field {
        file: BODY.to_string(),
        field: format!("{}.{name}", ChatRequest::VARIABLES),
        expected: expected.to_string(),
        found: found.to_string(),
    };
    if let Some((name, found)) = template.refused(variables) {
        return Err(refuse(name, EXPECTED, found));
    }
    // The template writes them as its own text.
    for (name, value) in variables.iter() {
        let token = app.plain.as_ref().and_then(|plain| plain.token_in(value));
        if let Some(token) = token {
            let expected = "no special token with `--plain-content`";
            return Err(refuse(
                name,
                expected,
                &format!("`{token}`, or a part of it"),
            ));
        }
    }
    template.with_variables(variables)
}

/// The text that the template writes. It sees the content of a message in one string, or, where it
/// writes contents only so, as a list of parts, as templates of models that also see images do.
///
/// # Errors Those of the template; [`Error::Field`] where it does not write a content that a
/// request has as a list.
fn render(template: &ChatTemplate, messages: &mut [RequestMessage]) -> PlainResult<String> {
    let mut text = match template.render(messages, true) {
        Ok(text) => text,
        Err(in_strings) => {
            messages.iter_mut().for_each(|m| m.content.as_list = true);
            template.render(messages, true).map_err(|_| in_strings)?
        }
    };
    for role in Role::ALL {
        let speaks = |m: &RequestMessage| m.role == role && !m.content.is_empty();
        let of_list = messages
            .iter()
            .position(|m| speaks(m) && m.content.was_list);
        // One stands for all of its role: templates treat them alike.
        let Some(i) = of_list.or_else(|| messages.iter().position(speaks)) else {
            continue;
        };
        let changed = with_mark(template, messages, i);
        if changed.as_ref().is_some_and(|new| has_mark(&text, new)) {
            continue;
        }
        let mut others = messages.to_vec();
        for message in others.iter_mut().filter(|m| m.role == role) {
            message.content.as_list = !message.content.as_list;
        }
        let other = template.render(&others, true).ok();
        let other = other.and_then(|text| Some((with_mark(template, &others, i)?, text)));
        match other {
            Some((new, other)) if has_mark(&other, &new) => {
                messages.clone_from_slice(&others);
                text = other;
            }
            // It is written in a way of the template's own.
            _ if changed.as_ref().is_some_and(|new| *new != text) => {}
            Some((new, other)) if new != other => {}
            _ if messages[i].content.was_list => return Err(not_written(i)),
            _ => {}
        }
    }
    Ok(text)
}

/// A text or name that is put in the place of another to see whether the template writes it.
const MARK: &str = "another";

/// The text that the template writes with another content of message `i`; `None` where it fails.
fn with_mark(template: &ChatTemplate, messages: &[RequestMessage], i: usize) -> Option<String> {
    let mut changed = messages.to_vec();
    other_content(&mut changed[i]);
    template.render(&changed, true).ok()
}

/// Whether `new` has [`MARK`] more often than `text`, be it in capital letters.
fn has_mark(text: &str, new: &str) -> bool {
    let count = |text: &str| text.to_lowercase().matches(MARK).count();
    count(new) > count(text)
}

fn not_written(i: usize) -> Error {
    Error::Field {
        file: BODY.to_string(),
        field: format!("messages[{i}].content"),
        expected: "a text".to_string(),
        found: "a list of parts, which the chat template does not write".to_string(),
    }
}

/// Refuses calls of tools and results of tools where the template does not write them: the model
/// would answer as if there were none. `text` is the text that it writes.
fn check_tools(
    template: &ChatTemplate,
    messages: &[RequestMessage],
    text: &str,
) -> Result<(), ApiError> {
    let is_lost = |i: usize, change: fn(&mut RequestMessage)| {
        let mut changed = messages.to_vec();
        change(&mut changed[i]);
        let changed = template.render(&changed, true);
        changed.is_ok_and(|changed| changed == text)
    };
    let refuse = |i: usize, field: &str, what: &str| {
        let param = format!("messages[{i}].{field}");
        let message = format!(
            "`{param}`: expected none, found {what}, which the chat template does not write"
        );
        let error = ApiError::new(StatusCode::BAD_REQUEST, message);
        Err(error.with_param(param))
    };
    // One of each kind stands for all: templates treat them alike.
    let call = messages.iter().position(|m| !m.tool_calls.is_empty());
    if let Some(i) = call.filter(|&i| is_lost(i, other_call)) {
        return refuse(i, "tool_calls", "some");
    }
    let answer = messages.iter().position(|m| m.role == Role::Tool);
    if let Some(i) = answer.filter(|&i| is_lost(i, other_content)) {
        return refuse(i, "role", "`tool`");
    }
    Ok(())
}

fn other_call(message: &mut RequestMessage) {
    for call in &mut message.tool_calls {
        call["function"]["name"] = MARK.into();
    }
}

fn other_content(message: &mut RequestMessage) {
    message.content.push(MARK);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    fn rendered(source: &str, messages: Value) -> Result<String, String> {
        let source = source.to_string();
        let template = ChatTemplate::parse("t.jinja", source, BTreeMap::new()).unwrap();
        let messages = messages.as_array().unwrap().iter().enumerate();
        let messages =
            messages.map(|(i, m)| RequestMessage::read(&format!("messages[{i}]"), m).unwrap());
        let mut messages: Vec<_> = messages.collect();
        render(&template, &mut messages).map_err(|e| e.to_string())
    }

    const PARTS: &str = "{% for m in messages %}{{ m.role }}:{% for p in m.content %}\
                         {% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %};{% endfor %}";

    fn user(content: Value) -> Value {
        json!([{"role": "user", "content": content}])
    }

    #[test]
    fn templates_see_the_form_that_they_write() {
        let list = json!([{"type": "text", "text": "Who "}, {"type": "text", "text": "is it?"}]);
        let string = "{% for m in messages %}{{ m.role }}:{{ m.content | trim }};{% endfor %}";
        let other_part = PARTS.replace("{% endif %}", "{% else %}<image>{% endif %}");
        let refusing = format!(
            "{{% if messages[0].content is string %}}{{{{ raise_exception('a list!') }}}}\
             {{% endif %}}{PARTS}"
        );
        let upper = string.replace("trim", "upper");
        for template in [string, PARTS, &other_part, &refusing] {
            for content in [json!("Who is it?"), list.clone()] {
                let found = rendered(template, user(content));
                assert_eq!(found.as_deref(), Ok("user:Who is it?;"), "{template}");
            }
        }
        let found = rendered(&upper, user(list.clone()));
        assert_eq!(found.as_deref(), Ok("user:WHO IS IT?;"));
        // Where a template takes both it has one string.
        let both = "{{ 'string' if messages[0].content is string else 'list' }}\
                    {{ messages[0].content }}";
        let found = rendered(both, user(list.clone()));
        assert_eq!(found.as_deref(), Ok("stringWho is it?"));
        // Each role for itself.
        let mixed = PARTS.replace("{% for p", "{{ m.content if m.role == 'system' }}{% for p");
        let messages = json!([{"role": "system", "content": "Be brief."},
                              {"role": "user", "content": list},
                              {"role": "assistant", "content": null},
                              {"role": "user", "content": "Why?"}]);
        assert_eq!(
            rendered(&mixed, messages).as_deref(),
            Ok("system:Be brief.;user:Who is it?;assistant:;user:Why?;")
        );
    }

    #[test]
    fn parts_are_not_lost_silently() {
        let template = "{% for m in messages %}{{ m.role }};{% endfor %}";
        let list = json!([{"type": "text", "text": "Who is it?"}]);
        let error = rendered(template, user(list)).unwrap_err();
        assert!(error.contains("`messages[0].content`"), "{error}");
        let first = "{{ messages[0].role }}:{{ messages[0].content[0].text }};";
        let found = rendered(first, user(json!("Who is it?")));
        assert_eq!(found.as_deref(), Ok("user:Who is it?;"));
        let error = rendered(first, user(json!(["Who ", "is it?"]))).unwrap_err();
        assert!(error.contains("`messages[0].content`"), "{error}");
        // A template may leave out contents that are no list, such as one it puts in a system
        // message's place.
        let found = rendered(template, user(json!("Who is it?")));
        assert_eq!(found.as_deref(), Ok("user;"));
        let raising = "{{ raise_exception('Not now!') }}";
        let error = rendered(raising, user(json!("Who is it?"))).unwrap_err();
        assert!(error.contains("Not now!"), "{error}");
    }
}
