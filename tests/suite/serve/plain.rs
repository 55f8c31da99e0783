//! Special tokens in what messages say.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::server::{CHAT, COMPLETIONS, Server};
use crate::chat::model::ChatModel;
use crate::compare::same;
use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::plain::special_tokens_are_text_where_asked", tokens),
        trial("serve::plain::what_the_template_reads_is_refused", read),
    ]
}

/// A token that the embedded model's tokenizer adds.
const END: &str = "<|endoftext|>";

fn prompt_tokens(response: &Value) -> Result<u64> {
    response["usage"]["prompt_tokens"]
        .as_u64()
        .context("prompt_tokens")
}

fn chat(role: &str, content: &str) -> Value {
    json!({"messages": [{"role": role, "content": content}], "max_tokens": 4, "temperature": 0})
}

fn tokens() -> Result<()> {
    let template = "{% for m in messages %}{{ m.content | trim }}<|endoftext|>{% endfor %}";
    let model = ChatModel::without_template()?.with("chat_template.jinja", template)?;
    let usual = Server::start(&model.name(), &[])?;
    let plain = Server::start(&model.name(), &["--plain-content"])?;
    let content = format!(" a{END}b\n");
    // As transformers has it, the token is one.
    let n_usual = prompt_tokens(&usual.ok(CHAT, &chat("user", &content))?)?;
    same("usual", &[n_usual], &[4])?;
    let response = plain.ok(CHAT, &chat("user", &content))?;
    let text = |text: &str| -> Result<u64> {
        let body = json!({"prompt": text, "max_tokens": 1});
        prompt_tokens(&usual.ok(COMPLETIONS, &body)?)
    };
    // With another letter it is no token.
    let (with, one) = (text("a<|endoftexX|>b")?, text("endoftexX")?);
    let n_plain = prompt_tokens(&response)?;
    ensure!(
        n_plain > n_usual + 3,
        "{n_plain} as {n_usual}, {with}, {one}"
    );
    // Texts without any are the same.
    for content in ["Who is it?", "<|>", " a <|endof text|> b"] {
        let [usual, plain] = [&usual, &plain].map(|server| server.ok(CHAT, &chat("user", content)));
        let (usual, plain) = (usual?, plain?);
        same(
            content,
            &[prompt_tokens(&plain)?],
            &[prompt_tokens(&usual)?],
        )?;
        let text = |response: &Value| response["choices"][0]["message"]["content"].clone();
        same(content, &[text(&plain)], &[text(&usual)])?;
    }
    Ok(())
}

fn read() -> Result<()> {
    let template = "{% for m in messages %}{{ m.content.split('<|endoftext|>')[0] }}{% endfor %};";
    let model = ChatModel::without_template()?.with("chat_template.jinja", template)?;
    let server = Server::start(&model.name(), &["--plain-content"])?;
    let content = format!("a{END}b");
    let error = server.refuses(CHAT, &chat("user", &content), 400)?;
    let message = error["message"].as_str().context("message")?;
    ensure!(
        message.contains("--plain-content") && message.contains(END),
        "{message}"
    );
    server.ok(CHAT, &chat("assistant", &content)).map(drop)
}
