//! Fields that clients send besides their question, and answers that they send back.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::server::{CHAT, COMPLETIONS, HOST, Server, parts, texts};
use crate::chat::model::{ChatModel, TEMPLATE};
use crate::compare::same;
use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "serve::clients::what_asks_for_nothing_changes_nothing",
            nothing,
        ),
        trial("serve::clients::roles_and_parts_are_openais", roles),
        trial(
            "serve::clients::parts_reach_templates_that_go_through_them",
            in_parts,
        ),
        trial(
            "serve::clients::other_servers_fields_change_nothing",
            others,
        ),
        trial("serve::clients::tools_are_not_lost_silently", tools),
        trial("serve::clients::prompts_of_nothing_are_refused", empty),
        trial("serve::clients::models_have_short_names", names),
    ]
}

/// The text of an answer to `messages`.
fn answer(server: &Server, messages: Value) -> Result<String> {
    let request = json!({"messages": messages, "max_tokens": 8, "temperature": 0});
    let response = server.ok(CHAT, &request)?;
    let text = response["choices"][0]["message"]["content"].as_str();
    Ok(text.context("text")?.to_string())
}

fn nothing() -> Result<()> {
    let model = ChatModel::new()?;
    let server = Server::start(&model.name(), &[])?;
    let plain = json!([{"role": "user", "content": "Who is it?"},
                       {"role": "assistant", "content": "I"},
                       {"role": "user", "content": "Why so?"}]);
    let expected = answer(&server, plain.clone())?;
    // As `model_dump` of OpenAI's client and other programs write them.
    let mut dumped = plain.clone();
    for message in dumped.as_array_mut().context("messages")? {
        for field in [
            "refusal",
            "annotations",
            "audio",
            "function_call",
            "tool_calls",
            "name",
        ] {
            message[field] = Value::Null;
        }
        message["tool_calls"] = json!([]);
    }
    same(
        "dumped",
        &[answer(&server, dumped)?],
        std::slice::from_ref(&expected),
    )?;
    let mut request = json!({
        "messages": plain, "max_tokens": 8, "temperature": 0, "audio": null, "functions": [],
        "function_call": null, "logit_bias": {}, "metadata": {"run": "7"}, "modalities": ["text"],
        "n": 1, "parallel_tool_calls": false, "prediction": null, "prompt_cache_key": "key",
        "reasoning_effort": null, "response_format": {"type": "text"}, "safety_identifier": "me",
        "seed": null, "service_tier": "auto", "stop": [], "store": false, "stream_options": null,
        "tool_choice": "none", "tools": [], "top_logprobs": null, "verbosity": null,
    });
    let response = server.ok(CHAT, &request)?;
    let content = &response["choices"][0]["message"]["content"];
    same("chat", &[content], &[&json!(expected)])?;
    request["stream"] = true.into();
    request["stream_options"] = json!({"include_usage": true, "include_obfuscation": false});
    let events = server.stream(CHAT, &request)?.all()?;
    same("stream", &texts(&events, 1)?, &[expected])?;
    let plain = json!({"prompt": "Who", "max_tokens": 8, "temperature": 0});
    let mut request = plain.clone();
    let open = json!({"best_of": 1, "echo": false, "logprobs": null, "suffix": "", "stop": null,
                      "logit_bias": {}, "n": null, "seed": null, "user": "me"});
    let (fields, open) = (request.as_object_mut(), open.as_object());
    fields
        .context("fields")?
        .extend(open.context("open")?.clone());
    let text = |request| -> Result<Value> {
        Ok(server.ok(COMPLETIONS, request)?["choices"][0]["text"].clone())
    };
    same("completion", &[text(&request)?], &[text(&plain)?])
}

