//! A client that sends any bytes, be they HTTP or not.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::server::Server;

/// How long a test waits for a byte: only a failing one waits as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Response {
    /// The values of a header, which `name` gives in lower case, with commas between them.
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let values: Vec<_> = lines.filter(|(n, _)| *n == name).map(|(_, v)| v).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// An error of OpenAI's shape that must have this status.
    pub fn error(&self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "not {status}: {self:?}");
        let kind = self.header("content-type");
        ensure!(kind.as_deref() == Some("application/json"), "{self:?}");
        let value: Value = serde_json::from_str(&self.body).with_context(|| self.body.clone())?;
        let error = value["error"].as_object().context("no error")?;
        let names: Vec<_> = error.keys().map(String::as_str).collect();
        ensure!(names == ["message", "type", "param", "code"], "{value}");
        ensure!(value["error"]["message"].is_string(), "{value}");
        Ok(value["error"].clone())
    }
}

/// The server's host and port: its URL without `http://`.
pub fn address(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

/// A connection that has sent `bytes`.
pub fn send(server: &Server, bytes: impl AsRef<[u8]>) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address(server))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes.as_ref())?;
    Ok(stream)
}

/// Reads until the server closes the connection, be it by a reset. Fails where it does not.
pub fn read_to_end(stream: &mut TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset => {
            bail!("the connection stays open: {e}")
        }
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The one response of a connection that ends after it.
pub fn response(stream: &mut TcpStream) -> Result<Response> {
    parse(&read_to_end(stream)?)
}

pub fn parse(text: &str) -> Result<Response> {
    let (head, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("no head: {text:?}"))?;
    let status = head.get(9..12).context("status")?.parse()?;
    Ok(Response {
        status,
        head: head.to_lowercase(),
        body: body.to_string(),
    })
}

/// Sends a request whose header has these lines, and `Host` where none of them is one.
pub fn ask(server: &Server, line: &str, headers: &[&str]) -> Result<Response> {
    ask_with(server, line, headers, "")
}

/// Sends a request with these header lines, `Host` where none of them is one, and a body of JSON.
pub fn ask_with(server: &Server, line: &str, headers: &[&str], body: &str) -> Result<Response> {
    let mut text = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|h| h.starts_with("Host:")) {
        text += &format!("Host: {}\r\n", address(server));
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    if !body.is_empty() {
        let n = body.len();
        text += &format!("Content-Type: application/json\r\nContent-Length: {n}\r\n");
    }
    response(&mut send(server, text + "\r\n" + body)?)
}

/// Whether the server still answers.
pub fn is_well(server: &Server) -> Result<()> {
    let response = ask(server, "GET /health", &[])?;
    ensure!(response.status == 200, "{response:?}");
    Ok(())
}

/// Closes the writing half.
pub fn half_close(stream: &TcpStream) -> Result<()> {
    Ok(stream.shutdown(Shutdown::Write)?)
}
