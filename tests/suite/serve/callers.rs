//! Who may call: names of the server, web pages, and errors that every caller can read.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::raw::{address, ask, ask_with, response, send};
use super::server::Server;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::run;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::callers::only_own_names_without_a_key", names),
        trial("serve::callers::one_well_formed_host", forms),
        trial("serve::callers::names_of_a_proxy", proxy),
        trial("serve::callers::only_own_pages", pages),
        trial("serve::callers::pages_of_allowed_origins", allowed),
        trial("serve::callers::every_page_where_asked_for", every),
        trial("serve::callers::every_error_is_json", errors),
        trial(
            "serve::callers::bad_names_and_origins_are_usage_errors",
            usage,
        ),
    ]
}

const SHORT: &str = r#"{"prompt": "ROMEO:", "max_tokens": 2, "temperature": 0}"#;

fn names() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let hosts = [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.9.8.7:8080",
        "[::1]",
        "[::1]:80",
    ];
    for host in hosts {
        for path in ["/health", "/v1/models", "/metrics"] {
            let response = ask(&server, &format!("GET {path}"), &[&format!("Host: {host}")])?;
            ensure!(response.status == 200, "{host} {path}: {response:?}");
        }
    }
    for host in [
        "evil.com",
        "evil.com:8080",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "0.0.0.0",
        "192.168.0.1",
        "[::2]",
    ] {
        let host = format!("Host: {host}");
        for line in [
            "GET /health",
            "GET /metrics",
            "GET /nope",
            "OPTIONS /v1/models",
        ] {
            let error = ask(&server, line, &[&host])?.error(403)?;
            ensure!(
                error["code"] == "host_not_allowed",
                "{line} {host}: {error}"
            );
        }
        ask_with(&server, "POST /v1/completions", &[&host], SHORT)?.error(403)?;
    }
    // A target with a name of its own goes before `Host`.
    ask(&server, "GET http://evil.com/health", &[])?.error(403)?;
    ask(&server, "CONNECT evil.com:443", &[])?.error(403)?;
    let own = ask(&server, "GET http://localhost/health", &["Host: evil.com"])?;
    same("status", &[own.status], &[200])
}

fn forms() -> Result<()> {
    let keyed = ["--api-key", "secret"];
    for flags in [&[], &keyed[..]] {
        let server = Server::start("builtin", flags)?;
        let none = "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
        response(&mut send(&server, none)?)?.error(400)?;
        let two = "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        response(&mut send(&server, two)?)?.error(400)?;
        for host in [
            "",
            "a b",
            "a/b",
            "a,b",
            "u@localhost",
            "::1",
            "localhost:port",
            "é",
        ] {
            let bad = ask(&server, "GET /health", &[&format!("Host: {host}")])?;
            bad.error(400)?;
        }
        // Load balancers of old do not say.
        let old = response(&mut send(&server, "GET /health HTTP/1.0\r\n\r\n")?)?;
        same("status", &[old.status], &[200])?;
    }
    Ok(())
}

fn proxy() -> Result<()> {
    let allow = ["--allow-host", "api.example.com", "--allow-host", "::2"];
    let keyed = ["--api-key", "secret"];
    let key = "Authorization: Bearer secret";
    let status = |server: &Server, host: &str| -> Result<u16> {
        let host = format!("Host: {host}");
        Ok(ask(server, "GET /v1/models", &[key, &host])?.status)
    };
    for flags in [&allow[..], &[&allow[..], &keyed].concat()] {
        let server = Server::start("builtin", flags)?;
        for host in [
            "API.example.com",
            "api.example.com:443",
            "[0::2]:1",
            "localhost",
        ] {
            same(host, &[status(&server, host)?], &[200])?;
        }
        for host in ["example.com", "x.api.example.com", "[::3]"] {
            same(host, &[status(&server, host)?], &[403])?;
        }
    }
    // Who has the key may come by any name.
    let server = Server::start("builtin", &keyed)?;
    same("any", &[status(&server, "example.com")?], &[200])
}

