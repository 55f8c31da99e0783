//! Templates that would end the program, or never end, are an error in one line.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::chat_template::ChatTemplate;

use super::model::{ChatModel, TEMPLATE};
use crate::errors::fails;
use crate::fixtures::trial;
use crate::program::{command, limited, output};
use crate::serve::server::{CHAT, Server};

/// KiB of addresses that suffice for the embedded model and a template at its limits.
const ADDRESSES: usize = 4 << 20;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("chat::hostile::structure", structure),
        trial("chat::hostile::values", values),
        trial("chat::hostile::sizes", sizes),
        trial("chat::hostile::long_runs", long_runs),
        trial("chat::hostile::deep_messages", deep_messages),
        trial("chat::hostile::serve", serve),
        trial("chat::hostile::long_conversations", long_conversations),
        trial("chat::hostile::large_templates_in_use", in_use),
        trial("chat::hostile::long_texts", long_texts),
        trial("chat::hostile::what_the_engine_fails_over", failures),
    ]
}

/// `template` is refused when it is read.
fn refused(template: &str, words: &[&str]) -> Result<()> {
    let model = ChatModel::without_template()?.with("chat_template.jinja", template)?;
    let words = [&["chat_template.jinja", "expected a chat template"], words].concat();
    fails(&["chat", &model.name()], 1, &words)
}

/// `template` is an error when it is filled, of the program with few addresses.
fn stopped(template: &str, words: &[&str]) -> Result<()> {
    let model = ChatModel::without_template()?.with("chat_template.jinja", template)?;
    let arguments = ["chat", &model.name(), "--adapter", "cpu", "-n", "1"];
    let mut chat = limited(&arguments, ADDRESSES);
    chat.write_stdin("Hello");
    let run = output(chat)?;
    let found = format!("{template:.200}: status {}: {}", run.status, run.stderr);
    ensure!(run.status == 1 && run.stdout.is_empty(), "{found}");
    let lines: Vec<_> = run
        .stderr
        .lines()
        .filter(|l| l.starts_with("ztt-wgpu: "))
        .collect();
    ensure!(
        lines.len() == 1 && !run.stderr.contains("panicked"),
        "{found}"
    );
    ensure!(
        run.stderr.lines().last() == lines.last().copied(),
        "{found}"
    );
    for word in [&["chat template: "], words].concat() {
        ensure!(lines[0].contains(word), "no `{word}`: {found}");
    }
    Ok(())
}

/// Templates with many nested constructs, each of which takes a stack frame of the engine's parser.
fn structure() -> Result<()> {
    const N: usize = 20_000;
    let inside =
        |open: &str, close: &str| format!("{{{{ {}a{} }}}}", open.repeat(N), close.repeat(N));
    let around = "operators or branches around a term";
    for template in [
        format!("{{{{ 1{} }}}}", " + 1".repeat(N)),
        format!("{{{{ a{} }}}}", " ~ a".repeat(N)),
        format!("{{{{ a{} }}}}", ".b".repeat(N)),
        format!("{{{{ a{} }}}}", "[0]".repeat(N)),
        format!("{{{{ a{} }}}}", "()".repeat(N)),
        format!("{{{{ a{} }}}}", " | trim".repeat(N)),
        format!("{{{{ a{} }}}}", " is defined".repeat(N)),
        format!("{{{{ a{} }}}}", " if b else a".repeat(N)),
        format!("{{{{ a{} }}}}", " ** a".repeat(N)),
        inside("(", ")"),
        inside("[", "]"),
        inside("{1: ", "}"),
        inside("-", ""),
        inside("not ", ""),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}b".repeat(N)),
        format!("{{% set x = a{} %}}", " + 1".repeat(N)),
        format!("{{% for x in a{} %}}{{% endfor %}}", ".b".repeat(N)),
    ] {
        refused(&template, &[around])?;
    }
    let blocks = |open: &str, close: &str| open.repeat(N) + &close.repeat(N);
    for (open, close) in [
        ("{% if a %}", "{% endif %}"),
        ("{% for a in b %}", "{% endfor %}"),
        ("{% macro a() %}", "{% endmacro %}"),
        ("{% with a = 1 %}", "{% endwith %}"),
        ("{% filter trim %}", "{% endfilter %}"),
    ] {
        refused(&blocks(open, close), &[])?;
    }
    refused(&format!("{{{{ {}", "-".repeat(N)), &["no end"])?;
    refused(&"a".repeat((1 << 20) + 1), &["1048576 bytes"])?;
    let parameters: Vec<_> = (0..N).map(|i| format!("p{i}")).collect();
    let template = format!("{{% macro m({}) %}}{{% endmacro %}}", parameters.join(", "));
    refused(&template, &["200 parameters"])
}

