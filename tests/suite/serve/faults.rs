//! A device that fails, and a model whose logits are no numbers.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{Drafter, Drafts, Engine, Options, Row};
use ztt_wgpu::model::chat_template::Variables;
use ztt_wgpu::model::{BUILTIN, Fetch, Model};
use ztt_wgpu::reference::Output;
use ztt_wgpu::schedule::{Rule, TextRules};
use ztt_wgpu::serve::batching::Backend;
use ztt_wgpu::serve::{Callers, Limits, Server as Library, Settings, runtime};

use super::server::{COMPLETIONS, DEVICE, Server, get, parts, post, wait};
use crate::adapter;
use crate::fixtures::trial;
use crate::program::Checkpoint;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::faults::a_lost_device_is_opened_again", lost),
        adapter::trial("serve::faults::a_lost_adapter_is_opened_again", |_| {
            planted()
        }),
        trial("serve::faults::what_is_no_number_is_said", not_a_number),
    ]
}

/// The reference, which fails when it is told to.
struct Failing<'m> {
    engine: Engine<'m>,
    fail: Arc<AtomicBool>,
}

fn gone() -> ztt_wgpu::Error {
    ztt_wgpu::Error::Device {
        adapter: "test".to_string(),
        message: "the device is lost".to_string(),
    }
}

impl Backend for Failing<'_> {
    fn n(&self) -> usize {
        self.engine.n_sequences()
    }

    fn n_ctx(&self) -> usize {
        self.engine.n_ctx()
    }

    fn truncate(&mut self, sequence: usize, n: usize) {
        self.engine.truncate_sequence(sequence, n);
    }

    fn n_cycles(&self) -> usize {
        self.engine.n_cycles()
    }

    fn rules(&self) -> TextRules {
        self.engine.rules()
    }

    fn drafts(&self) -> Drafts {
        self.engine.drafts()
    }

    fn drafter(&self, drafts: Drafts, rule: &Rule) -> Option<Drafter> {
        self.engine.drafter(drafts, rule)
    }

    fn draws(&self, options: &SamplingOptions) -> bool {
        self.engine.draws(options)
    }

    fn set_sampler(&mut self, sequence: usize, sampler: &Sampler) {
        self.engine.set_sampler(sequence, sampler);
    }

    fn runs_ahead(&self) -> bool {
        self.engine.runs_ahead()
    }

    fn submit(&mut self, rows: &[Row]) -> ztt_wgpu::Result<()> {
        match self.fail.swap(false, Ordering::Relaxed) {
            true => Err(gone()),
            false => Backend::submit(&mut self.engine, rows),
        }
    }

    fn take(&mut self) -> ztt_wgpu::Result<Vec<Output>> {
        Backend::take(&mut self.engine)
    }
}

fn settings() -> Settings {
    Settings {
        name: BUILTIN.to_string(),
        sampling: SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        },
        seed: None,
        max_tokens: 8,
        n_waiting: 8,
        max_body: 10_000,
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(10),
        plain_content: false,
        variables: Variables::default(),
        api_key: None,
        callers: Callers::default(),
        limits: Limits::default(),
    }
}

/// The server in this process, over a device that fails once and cannot be opened at first.
fn lost() -> Result<()> {
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let options = Options::of(&model).with_sequences(2);
    let fail = Arc::new(AtomicBool::new(false));
    let n_broken = Arc::new(AtomicUsize::new(2));
    let sequences = || {
        Ok(Failing {
            engine: Engine::on_host(&model, &options)?,
            fail: Arc::clone(&fail),
        })
    };
    let open = || {
        let left =
            n_broken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match left {
            Ok(_) => Err(gone()),
            Err(_) => sequences(),
        }
    };
    let server = Library::new(settings(), &model, sequences()?, open)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (stop, mut stopped) = tokio::sync::mpsc::unbounded_channel::<()>();
    thread::scope(|scope| -> Result<()> {
        let running = scope.spawn(move || {
            // Ready once, and then no more.
            let stop = async || assert!(stopped.recv().await.is_some());
            server.run(runtime()?, listener, stop)
        });
        let checked = after_a_fault(&url, &fail);
        stop.send(())?;
        let served = running.join().expect("a thread")?;
        checked?;
        ensure!(served.n_cut == 0, "{served:?}");
        Ok(())
    })
}

fn after_a_fault(url: &str, fail: &AtomicBool) -> Result<()> {
    let short = json!({"prompt": "ROMEO:"});
    let ask = || parts(post(url, COMPLETIONS, None, &short)?);
    let (status, before) = ask()?;
    ensure!(status == 200, "{before}");
    fail.store(true, Ordering::Relaxed);
    let (status, error) = ask()?;
    ensure!(status == 503, "{status}: {error}");
    let message = error["error"]["message"].as_str().context("message")?;
    ensure!(
        message.contains("the device is lost") && message.lines().count() == 1,
        "{message}"
    );
    // The device comes back by itself, and all requests in the meantime are answered.
    wait(|| Ok(get(url, "/health", None)?.status() == 200))?;
    let (status, after) = ask()?;
    ensure!(status == 200, "{after}");
    let text = |response: &Value| response["choices"][0]["text"].clone();
    ensure!(text(&before) == text(&after), "{before} {after}");
    Ok(())
}

/// The real binary on the real adapter recovers from a device that is lost at its twentieth wait.
fn planted() -> Result<()> {
    let variables = [("ZTT_FAULT", "lost:20")];
    let server = Server::start_on(&DEVICE, BUILTIN, &[], &variables)?;
    let short = json!({"prompt": "ROMEO:", "max_tokens": 8, "temperature": 0});
    let mut statuses = Vec::new();
    while !statuses.ends_with(&[503, 200]) {
        ensure!(statuses.len() < 20, "{statuses:?}");
        let (status, body) = parts(server.post(COMPLETIONS, &short)?)?;
        let message = body["error"]["message"].as_str().unwrap_or("device lost");
        ensure!(message.contains("device lost"), "{status}: {body}");
        statuses.push(status);
    }
    ensure!(statuses[0] == 200, "{statuses:?}");
    ensure!(server.get("/health")?.status() == 200);
    Ok(())
}

/// A model whose logits overflow, with the embedded model's tokenizer.
fn spoilt() -> Result<Checkpoint> {
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let tokenizer = model.texts.iter().find(|t| t.name == "tokenizer.json");
    let spoilt = Checkpoint::copy_of("llama-plain")?.fill("model.norm.weight", 3e38)?;
    let text = &tokenizer.context("tokenizer")?.text;
    std::fs::write(spoilt.file("tokenizer.json"), text)?;
    Ok(spoilt)
}

fn not_a_number() -> Result<()> {
    let model = spoilt()?;
    let server = Server::start(&model.name(), &[])?;
    for prompt in [json!([1, 2, 3]), json!([5])] {
        let last = prompt.as_array().context("ids")?.len() - 1;
        let error = server.refuses(COMPLETIONS, &json!({"prompt": prompt}), 503)?;
        let words = format!("position {last} hold a value that is not a number");
        ensure!(
            error["message"]
                .as_str()
                .is_some_and(|m| m.contains(&words)),
            "{error}"
        );
    }
    wait(|| Ok(server.get("/health")?.status() == 200))
}
