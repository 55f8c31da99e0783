//! Connections that are slow, silent, too many or not HTTP at all.

use std::io::{ErrorKind, Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::load::endless;
use super::raw::{half_close, is_well, parse, read_to_end, response, send};
use super::server::{COMPLETIONS, Server, wait};
use crate::chat::model::ChatModel;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::{environment, run};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "serve::connections::a_header_must_come_in_time",
            header_in_time,
        ),
        trial(
            "serve::connections::a_large_header_is_refused",
            large_header,
        ),
        trial(
            "serve::connections::a_slow_body_ends_with_its_request",
            slow_body,
        ),
        trial(
            "serve::connections::a_silent_body_ends_before_its_request",
            silent_body,
        ),
        trial("serve::connections::too_many_are_told_so", too_many),
        trial(
            "serve::connections::who_does_not_read_is_cut_at_the_time_limit",
            || unread(&["--timeout", "6"]),
        ),
        trial("serve::connections::a_write_that_stands_still_ends", || {
            unread(&["--write-timeout", "1"])
        }),
        trial(
            "serve::connections::other_protocols_and_old_ones",
            protocols,
        ),
        trial(
            "serve::connections::endless_trailers_and_chunks_end",
            endless_chunks,
        ),
        trial("serve::connections::extreme_limits_are_limits", extremes),
    ];
    #[cfg(unix)]
    trials.extend([
        trial("serve::connections::idle_ones_do_not_delay_the_end", end),
        trial(
            "serve::connections::descriptors_that_run_out_come_back",
            descriptors,
        ),
        trial(
            "serve::connections::descriptors_run_out_though_nobody_reads_that",
            descriptors_unheard,
        ),
        trial(
            "serve::connections::few_descriptors_are_an_error_or_enough",
            few_descriptors,
        ),
    ]);
    #[cfg(target_os = "linux")]
    trials.push(with_few_threads());
    trials
}

/// The promised limits are a second or two; a machine that is busy may take this long.
const BOUND: Duration = Duration::from_secs(60);

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Half a header.
const HALF: &str = "GET /health HTTP/1.1\r\nHost: loc";

/// Fails where something took longer than could be promised.
fn in_time(since: Instant) -> Result<()> {
    let took = since.elapsed();
    ensure!(took < BOUND, "it took {took:?}");
    Ok(())
}

fn header_in_time() -> Result<()> {
    let server = Server::start("builtin", &["--header-timeout", "1"])?;
    let since = Instant::now();
    let silent = send(&server, "")?;
    let half = send(&server, HALF)?;
    let idle = send(&server, HEALTH)?;
    let second = send(&server, format!("{HEALTH}{HALF}"))?;
    for (mut stream, n_responses) in [(silent, 0), (half, 0), (idle, 1), (second, 1)] {
        let text = read_to_end(&mut stream)?;
        same(
            "responses",
            &[text.matches("HTTP/1.1 200").count()],
            &[n_responses],
        )?;
    }
    // One byte after the other does not help.
    let mut slow = send(&server, "GET /health HTTP/1.1\r\nX: ")?;
    while slow.write_all(b"x").is_ok() {
        in_time(since)?;
        sleep(Duration::from_millis(50));
    }
    in_time(since)?;
    is_well(&server)
}

fn large_header() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let with = |fields: &str| {
        let text =
            format!("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        response(&mut send(&server, text)?)
    };
    let field = |n: usize| format!("X-Large: {}\r\n", "x".repeat(n));
    same("status", &[with(&field(60_000))?.status], &[200])?;
    same("status", &[with(&"X: y\r\n".repeat(90))?.status], &[200])?;
    for fields in [
        field(66_000),
        field(390_000),
        field(1000).repeat(80),
        "X: y\r\n".repeat(200),
    ] {
        with(&fields)?.error(431)?;
    }
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "x".repeat(100_000)
    );
    response(&mut send(&server, long)?)?.error(431)?;
    is_well(&server)
}