fn roles() -> Result<()> {
    let named = TEMPLATE.replace(
        "{{ message.content }}",
        "{{ message.name }}{{ message.content }}",
    );
    let model = ChatModel::without_template()?.with("chat_template.jinja", &named)?;
    let server = Server::start(&model.name(), &[])?;
    let said = |role: &str, content: Value| json!({"role": role, "content": content});
    let ask = |first: Value, second: Value| answer(&server, json!([first, second]));
    let expected = ask(
        said("system", json!("SCENE II.")),
        said("user", json!("Who is it?")),
    )?;
    let parts = json!([{"type": "text", "text": "Who "}, {"type": "text", "text": "is it?"}]);
    let found = ask(said("developer", json!("SCENE II.")), said("user", parts))?;
    same("developer and parts", &[&found], &[&expected])?;
    // A message without a text, and one with a name, which this template writes.
    let empty = |content: Value| ask(said("assistant", content), said("user", json!("bobHi")));
    let plain = empty(json!(""))?;
    same(
        "null",
        &[empty(Value::Null)?, empty(json!([]))?],
        &[plain.clone(), plain.clone()],
    )?;
    let named = json!({"role": "user", "content": "Hi", "name": "bob"});
    same(
        "name",
        &[ask(said("assistant", json!("")), named)?],
        &[plain],
    )?;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:,"}}]);
    let image = json!({"messages": [said("user", image)]});
    let error = server.refuses(CHAT, &image, 400)?;
    ensure!(error["param"] == "messages[0].content[0].type", "{error}");
    // Where a template knows developers they are told so.
    let knows = "{% for m in messages %}{{ 'Aside' if m.role == 'developer' else m.role }}:{{ m.content }}\n{% endfor %}";
    let model = ChatModel::without_template()?.with("chat_template.jinja", knows)?;
    let server = Server::start(&model.name(), &[])?;
    let message = |role: &str| json!([said(role, json!("Who is it?"))]);
    let request = json!({"messages": message("developer"), "max_tokens": 8, "temperature": 0});
    let prompt = json!({"prompt": "Aside:Who is it?\n", "max_tokens": 8, "temperature": 0});
    let (chat, text) = (server.ok(CHAT, &request)?, server.ok(COMPLETIONS, &prompt)?);
    let (chat, text) = (&chat["choices"][0], &text["choices"][0]);
    same("aside", &[&chat["message"]["content"]], &[&text["text"]])
}

fn in_parts() -> Result<()> {
    let template = "{% for m in messages %}{{ m.role }}:{% for p in m.content %}\
                    {% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %};{% endfor %}";
    let model = ChatModel::without_template()?.with("chat_template.jinja", template)?;
    let server = Server::start(&model.name(), &[])?;
    let prompt = json!({"prompt": "user:Who is it?;", "max_tokens": 8, "temperature": 0});
    let expected = server.ok(COMPLETIONS, &prompt)?;
    let parts = json!([{"type": "text", "text": "Who "}, {"type": "text", "text": "is it?"}]);
    for content in [parts, json!("Who is it?"), json!(["Who is ", "it?"])] {
        let messages = json!([{"role": "user", "content": content}]);
        let found = answer(&server, messages)?;
        same(
            "text",
            &[json!(found)],
            &[expected["choices"][0]["text"].clone()],
        )?;
    }
    Ok(())
}

fn others() -> Result<()> {
    let model = ChatModel::new()?;
    let server = Server::start(&model.name(), &[])?;
    let plain = json!([{"role": "user", "content": "Who is it?"}]);
    let expected = answer(&server, plain.clone())?;
    let tool = json!({"type": "function", "function": {"name": "add"}});
    let request = json!({
        "messages": plain, "max_tokens": 8, "temperature": 0, "tools": [tool],
        "tool_choice": "none", "repetition_penalty": 1.0, "top_k": -1, "min_tokens": 0,
        "mirostat": 0, "skip_special_tokens": true, "cache_prompt": true, "store": true,
        "reasoning": {"effort": null}, "chat_template_kwargs": {}, "session_id": "a",
    });
    let response = server.ok(CHAT, &request)?;
    let content = &response["choices"][0]["message"]["content"];
    same("chat", &[content], &[&json!(expected)])?;
    // Nothing to begin with, and nothing to be said.
    let empty = json!({"max_tokens": 0, "logprobs": 2, "top_logprobs": 0});
    let response = server.ok(COMPLETIONS, &empty)?;
    let logprobs = &response["choices"][0]["logprobs"];
    same("tokens", &[&logprobs["tokens"]], &[&json!([])])?;
    let drawn = json!({"prompt": "a", "max_tokens": 4, "logprobs": 0, "temperature": 1});
    let response = server.ok(COMPLETIONS, &drawn)?;
    let logprobs = &response["choices"][0]["logprobs"];
    for i in 0..4 {
        let token = logprobs["tokens"][i].as_str().context("token")?;
        let found = &logprobs["top_logprobs"][i][token];
        same(token, &[found], &[&logprobs["token_logprobs"][i]])?;
    }
    Ok(())
}