/// Values that hold themselves, and those that are too deep or too large to walk through.
fn values() -> Result<()> {
    let inside = "a namespace inside another value";
    for template in [
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns ~ 'x' }}",
        "{% set ns = namespace() %}{% set ns.a = [{'b': ns}] %}{{ ns }}",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a == b }}",
        "{% set ns = namespace() %}{% set l = [[ns]] %}{% set ns.a = l %}{{ ns | tojson }}",
        "{% set ns = namespace(x=1) %}{% set ns.a = [ns] | select %}",
        "{% set ns = namespace() %}{% set j = joiner(ns) %}{% set ns.a = j %}",
    ] {
        stopped(template, &[inside])?;
    }
    let often = |set: &str, then: &str| {
        format!(
            "{{% set ns = namespace(l=['x'], s='x') %}}{{% for i in range(300) %}}{{% set {set} %}}\
             {{% endfor %}}{then}"
        )
    };
    stopped(
        &often("ns.l = [ns.l]", "{{ ns.l }}"),
        &["200 others around it"],
    )?;
    for then in [
        "{{ ns.l }}",
        "{{ ns.l | tojson }}",
        "{{ ns.l == [ns.l] }}",
        "{{ ns.l | join }}",
        "{{ 'y' in ns.l }}",
        "{{ ns.l | list | length }}",
    ] {
        stopped(&often("ns.l = [ns.l, ns.l]", then), &["values"])?;
        stopped(&often("ns.l = ns.l + ns.l", then), &[])?;
    }
    stopped(&often("ns.l = {'a': ns.l, 'b': ns.l}", ""), &["values"])?;
    stopped(&often("ns.s = ns.s + ns.s", "{{ ns.s }}"), &[])?;
    stopped(&often("ns.s = ns.s ~ ns.s", "{{ ns.s }}"), &[])?;
    stopped(
        "{% macro m(a, n) %}{% if n %}{{ m([a, a], n - 1) }}{% else %}{{ a }}{% endif %}{% endmacro %}\
         {{ m('x', 60) }}",
        &["values"],
    )?;
    let with = "{% with a = [a, a] %}".repeat(60) + "{{ a }}" + &"{% endwith %}".repeat(60);
    stopped(&("{% set a = 'x' %}".to_string() + &with), &["values"])?;
    stopped(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        &["recursion limit"],
    )?;
    stopped(
        "{% for x in [1] recursive %}{{ loop([[x, x]]) }}{% endfor %}",
        &[],
    )
}

