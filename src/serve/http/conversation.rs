//! From the messages of a chat to the tokens of a prompt.

use axum::http::StatusCode;

use super::error::ApiError;
use crate::error::Error;
use crate::model::chat_template::ChatTemplate;
use crate::serve::app::App;
use crate::serve::openai::{RequestMessage, Role};

/// The tokens of a conversation, up to where the answer begins.
pub fn ids(app: &App, mut messages: Vec<RequestMessage>) -> Result<Vec<u32>, ApiError> {
    let template = app.template.as_ref().map_err(|e| {
        let none = ApiError::new(StatusCode::BAD_REQUEST, e.to_string());
        none.with_param("messages")
    })?;
    if !template.mentions("developer") {
        let developers = messages.iter_mut().filter(|m| m.role == Role::Developer);
        developers.for_each(|message| message.role = Role::System);
    }
    let text = template.render(&messages, true)?;
    check_tools(template, &messages, &text)?;
    let ids = app.tokenizer.encode_verbatim(&text)?;
    if ids.is_empty() {
        return Err(ApiError::from(Error::EmptyPrompt).with_param("messages"));
    }
    Ok(ids)
}

/// Refuses calls of tools and what tools gave where the template does not write them: the model
/// would answer as if there were none. `text` is what it writes.
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
        call["function"]["name"] = "another".into();
    }
}

fn other_content(message: &mut RequestMessage) {
    message.content.push_str("another");
}