fn pages() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let own = format!("Origin: http://{}", address(&server));
    let answer = ask_with(&server, "POST /v1/completions", &[&own], SHORT)?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(
        answer.header("access-control-allow-origin").is_none(),
        "{answer:?}"
    );
    for origin in [
        "http://evil.com",
        "http://localhost",
        "http://localhost:3000",
        "https://127.0.0.1:1",
        "null",
        "",
        "é",
    ] {
        let origin = format!("Origin: {origin}");
        for line in [
            "GET /health",
            "GET /v1/models",
            "GET /nope",
            "OPTIONS /v1/models",
        ] {
            let asks = "Access-Control-Request-Method: POST";
            let refused = ask(&server, line, &[&origin, asks])?;
            let error = refused.error(403)?;
            ensure!(error["code"] == "origin_not_allowed", "{origin}: {error}");
            ensure!(
                refused.header("access-control-allow-origin").is_none(),
                "{refused:?}"
            );
        }
        ask_with(&server, "POST /v1/completions", &[&origin], SHORT)?.error(403)?;
    }
    server.wait_for("ztt_generated_tokens_total", 2.0)?;
    ask(&server, "GET /health", &[&own, &own])?.error(400)?;
    Ok(())
}

fn allowed() -> Result<()> {
    const PAGE: &str = "https://page.example";
    let flags = [
        "--api-key",
        "secret",
        "--allow-origin",
        "HTTPS://Page.example:443",
        "--allow-origin",
        "null",
    ];
    let server = Server::start("builtin", &flags)?;
    let (origin, key) = (
        &format!("Origin: {PAGE}")[..],
        "Authorization: Bearer secret",
    );
    let asks = [
        origin,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization, content-type, x-stainless-os",
    ];
    // A browser asks without the key.
    for path in ["/v1/chat/completions", "/v1/models", "/health", "/nope"] {
        let preflight = ask(&server, &format!("OPTIONS {path}"), &asks)?;
        ensure!(
            preflight.status == 204 && preflight.body.is_empty(),
            "{preflight:?}"
        );
        let header = |name: &str| preflight.header(name).unwrap_or_default();
        same(
            "origin",
            &[&*header("access-control-allow-origin")],
            &[PAGE],
        )?;
        let names = header("access-control-allow-headers");
        ensure!(
            names.contains("authorization") && names.contains("x-stainless-os"),
            "{names}"
        );
        ensure!(
            header("access-control-allow-methods").contains("post"),
            "{preflight:?}"
        );
        ensure!(
            header("access-control-max-age").parse::<u32>()? > 0,
            "{preflight:?}"
        );
        ensure!(header("vary").contains("origin"), "{preflight:?}");
    }
    let bad = r#"{"prompt": 1.5}"#;
    let stream = r#"{"prompt": "ROMEO:", "max_tokens": 2, "stream": true}"#;
    let post = "POST /v1/completions";
    for (status, response) in [
        (200, ask(&server, "GET /v1/models", &[origin, key])?),
        (200, ask_with(&server, post, &[origin, key], SHORT)?),
        (200, ask_with(&server, post, &[origin, key], stream)?),
        (400, ask_with(&server, post, &[origin, key], bad)?),
        (401, ask(&server, "GET /v1/models", &[origin])?),
        (404, ask(&server, "GET /nope", &[origin, key])?),
        (405, ask(&server, "GET /v1/completions", &[origin, key])?),
    ] {
        ensure!(response.status == status, "{status}: {response:?}");
        let told = response.header("access-control-allow-origin");
        ensure!(told.as_deref() == Some(PAGE), "{response:?}");
        let exposed = response.header("access-control-expose-headers");
        ensure!(
            exposed.is_some_and(|e| e.contains("retry-after")),
            "{response:?}"
        );
        ensure!(
            response
                .header("vary")
                .is_some_and(|v| v.contains("origin")),
            "{response:?}"
        );
    }
    let null = ask(&server, "GET /health", &["Origin: null"])?;
    ensure!(
        null.header("access-control-allow-origin").as_deref() == Some("null"),
        "{null:?}"
    );
    for other in [
        "http://page.example",
        "https://page.example:444",
        "https://x.page.example",
    ] {
        let other = format!("Origin: {other}");
        ask(&server, "OPTIONS /v1/models", &[&other, asks[1]])?.error(403)?;
        ask(&server, "GET /v1/models", &[&other, key])?.error(403)?;
    }
    // Whatever caches: the response of one who is no page differs too.
    let plain = ask(&server, "GET /health", &[])?;
    ensure!(
        plain.header("vary").as_deref() == Some("origin"),
        "{plain:?}"
    );
    Ok(())
}