/// Numbers that ask for more than there is room for.
fn sizes() -> Result<()> {
    for expression in [
        "'x' * 10**12",
        "[1] * 10**12",
        "([1] * 10**8) ~ 'x'",
        "([['x' * 1000] * 1000] * 10000) | string",
        "('a b'.split() * 10**8) | join",
        "(1, 2) * 10**8",
        "range(10**12)",
        "messages | tojson(indent=9223372036854775807)",
        "messages | tojson(separators=('x' * 10**7, 'y' * 10**7))",
        "'x'.ljust(10**12)",
        "'x'.rjust(10**12)",
        "'x'.center(10**12)",
        "'x'.zfill(10**12)",
        "'x' | center(10**12)",
        "('\t' * 1000).expandtabs(10**12)",
        "'x' | indent(10**12, true)",
        "('x' * 10**6).replace('x', 'y' * 10**6)",
        "('x' * 10**6) | replace('x', 'y' * 10**6)",
        "('y' * 10**6).join('x' * 10**6)",
        "('x' * 10**6) | join('y' * 10**6)",
        "('x' * 10**6).translate({120: 'y' * 10**6})",
        "'%1000000000d' % 1",
        "'%.1000000000f' % 1.5",
        "'{:1000000000}'.format(1)",
        "('{0}' * 10**6).format('x' * 10**6)",
        "'%1000000000d' | format(1)",
        "[1, 2] | batch(10**12, 'x') | list",
        "[1, 2] | slice(10**12) | list",
        "10 ** 10 ** 10",
        "-(10 ** 10 ** 10)",
    ] {
        stopped(&format!("{{{{ {expression} }}}}"), &[])?;
    }
    Ok(())
}

/// Runs that would last for years, or write without an end.
fn long_runs() -> Result<()> {
    let loops = |inner: &str| {
        let open = "{% for i in range(99999) %}".repeat(3);
        open + inner + &"{% endfor %}".repeat(3)
    };
    stopped(&loops(""), &[])?;
    stopped(&loops(&"x".repeat(10_000)), &[])?;
    let big = "{% set a = range(99999) | list %}{% set b = range(99999) | list %}";
    for inner in [
        "{% if [a] == [b] %}{% endif %}",
        "{% if [[a]] in [[[b]]] %}{% endif %}",
        "{% set c = a | sort %}",
        "{% set c = [a, b] | unique | list %}",
        "{% set c = a.index(99998) %}",
        "{% set c = a | map('string') | join(',') %}",
    ] {
        stopped(&(big.to_string() + &loops(inner)), &[])?;
    }
    stopped(
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}",
        &[],
    )
}

/// A panic of the engine is an error like any other.
fn failures() -> Result<()> {
    for expression in [
        "[1][::-9223372036854775808]".to_string(),
        "'abc'[::-9223372036854775808]".to_string(),
        "'%.65535e' | format(1.5)".to_string(),
        format!("1{}", "0".repeat(65_540)),
    ] {
        let template = format!("{{{{ {expression} }}}}");
        let model = ChatModel::without_template()?.with("chat_template.jinja", &template)?;
        let mut chat = command(&["chat", &model.name(), "--adapter", "cpu", "-n", "1"]);
        chat.write_stdin("Hello");
        let run = output(chat)?;
        let found = format!("{expression:.100}: status {}: {}", run.status, run.stderr);
        let is_one_line = run.stderr.matches("ztt-wgpu: ").count() == 1;
        ensure!(run.status == 1 && is_one_line, "{found}");
        ensure!(!run.stderr.contains("panicked"), "{found}");
    }
    Ok(())
}

/// A text that no context holds is not made into tokens to its end.
fn long_texts() -> Result<()> {
    for text in ["'1' * 6000000", "'😀' * 2000000", "'ab\n' * 2000000"] {
        let template = format!("{{{{ {text} }}}}");
        let model = ChatModel::without_template()?.with("chat_template.jinja", &template)?;
        let arguments = ["chat", &model.name(), "--adapter", "cpu", "-n", "1"];
        let mut chat = limited(&arguments, ADDRESSES / 4);
        chat.write_stdin("Hello");
        let run = output(chat)?;
        let found = format!("{text}: status {}: {}", run.status, run.stderr);
        ensure!(run.status == 1, "{found}");
        ensure!(run.stderr.contains("does not fit the context"), "{found}");
    }
    Ok(())
}