fn tools() -> Result<()> {
    let call = json!({"id": "c1", "type": "function",
                      "function": {"name": "add", "arguments": "{\"a\": 1}"}});
    let called = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let gave = json!({"role": "tool", "content": "2", "tool_call_id": "c1"});
    let asked = json!({"role": "user", "content": "Add."});
    let request =
        |messages: &[&Value]| json!({"messages": messages, "max_tokens": 8, "temperature": 0});
    let plain = ChatModel::new()?;
    let server = Server::start(&plain.name(), &[])?;
    for (message, param) in [
        (&called, "messages[1].tool_calls"),
        (&gave, "messages[1].role"),
    ] {
        // Whether a template writes a message is found out from its text: this one leaves out the
        // content of a tool's message.
        let template = TEMPLATE.replace(
            "message.content",
            "message.content if message.role != 'tool' else ''",
        );
        let model = ChatModel::without_template()?.with("chat_template.jinja", &template)?;
        let server = Server::start(&model.name(), &[])?;
        let error = server.refuses(CHAT, &request(&[&asked, message]), 400)?;
        ensure!(error["param"] == param, "{error}");
    }
    let error = server.refuses(CHAT, &request(&[&asked, &called, &gave]), 400)?;
    ensure!(error["param"] == "messages[1].tool_calls", "{error}");
    let writes = "{% for m in messages %}{{ m.role }}:{{ m.content }}\
                  {% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}\
                  {{ m.tool_call_id }}\n{% endfor %}";
    let model = ChatModel::without_template()?.with("chat_template.jinja", writes)?;
    let server = Server::start(&model.name(), &[])?;
    let response = server.ok(CHAT, &request(&[&asked, &called, &gave]))?;
    let prompt = "user:Add.\nassistant:add{\"a\": 1}\ntool:2c1\n";
    let whole = json!({"prompt": prompt, "max_tokens": 8, "temperature": 0});
    let whole = server.ok(COMPLETIONS, &whole)?;
    let counts = [&response, &whole].map(|r| &r["usage"]["prompt_tokens"]);
    same("prompts", &counts[..1], &counts[1..])?;
    let content = &response["choices"][0]["message"]["content"];
    same("texts", &[content], &[&whole["choices"][0]["text"]])
}

fn empty() -> Result<()> {
    // Writes nothing for one who says nothing, and has nothing to begin with.
    let template = format!("{{% if messages[-1].content %}}{TEMPLATE}{{% endif %}}");
    let model = ChatModel::without_template()?.with("chat_template.jinja", &template)?;
    let model = model.without_bos()?;
    let server = Server::start_on(&HOST, &model.name(), &["--parallel", "1"], &[])?;
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let ask = || answer(&server, user(json!("Who is it?")));
    let expected = ask()?;
    // Now with a sequence that has something cached.
    for stream in [false, true] {
        for content in [json!(""), json!(null), json!([])] {
            let request = json!({"messages": user(content), "stream": stream});
            let error = server.refuses(CHAT, &request, 400)?;
            ensure!(error["param"] == "messages", "{error}");
            let message = error["message"].as_str().context("message")?;
            ensure!(message.contains("at least one token"), "{message}");
        }
        for prompt in [json!(""), json!(["Who", ""])] {
            let request = json!({"prompt": prompt, "stream": stream});
            let error = server.refuses(COMPLETIONS, &request, 400)?;
            ensure!(error["param"] == "prompt", "{error}");
        }
    }
    same("after it", &[ask()?], &[expected])
}

fn names() -> Result<()> {
    let model = ChatModel::new()?;
    let name = model.name();
    let short = name.rsplit('/').next().context("name")?.to_string();
    let listed = |server: &Server| -> Result<Value> {
        let (status, models) = parts(server.get("/v1/models")?)?;
        ensure!(status == 200, "{models}");
        Ok(models["data"][0]["id"].clone())
    };
    let request = |model: &str| json!({"model": model, "prompt": "a", "max_tokens": 1});
    for way in [format!("{name}/"), format!("{name}/../{short}/.")] {
        let server = Server::start(&way, &[])?;
        same(&way, &[listed(&server)?], &[json!(short)])?;
        let response = server.ok(COMPLETIONS, &request(&short))?;
        same(&way, &[&response["model"]], &[&json!(short)])?;
        let error = server.refuses(COMPLETIONS, &request("gpt-4o"), 404)?;
        ensure!(error["code"] == "model_not_found", "{error}");
    }
    let variables = [("ZTT_ALIAS", "org/name")];
    let server = Server::start_on(&HOST, &name, &[], &variables)?;
    same("variable", &[listed(&server)?], &[json!("org/name")])?;
    server.ok(COMPLETIONS, &request("org/name"))?;
    for path in ["org/name", "org%2Fname"] {
        let (status, model) = parts(server.get(&format!("/v1/models/{path}"))?)?;
        ensure!(
            status == 200 && model["id"] == "org/name",
            "{path}: {model}"
        );
    }
    Ok(())
}