fn every() -> Result<()> {
    let server = Server::start("builtin", &["--allow-origin", "*"])?;
    for origin in ["http://evil.com", "null", "chrome-extension://abc"] {
        let response = ask(&server, "GET /v1/models", &[&format!("Origin: {origin}")])?;
        let told = response.header("access-control-allow-origin");
        ensure!(
            response.status == 200 && told.as_deref() == Some(origin),
            "{response:?}"
        );
    }
    ask(&server, "GET /v1/models", &["Host: evil.com"])?.error(403)?;
    Ok(())
}

fn errors() -> Result<()> {
    let server = Server::start("builtin", &["--max-body", "1000"])?;
    for (line, status, allow) in [
        ("GET /v1/completions", 405, Some("post")),
        ("DELETE /v1/chat/completions", 405, Some("post")),
        ("PUT /v1/models", 405, Some("get,head")),
        ("POST /health", 405, Some("get,head")),
        ("TRACE /metrics", 405, Some("get,head")),
        ("GET /v1/models/%FF", 400, None),
        ("GET /v1/models/no/such", 404, None),
        ("GET /", 404, None),
        ("CONNECT localhost:80", 404, None),
        ("GET *", 404, None),
    ] {
        let response = ask(&server, line, &[])?;
        response.error(status)?;
        same(line, &[response.header("allow").as_deref()], &[allow])?;
    }
    for (line, status, allow) in [
        ("OPTIONS /v1/completions", 204, Some("post")),
        ("OPTIONS /health", 204, Some("get,head")),
        ("OPTIONS *", 204, None),
        ("HEAD /health", 200, None),
        ("HEAD /v1/models", 200, None),
        ("HEAD /v1/completions", 405, Some("post")),
        ("HEAD /nope", 404, None),
    ] {
        let response = ask(&server, line, &[])?;
        ensure!(
            response.status == status && response.body.is_empty(),
            "{line}: {response:?}"
        );
        same(line, &[response.header("allow").as_deref()], &[allow])?;
    }
    let large = json!({"prompt": "a".repeat(100_000)}).to_string();
    ask_with(&server, "POST /v1/completions", &[], &large)?.error(413)?;
    // Nothing that a client makes up becomes a label.
    let metrics = ask(&server, "GET /metrics", &[])?.body;
    ensure!(
        !metrics.contains("nope") && !metrics.contains("no/such"),
        "{metrics}"
    );
    ensure!(
        metrics.contains("route=\"other\",status=\"404\""),
        "{metrics}"
    );
    Ok(())
}

fn usage() -> Result<()> {
    for flags in [
        ["--allow-host", "a:80"],
        ["--allow-host", "http://a"],
        ["--allow-host", "*"],
        ["--allow-host", ""],
        ["--allow-origin", "example.com"],
        ["--allow-origin", "https://example.com/"],
        ["--allow-origin", ""],
    ] {
        let run = run(&[&["serve"], &flags[..]].concat())?;
        ensure!(run.status == 2, "{flags:?}: {}", run.stderr);
        ensure!(
            run.stderr.contains(flags[0]) && run.stderr.lines().count() == 1,
            "{}",
            run.stderr
        );
    }
    Ok(())
}