/// Messages that are deeper than anything that is said.
fn deep_messages() -> Result<()> {
    let template = ChatTemplate::parse("t", "{{ messages }}".to_string(), BTreeMap::new())?;
    let mut content = json!("Hi");
    for _ in 0..300 {
        content = json!([content]);
    }
    match template.render(&[json!({"role": "user", "content": content})], true) {
        Ok(text) => bail!("{text}"),
        Err(e) => ensure!(
            e.to_string().contains("200 values inside each other"),
            "{e}"
        ),
    }
    Ok(())
}

/// A request that the template cannot take is refused, and the next one is answered.
fn serve() -> Result<()> {
    let template = format!(
        "{{% if 'on' in messages[0].content | string %}}{{% set ns = namespace(l=[1]) %}}\
         {{% for i in range(99) %}}{{% set ns.l = [ns.l, ns.l] %}}{{% endfor %}}{{{{ ns.l }}}}{{% endif %}}\
         {{% if 'self' in messages[0].content | string %}}{{% set ns = namespace() %}}{{% set ns.a = ns %}}\
         {{{{ ns ~ 'x' }}}}{{% endif %}}{TEMPLATE}"
    );
    let model = ChatModel::without_template()?.with("chat_template.jinja", &template)?;
    let server = Server::start(&model.name(), &[])?;
    let body =
        |text: &str| json!({"messages": [{"role": "user", "content": text}], "max_tokens": 1});
    for text in ["on", "self", "on"] {
        let error = server.refuses(CHAT, &body(text), 400)?;
        let message = error["message"].as_str().context("message")?;
        ensure!(message.contains("chat template: "), "{message}");
        server.ok(CHAT, &body("Hello"))?;
    }
    Ok(())
}

/// Thousands of messages are no attack, nor are lists that grow with them.
fn long_conversations() -> Result<()> {
    let source = "{% set ns = namespace(seen=[], text='') %}{% for m in messages %}\
        {% if m.role == 'user' %}{% set ns.seen = ns.seen + [m.content] %}{% endif %}\
        {% set ns.text = ns.text ~ m.content[:1] %}{{ m.role }}: {{ m.content | trim }}\n\
        {% endfor %}{{ ns.seen | length }} {{ ns.text | length }}";
    let template = ChatTemplate::parse("t", source.to_string(), BTreeMap::new())?;
    let messages: Vec<Value> = (0..4000)
        .map(|i| {
            let role = if i % 2 == 0 { "user" } else { "assistant" };
            json!({"role": role, "content": format!(" {}{i}", "word ".repeat(50))})
        })
        .collect();
    let text = template.render(&messages, true)?;
    ensure!(
        text.ends_with("2000 4000"),
        "{:?}",
        &text[text.len() - 50..]
    );
    Ok(())
}

/// Templates that are larger than any in use give what they say.
fn in_use() -> Result<()> {
    let table: Vec<_> = (0..2000).map(|i| format!("'k{i}': 'v{i}'")).collect();
    let mut source = format!("{{% set t = {{{}}} %}}", table.join(", "));
    source += &format!("{{{{ ''{} }}}}", " + 'a'".repeat(200));
    source += "{% if false %}";
    for i in 0..100 {
        source += &format!("{{% elif messages[0].content == 'k{i}' %}}{i}");
    }
    source += "{% endif %}{{ t[messages[0].content] }}{{ ((((((1 + 1)))))) }}";
    let model = ChatModel::without_template()?.with("chat_template.jinja", &source)?;
    let mut chat = command(&["chat", &model.name(), "--adapter", "cpu", "-n", "1"]);
    chat.write_stdin("k77");
    let run = output(chat)?;
    ensure!(run.status == 0, "{}", run.stderr);
    let template = ChatTemplate::parse("t", source, BTreeMap::new())?;
    let text = template.render(&[json!({"content": "k77"})], true)?;
    let expected = "a".repeat(200) + "77v772";
    ensure!(text == expected, "{text}");
    Ok(())
}
