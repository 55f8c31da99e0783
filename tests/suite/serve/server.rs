//! A server of a test, and requests to it.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use ureq::{Agent, Body, BodyReader, http::Response};

use crate::program::environment;

/// The reference. Servers, and the runs they are compared with, run on it unless a test is about
/// the adapter.
pub const HOST: [&str; 2] = ["--adapter", "cpu"];

/// The best adapter, with all that it computes in f32.
pub const DEVICE: [&str; 2] = ["--kv-type", "f32"];

/// The routes that give texts.
pub const COMPLETIONS: &str = "/v1/completions";
pub const CHAT: &str = "/v1/chat/completions";

const PROGRAM: &str = env!("CARGO_BIN_EXE_ztt-wgpu");

/// How long a test waits for an event that must come: only a failing one waits as long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server; it is killed when this is dropped.
pub struct Server {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    pub url: String,
    key: Option<String>,
}

impl Server {
    /// `serve` of `model` with these flags on the reference, once it listens.
    pub fn start(model: &str, flags: &[&str]) -> Result<Self> {
        Self::start_on(&HOST, model, flags, &[])
    }

    /// `serve` of `model` with these flags on `adapter`, with these variables, once it listens.
    pub fn start_on(
        adapter: &[&str],
        model: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", model, "--port", "0"]);
        command.args(adapter).args(flags);
        command.envs(variables.iter().copied());
        Self::start_command(command)
    }

    /// `serve` on the reference within the limits of a shell's `ulimit`; as another user where one
    /// is given.
    #[cfg(unix)]
    pub fn start_within(
        limit: &str,
        user: Option<u32>,
        model: &str,
        flags: &[&str],
    ) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sh");
        let script = format!("{limit} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, PROGRAM, "serve", model, "--port", "0"]);
        command.args(HOST).args(flags);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        Self::start_command(command)
    }

    fn start_command(mut command: Command) -> Result<Self> {
        let given: Vec<_> = command
            .get_envs()
            .map(|(name, _)| name.to_owned())
            .collect();
        environment(|variable, value| match value {
            _ if given.iter().any(|name| name == variable) => {}
            Some(value) => drop(command.env(variable, value)),
            None => drop(command.env_remove(variable)),
        });
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("stderr")?;
        let mut stderr = BufReader::new(stderr).lines();
        let mut said = String::new();
        for line in stderr.by_ref() {
            let line = line?;
            if let Some(url) = line.strip_prefix("listening on ") {
                return Ok(Self {
                    child,
                    stderr,
                    url: url.to_string(),
                    key: None,
                });
            }
            said += &line;
        }
        bail!("it does not listen: {said}")
    }

    /// Every request from now on brings this key along.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_string());
        self
    }

    pub fn get(&self, path: &str) -> Result<Response<Body>> {
        get(&self.url, path, self.key.as_deref())
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Response<Body>> {
        post(&self.url, path, self.key.as_deref(), body)
    }

    /// A response that must have status 200.
    pub fn ok(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, value) = parts(self.post(path, body)?)?;
        ensure!(status == 200, "{body}: {status}: {value}");
        Ok(value)
    }

    /// The error of a response that must have this status.
    pub fn refuses(&self, path: &str, body: &Value, status: u16) -> Result<Value> {
        let (found, value) = parts(self.post(path, body)?)?;
        ensure!(found == status, "{body}: {found}, not {status}: {value}");
        Ok(value["error"].clone())
    }

    /// A stream, which must have begun.
    pub fn stream(&self, path: &str, body: &Value) -> Result<Events> {
        let response = self.post(path, body)?;
        ensure!(response.status() == 200, "{body}: {}", response.status());
        Ok(Events {
            lines: BufReader::new(response.into_body().into_reader()).lines(),
        })
    }

    /// A figure of /metrics, by its whole name.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.get("/metrics")?.body_mut().read_to_string()?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value
            .with_context(|| format!("no {name} in {text}"))?
            .parse()?)
    }

    /// Waits until a figure is `value`.
    pub fn wait_for(&self, name: &str, value: f64) -> Result<()> {
        wait(|| Ok(self.metric(name)? == value)).with_context(|| format!("{name} {value}"))
    }

    /// The most memory that it had so far, in KiB. Linux alone tells.
    pub fn peak_memory(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(file)?;
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.trim().strip_suffix(" kB"));
        Ok(peak.context("VmHWM")?.parse()?)
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status()?;
        ensure!(sent.success(), "kill: {sent}");
        Ok(())
    }

    /// Waits for the end: the status, and the rest of standard error.
    pub fn end(mut self) -> Result<(Option<i32>, String)> {
        let mut rest = String::new();
        for line in self.stderr.by_ref() {
            rest += &(line? + "\n");
        }
        Ok((self.child.wait()?.code(), rest))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The events of a stream; one that is dropped goes away.
pub struct Events {
    lines: Lines<BufReader<BodyReader<'static>>>,
}

impl Events {
    /// The data of the next event; `None` at the end.
    pub fn next_data(&mut self) -> Result<Option<String>> {
        for line in self.lines.by_ref() {
            if let Some(data) = line?.strip_prefix("data: ") {
                return Ok(Some(data.to_string()));
            }
        }
        Ok(None)
    }

    /// All events but the last, which must be `[DONE]`.
    pub fn all(mut self) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        while let Some(data) = self.next_data()? {
            if data == "[DONE]" {
                ensure!(self.next_data()?.is_none(), "more after the end");
                return Ok(events);
            }
            events.push(serde_json::from_str(&data)?);
        }
        bail!("the stream breaks off after {events:?}")
    }
}

/// The texts of a stream's choices, of `n`.
pub fn texts(events: &[Value], n: usize) -> Result<Vec<String>> {
    let mut texts = vec![String::new(); n];
    for choice in events
        .iter()
        .flat_map(|e| e["choices"].as_array())
        .flatten()
    {
        let index = choice["index"].as_u64().context("index")? as usize;
        let text = choice["text"]
            .as_str()
            .or(choice["delta"]["content"].as_str());
        texts[index] += text.unwrap_or_default();
    }
    Ok(texts)
}

/// A client that takes every status for a response.
pub fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE));
    config.build().into()
}

pub fn get(url: &str, path: &str, key: Option<&str>) -> Result<Response<Body>> {
    let mut request = agent().get(format!("{url}{path}"));
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    Ok(request.call()?)
}

pub fn post(url: &str, path: &str, key: Option<&str>, body: &Value) -> Result<Response<Body>> {
    let mut request = agent().post(format!("{url}{path}"));
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    Ok(request.send_json(body)?)
}

/// Status and body.
pub fn parts(mut response: Response<Body>) -> Result<(u16, Value)> {
    let status = response.status().as_u16();
    Ok((status, response.body_mut().read_json()?))
}

/// Looks again and again until something is so.
pub fn wait(is_so: impl Fn() -> Result<bool>) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if is_so()? {
            return Ok(());
        }
        sleep(PAUSE);
    }
    bail!("it does not come to that")
}