fn slow_body() -> Result<()> {
    let server = Server::start("builtin", &["--timeout", "1"])?;
    let since = Instant::now();
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{";
    let mut stream = send(&server, head)?;
    stream.set_nonblocking(true)?;
    let mut text = Vec::new();
    loop {
        let _ = stream.write(b" ");
        match stream.read_to_end(&mut text) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
        in_time(since)?;
        sleep(Duration::from_millis(50));
    }
    let error = parse(&String::from_utf8_lossy(&text))?.error(504)?;
    ensure!(error["code"] == "timeout", "{error}");
    Ok(())
}

/// Bodies have less time than requests, so that connections are not held.
fn silent_body() -> Result<()> {
    let server = Server::start("builtin", &["--header-timeout", "1"])?;
    let since = Instant::now();
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
    let mut held = [send(&server, head)?, send(&server, head)?];
    for stream in &mut held {
        response(stream)?.error(408)?;
    }
    in_time(since)?;
    is_well(&server)
}

fn too_many() -> Result<()> {
    let server = Server::start("builtin", &["--max-connections", "4"])?;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = send(&server, HEALTH)?;
        let mut buffer = [0; 16];
        stream.read_exact(&mut buffer)?;
        held.push(stream);
    }
    // Whether it sends something or not.
    for text in [HEALTH, HALF, ""] {
        let refused = response(&mut send(&server, text)?)?;
        ensure!(
            refused.header("connection").as_deref() == Some("close"),
            "{refused:?}"
        );
        let error = refused.error(503)?;
        ensure!(error["code"] == "too_many_connections", "{error}");
    }
    // Clients that are told and stay do not keep others from it for long.
    let staying: Vec<_> = (0..100).flat_map(|_| send(&server, HEALTH)).collect();
    wait(|| {
        let told = send(&server, HEALTH).and_then(|mut stream| response(&mut stream));
        Ok(told.is_ok())
    })?;
    drop(staying);
    held.truncate(2);
    wait(|| Ok(is_well(&server).is_ok()))
}

/// A client that reads nothing of a long stream. Every event has the name of the model in it, which
/// is so long that all buffers between server and client are full at once.
fn unread(flags: &[&str]) -> Result<()> {
    let model = ChatModel::endless()?;
    let alias = "a".repeat(100_000);
    let server = Server::start(&model.name(), &[&["--alias", &alias], flags].concat())?;
    let mut body = endless();
    body["n"] = 4.into();
    let since = Instant::now();
    let stream = send(&server, post(COMPLETIONS, &body.to_string()))?;
    server.wait_for("ztt_sequences_in_use", 4.0)?;
    server.wait_for("ztt_sequences_in_use", 0.0)?;
    in_time(since)?;
    drop(stream);
    is_well(&server)
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn protocols() -> Result<()> {
    let server = Server::start("builtin", &["--header-timeout", "2"])?;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for bytes in [
        &hello[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
    ] {
        response(&mut send(&server, bytes)?)?.error(400)?;
    }
    for header in [
        "Content-Length: -1",
        "Content-Length: x",
        "Bad Name: y",
        "Host localhost",
    ] {
        let text = format!("POST /v1/completions HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
        response(&mut send(&server, text)?)?.error(400)?;
    }
    read_to_end(&mut send(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?)?;
    // Both requests of one write are answered, in order; a version before HTTP/1.1 closes the
    // connection.
    let pair =
        format!("{HEALTH}GET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = read_to_end(&mut send(&server, pair)?)?;
    let (first, second) = (text.find("HTTP/1.1 200"), text.find("HTTP/1.1 404"));
    ensure!(first == Some(0) && second > first, "{text}");
    let old = response(&mut send(&server, "GET /health HTTP/1.0\r\n\r\n")?)?;
    same("status", &[old.status], &[200])?;
    // It is asked for the body, and only then sends it.
    let body = json!({"prompt": "ROMEO:", "max_tokens": 1}).to_string();
    let expects = post(COMPLETIONS, &body).replace(
        &format!("\r\n\r\n{body}"),
        "\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    );
    let mut stream = send(&server, expects)?;
    let mut go = [0; 25];
    stream.read_exact(&mut go)?;
    ensure!(
        go.starts_with(b"HTTP/1.1 100"),
        "{}",
        String::from_utf8_lossy(&go)
    );
    stream.write_all(body.as_bytes())?;
    same("status", &[response(&mut stream)?.status], &[200])?;
    // Who closes his half before he is done is gone.
    let mut gone = send(&server, HALF)?;
    half_close(&gone)?;
    let rest = read_to_end(&mut gone)?;
    ensure!(!rest.contains(" 200 "), "{rest}");
    is_well(&server)
}

fn endless_chunks() -> Result<()> {
    let server = Server::start("builtin", &["--max-body", "100000"])?;
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let since = Instant::now();
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
    for (first, again) in [
        ("1;", "extension"),
        ("1\r\n{\r\n0\r\n", "X-Trailer: y\r\n"),
        ("1\r\n{\r\n0\r\nX-Trailer: ", "y"),
        ("", &chunk),
    ] {
        let mut stream = send(&server, format!("{head}{first}"))?;
        while stream.write_all(again.repeat(100).as_bytes()).is_ok() {
            in_time(since)?;
        }
    }
    is_well(&server)
}

fn extremes() -> Result<()> {
    let largest = u64::MAX.to_string();
    let names = [
        "--timeout",
        "--queue",
        "--max-body",
        "--max-connections",
        "--header-timeout",
        "--write-timeout",
        "--max-tokens",
        "--seed",
    ];
    let flags: Vec<&str> = names.iter().flat_map(|name| [*name, &largest]).collect();
    let server = Server::start("builtin", &flags)?;
    let body = json!({"prompt": "ROMEO:", "max_tokens": 2});
    server.ok(COMPLETIONS, &body)?;
    let several = json!({"prompt": "ROMEO:", "max_tokens": 1, "n": 8});
    server.ok(COMPLETIONS, &several)?;
    drop(server);
    let server = Server::start("builtin", &["--queue", "0", "--max-connections", "1"])?;
    server.ok(COMPLETIONS, &body)?;
    drop(server);
    let names = [
        "--timeout",
        "--max-body",
        "--max-connections",
        "--header-timeout",
        "--write-timeout",
    ];
    for name in names {
        for value in ["0", "-1", "x", "18446744073709551616"] {
            let run = run(&["serve", &format!("{name}={value}")])?;
            ensure!(
                run.status == 2 && run.stderr.contains(name),
                "{name} {value}: {}",
                run.stderr
            );
        }
    }
    Ok(())
}

#[cfg(unix)]
fn end() -> Result<()> {
    let model = ChatModel::endless()?;
    let server = Server::start(&model.name(), &["--temperature", "0"])?;
    let held = ["", HALF, HEALTH, &format!("{HEALTH}{HALF}")];
    let held = held.map(|text| send(&server, text));
    is_well(&server)?;
    let since = Instant::now();
    server.signal("-TERM")?;
    let (status, rest) = server.end()?;
    ensure!(status == Some(0), "{status:?}: {rest}");
    // Long before the 30 s that requests under way may take.
    let took = since.elapsed();
    ensure!(took < Duration::from_secs(20), "it took {took:?}");
    drop(held);
    Ok(())
}

#[cfg(unix)]
fn descriptors() -> Result<()> {
    let server = Server::start_within("ulimit -n 40", None, "builtin", &["--header-timeout", "1"])?;
    let held = (0..80)
        .map(|_| send(&server, HALF))
        .collect::<Result<Vec<_>>>()?;
    // Those that are not taken yet wait until others have ended.
    for mut stream in held {
        read_to_end(&mut stream)?;
    }
    is_well(&server)?;
    server.signal("-TERM")?;
    let (status, rest) = server.end()?;
    ensure!(status == Some(0), "{status:?}: {rest}");
    // It says so, and not for each of them.
    let n_lines = rest.matches("connections have to wait").count();
    ensure!((1..=3).contains(&n_lines), "{rest}");
    Ok(())
}

/// Whoever started the server has closed the other end of its standard error.
#[cfg(unix)]
fn descriptors_unheard() -> Result<()> {
    use std::io::{BufRead, BufReader};
    use std::net::TcpStream;
    use std::process::{Command, Stdio};

    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_ztt-wgpu");
    shell.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", program]);
    shell.args(["serve", "builtin", "--port", "0", "--adapter", "cpu"]);
    shell.args(["--header-timeout", "1"]).stderr(Stdio::piped());
    environment(|variable, value| match value {
        Some(value) => drop(shell.env(variable, value)),
        None => drop(shell.env_remove(variable)),
    });
    let mut child = shell.spawn()?;
    let answered = (|| {
        let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            Some(line.strip_prefix("listening on http://")?.to_string())
        });
        drop(lines);
        let address = address.context("it does not listen")?;
        let connect = |bytes: &str| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(BOUND))?;
            stream.write_all(bytes.as_bytes())?;
            Ok(stream)
        };
        let held = (0..80).map(|_| connect(HALF)).collect::<Result<Vec<_>>>()?;
        for mut stream in held {
            read_to_end(&mut stream)?;
        }
        parse(&read_to_end(&mut connect(HEALTH)?)?)
    })();
    child.kill()?;
    child.wait()?;
    let status = answered?.status;
    ensure!(status == 200, "{status}");
    Ok(())
}

#[cfg(unix)]
fn few_descriptors() -> Result<()> {
    for n in [4, 5, 6, 7, 8, 9, 10, 12, 16, 24] {
        enough_or_error(&format!("ulimit -n {n}"), None)?;
    }
    Ok(())
}

/// A shell calls this limit `-u` or `-p`. It does not hold for root, so another user must be able
/// to run the program.
#[cfg(target_os = "linux")]
fn few_threads() -> Result<()> {
    for n in 1..5 {
        let limit = format!("{{ ulimit -u {n} || ulimit -p {n}; }} 2>/dev/null");
        enough_or_error(&limit, other_user()?)?;
    }
    Ok(())
}

/// A user who runs nothing, where this one is root.
#[cfg(target_os = "linux")]
fn other_user() -> Result<Option<u32>> {
    use std::os::unix::fs::MetadataExt;
    let is_root = std::fs::metadata("/proc/self")?.uid() == 0;
    Ok(is_root.then_some(64_999))
}

/// The trial, reported as ignored with the reason where the other user cannot run the program.
#[cfg(target_os = "linux")]
fn with_few_threads() -> Trial {
    use std::os::unix::process::CommandExt;
    let trial = trial(
        "serve::connections::few_threads_are_an_error_or_enough",
        few_threads,
    );
    let mut version = std::process::Command::new(env!("CARGO_BIN_EXE_ztt-wgpu"));
    version.arg("--version").stdout(std::process::Stdio::null());
    if let Ok(Some(user)) = other_user() {
        version.uid(user).gid(user);
    }
    match version.status() {
        Ok(status) if status.success() => trial,
        _ => trial
            .with_kind("no other user can run it")
            .with_ignored_flag(true),
    }
}

/// Within the limit the server either answers or says in one line why it does not start.
#[cfg(unix)]
fn enough_or_error(limit: &str, user: Option<u32>) -> Result<()> {
    use anyhow::Context;
    match Server::start_within(limit, user, "builtin", &[]) {
        Ok(server) => {
            let body = json!({"prompt": "ROMEO:", "max_tokens": 1});
            server.ok(COMPLETIONS, &body).context(limit.to_string())?;
        }
        Err(e) => {
            let said = format!("{e:#}");
            ensure!(
                said.contains("ztt-wgpu: ") && !said.contains("panicked"),
                "{limit}: {said}"
            );
        }
    }
    Ok(())
}
