//! `org/name`: in a Hugging Face cache, and fetched from a hub, which here is a small server on
//! the loopback address.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use assert_cmd::Command;
use libtest_mimic::Trial;

use crate::compare::same;
use crate::fixtures::{path, trial};
use crate::program::{Run, command, output, succeed};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hub::a_cached_model_is_found", cached),
        trial("hub::a_missing_model_is_fetched_when_asked", fetched),
        trial("hub::only_what_is_named_is_fetched", only_what_is_named),
        trial(
            "hub::variables_mean_what_they_mean_to_its_library",
            variables,
        ),
        trial("hub::a_broken_download_is_no_model", broken_off),
        trial("hub::a_part_of_a_model_is_completed", completed),
    ]
}

/// An address that nothing answers at.
const NOWHERE: &str = "http://127.0.0.1:9";

/// `trace org/name`, with none of the variables that say where the hub is.
fn prepared(flags: &[&str]) -> Command {
    let arguments = [
        "trace",
        "acme/tiny",
        "--ids",
        "1 2 3",
        "--json",
        "--adapter",
        "cpu",
    ];
    let mut command = command(&[&arguments, flags].concat());
    for variable in [
        "HF_HOME",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "XDG_CACHE_HOME",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs `trace org/name` with the Hugging Face cache in `home` and the hub at `hub`.
fn trace(home: &Path, hub: &str, flags: &[&str]) -> Result<Run> {
    let mut command = prepared(flags);
    command.env("HF_HOME", home).env("HF_ENDPOINT", hub);
    output(command)
}

fn expected(case: &str) -> Result<String> {
    let folder = path(case).display().to_string();
    succeed(&[
        "trace",
        &folder,
        "--ids",
        "1 2 3",
        "--json",
        "--adapter",
        "cpu",
    ])
}

fn cached() -> Result<()> {
    let home = tempfile::tempdir()?;
    let missing = trace(home.path(), NOWHERE, &[])?;
    ensure!(missing.status == 1 && missing.stdout.is_empty());
    for word in ["`acme/tiny`", "Hugging Face cache", "`--download`"] {
        ensure!(
            missing.stderr.contains(word),
            "no {word} in {}",
            missing.stderr
        );
    }
    let repo = home.path().join("hub/models--acme--tiny");
    let snapshot = repo.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot)?;
    std::fs::create_dir_all(repo.join("refs"))?;
    std::fs::write(repo.join("refs/main"), COMMIT)?;
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(path("golden/llama-plain").join(file), snapshot.join(file))?;
    }
    let found = trace(home.path(), NOWHERE, &["--download"])?;
    same("trace", &[found.stdout], &[expected("golden/llama-plain")?])
}

/// A hub on the loopback address, and the requests it got.
struct Hub {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// A hub with these files.
    fn new(files: HashMap<String, Vec<u8>>) -> Result<Self> {
        Self::start(files, None)
    }

    /// A hub that does not send all of the weights.
    fn breaking(files: HashMap<String, Vec<u8>>, breaks: Break) -> Result<Self> {
        Self::start(files, Some(breaks))
    }

    fn start(files: HashMap<String, Vec<u8>>, breaks: Option<Break>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log) = (files.clone(), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, &files, &log, breaks));
            }
        });
        Ok(Self { address, requests })
    }

    /// The requests since the last call: the first line of each and its token.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().expect("the log"))
    }
}

/// The files of a fixture.
fn files_of(case: &str) -> Result<HashMap<String, Vec<u8>>> {
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(path(case))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, std::fs::read(entry.path())?);
    }
    Ok(files)
}

fn fetched() -> Result<()> {
    let hub = Hub::new(files_of("families/sharded")?)?;
    let home = tempfile::tempdir()?;
    let refused = trace(home.path(), &hub.address, &[])?;
    ensure!(refused.status == 1, "a model was fetched unasked");
    let found = trace(home.path(), &hub.address, &["--download"])?;
    ensure!(found.status == 0, "{}", found.stderr);
    let expected = expected("families/sharded")?;
    same("trace", &[found.stdout], std::slice::from_ref(&expected))?;
    // From now on it is in the cache, under its branch.
    let again = trace(home.path(), NOWHERE, &[])?;
    same("trace", &[again.stdout], &[expected])?;
    let refs = std::fs::read_dir(home.path().join("hub/models--acme--tiny/refs"))?;
    let refs: std::io::Result<Vec<_>> = refs.map(|entry| Ok(entry?.file_name())).collect();
    same("refs", &refs?, &["main".into()])?;
    one_line(
        &trace(tempfile::tempdir()?.path(), NOWHERE, &["--download"])?,
        &["`acme/tiny`"],
    )
}

/// Another program has put a part of a model in the cache: the rest of the same revision is
/// fetched, where the hub answers.
fn completed() -> Result<()> {
    let home = tempfile::tempdir()?;
    let repo = home.path().join("hub/models--acme--tiny");
    let snapshot = repo.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot)?;
    std::fs::create_dir_all(repo.join("refs"))?;
    std::fs::write(repo.join("refs/main"), COMMIT)?;
    let mut files = files_of("golden/llama-plain")?;
    for file in ["config.json", "model.safetensors"] {
        std::fs::write(snapshot.join(file), &files[file])?;
    }
    files.insert("generation_config.json".to_string(), b"{}".to_vec());
    let hub = Hub::new(files)?;
    let found = trace(home.path(), &hub.address, &["--download"])?;
    same("trace", &[found.stdout], &[expected("golden/llama-plain")?])?;
    ensure!(
        snapshot.join("generation_config.json").exists(),
        "{:?}",
        hub.asked()
    );
    let asked = hub.asked();
    let is_weights = |line: &String| line.contains("model.safetensors");
    ensure!(!asked.iter().any(is_weights), "{asked:?}");
    ensure!(asked.iter().any(|line| line.contains(COMMIT)), "{asked:?}");
    Ok(())
}

/// A run that failed in one line with these words.
fn one_line(run: &Run, words: &[&str]) -> Result<()> {
    let line = run.stderr.trim_end();
    ensure!(run.status == 1 && line.starts_with("ztt-wgpu: "), "{line}");
    ensure!(line.lines().count() == 1, "{line}");
    for word in words {
        ensure!(line.contains(word), "no {word} in {line}");
    }
    Ok(())
}

/// Beside the weights that the index names, and the texts, a repository may hold much else.
fn only_what_is_named() -> Result<()> {
    let mut files = files_of("families/sharded")?;
    for other in [
        "consolidated.safetensors",
        "adapter_model.safetensors",
        "pytorch_model.bin",
        "README.md",
        "model-00009-of-00009.safetensors",
        "expected.safetensors",
        "optimizer.pt",
    ] {
        files.insert(other.to_string(), b"others".to_vec());
    }
    for text in ["generation_config.json", "special_tokens_map.json"] {
        files.insert(text.to_string(), b"{}".to_vec());
    }
    let names = |asked: Vec<String>| {
        let resolved = asked.into_iter().filter(|line| line.contains("/resolve/"));
        let name = |line: String| Some(line.split(' ').nth(1)?.rsplit('/').next()?.to_string());
        resolved.filter_map(name).collect::<BTreeSet<String>>()
    };
    let named = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<BTreeSet<_>>();
    let texts = [
        "config.json",
        "generation_config.json",
        "special_tokens_map.json",
    ];
    let hub = Hub::new(files.clone())?;
    let home = tempfile::tempdir()?;
    let found = trace(home.path(), &hub.address, &["--download"])?;
    ensure!(found.status == 0, "{}", found.stderr);
    let shards = [
        "model.safetensors.index.json",
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
    ];
    ensure!(
        names(hub.asked()) == named(&[&texts[..], &shards].concat()),
        "with an index"
    );
    // With a single file the index and its shards are not needed.
    for (name, bytes) in files_of("golden/llama-plain")? {
        files.insert(name, bytes);
    }
    let hub = Hub::new(files)?;
    let home = tempfile::tempdir()?;
    let found = trace(home.path(), &hub.address, &["--download"])?;
    ensure!(found.status == 0, "{}", found.stderr);
    let single = [&texts[..], &["model.safetensors"]].concat();
    ensure!(names(hub.asked()) == named(&single), "with a single file");
    // Repositories that lack a file which is needed, or have weights that are not read.
    let gone = |files: &[(&str, &str)], words: &[&str]| -> Result<()> {
        let files = files
            .iter()
            .map(|(n, text)| (n.to_string(), text.as_bytes().to_vec()));
        let hub = Hub::new(files.collect())?;
        one_line(
            &trace(tempfile::tempdir()?.path(), &hub.address, &["--download"])?,
            words,
        )
    };
    let index = r#"{"weight_map": {"a": "../model-1.safetensors"}}"#;
    gone(
        &[(shards[0], index), ("config.json", "{}")],
        &["acme--tiny", "`../model-1.safetensors`"],
    )?;
    gone(
        &[("model.safetensors", "w")],
        &["`acme/tiny`", "no `config.json`"],
    )?;
    let bin = [
        "found pytorch_model.bin, which is not read",
        "save_pretrained",
    ];
    gone(&[("pytorch_model.bin", "w"), ("config.json", "{}")], &bin)
}

/// The variables of the hub's own library.
fn variables() -> Result<()> {
    let hub = Hub::new(files_of("golden/llama-plain")?)?;
    let folder = tempfile::tempdir()?;
    let run = |variables: &[(&str, &str)], flags: &[&str]| -> Result<Run> {
        let mut command = prepared(flags);
        command
            .env("HF_ENDPOINT", &hub.address)
            .env("HOME", folder.path());
        for (name, value) in variables {
            command.env(name, value);
        }
        output(command)
    };
    let at = |name: &str| folder.path().join(name).display().to_string();
    let is_found = |what: &str, run: Run| {
        ensure!(run.status == 0, "{what}: {}", run.stderr);
        same(what, &hub.asked(), &[])
    };
    // Offline nothing is asked for.
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let offline = run(&[(variable, "1"), ("HF_HOME", &at("c2"))], &["--download"])?;
        one_line(&offline, &["`acme/tiny`", variable, "offline"])?;
        same(variable, &hub.asked(), &[])?;
    }
    let anonymous = run(&[("HF_HOME", &at("c1"))], &["--download"])?;
    ensure!(anonymous.status == 0, "{}", anonymous.stderr);
    let asked = hub.asked();
    ensure!(
        !asked.is_empty() && asked.iter().all(|line| line.ends_with(" -")),
        "{asked:?}"
    );
    is_found(
        "offline",
        run(
            &[("HF_HUB_OFFLINE", "1"), ("HF_HOME", &at("c1"))],
            &["--download"],
        )?,
    )?;
    for (what, file) in [("HF_TOKEN", None), ("a file", Some("hf_secret\n"))] {
        let home = at(what);
        std::fs::create_dir_all(&home)?;
        if let Some(text) = file {
            std::fs::write(folder.path().join(what).join("token"), text)?;
        }
        let token = ("HF_TOKEN", if file.is_some() { "" } else { "hf_secret" });
        let sent = run(&[token, ("HF_HOME", &home)], &["--download"])?;
        ensure!(sent.status == 0, "{}", sent.stderr);
        let asked = hub.asked();
        let token = " bearer hf_secret";
        ensure!(
            !asked.is_empty() && asked.iter().all(|line| line.ends_with(token)),
            "{asked:?}"
        );
    }
    // The cache of the first run, by its other names.
    std::fs::create_dir(folder.path().join("xdg"))?;
    std::fs::rename(
        folder.path().join("c1"),
        folder.path().join("xdg/huggingface"),
    )?;
    let cache = at("xdg/huggingface/hub");
    is_found("HF_HUB_CACHE", run(&[("HF_HUB_CACHE", &cache)], &[])?)?;
    is_found(
        "the old name",
        run(&[("HUGGINGFACE_HUB_CACHE", &cache)], &[])?,
    )?;
    is_found(
        "XDG_CACHE_HOME",
        run(&[("XDG_CACHE_HOME", &at("xdg"))], &[])?,
    )?;
    is_found("a home", run(&[("HF_HOME", "~/xdg/huggingface")], &[])?)?;
    let scratch = at("xdg");
    is_found(
        "a variable",
        run(
            &[("HF_HOME", "$SCRATCH/huggingface"), ("SCRATCH", &scratch)],
            &[],
        )?,
    )
}

/// A download that broke off is not taken for a model, and is continued.
fn broken_off() -> Result<()> {
    let whole = files_of("golden/llama-plain")?;
    let expected = expected("golden/llama-plain")?;
    let n = whole["model.safetensors"].len();
    for breaks in [Break::Closes, Break::SaysLess] {
        let home = tempfile::tempdir()?;
        let hub = Hub::breaking(whole.clone(), breaks)?;
        let broken = trace(home.path(), &hub.address, &["--download"])?;
        one_line(&broken, &["`acme/tiny/model.safetensors`"])?;
        let missing = trace(home.path(), NOWHERE, &[])?;
        one_line(&missing, &["Hugging Face cache", "`--download`"])?;
        let hub = Hub::new(whole.clone())?;
        let found = trace(home.path(), &hub.address, &["--download"])?;
        ensure!(found.status == 0, "{}", found.stderr);
        same("trace", &[found.stdout], std::slice::from_ref(&expected))?;
    }
    // The partial file may hold all bytes already.
    let home = tempfile::tempdir()?;
    let blobs = home.path().join("hub/models--acme--tiny/blobs");
    std::fs::create_dir_all(&blobs)?;
    for length in [n, n + 1] {
        std::fs::write(blobs.join("model.part"), vec![7; length])?;
        let hub = Hub::new(whole.clone())?;
        let found = trace(home.path(), &hub.address, &["--download"])?;
        ensure!(found.status == 0, "{}", found.stderr);
        same("trace", &[found.stdout], std::slice::from_ref(&expected))?;
        std::fs::remove_dir_all(home.path().join("hub/models--acme--tiny/snapshots"))?;
    }
    Ok(())
}

/// How a hub fails to send the weights.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Break {
    /// The connection ends before all announced bytes were sent.
    Closes,
    /// Less is announced than there is.
    SaysLess,
}

/// Answers requests as the hub does: the list of files, and ranges of files.
fn serve(
    mut stream: TcpStream,
    files: &HashMap<String, Vec<u8>>,
    log: &Mutex<Vec<String>>,
    breaks: Option<Break>,
) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut request, mut start, mut end) = (String::new(), 0, usize::MAX);
        let mut token = "-".to_string();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(range) = header.strip_prefix("range: bytes=") {
                let (from, to) = range.split_once('-').context("range")?;
                start = from.parse()?;
                end = to.parse().map_or(usize::MAX, |n: usize| n + 1);
            }
            if let Some(value) = header.strip_prefix("authorization: ") {
                token = value.to_string();
            }
        }
        let line = format!("{} {token}", request.trim());
        log.lock().expect("the log").push(line);
        let target = request.split(' ').nth(1).context("target")?;
        let list: Vec<_> = files
            .keys()
            .map(|f| serde_json::json!({"rfilename": f}))
            .collect();
        let list = serde_json::json!({"sha": COMMIT, "siblings": list}).to_string();
        let name = target.rsplit('/').next().unwrap_or_default();
        let (status, body) = match files.get(name) {
            Some(bytes) if start >= bytes.len() => ("416 Range Not Satisfiable", &b""[..]),
            Some(bytes) => ("206 Partial Content", bytes.as_slice()),
            None if target.starts_with("/api/models/acme/tiny") => ("200 OK", list.as_bytes()),
            None => ("404 Not Found", &b""[..]),
        };
        let part = &body[start.min(body.len())..end.min(body.len())];
        let breaks = breaks.filter(|_| name == "model.safetensors" && end == usize::MAX);
        let sent = if breaks.is_some() {
            part.len() / 2
        } else {
            part.len()
        };
        let announced = if breaks == Some(Break::SaysLess) {
            sent
        } else {
            part.len()
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nContent-Range: bytes {start}-{}/{}\r\n\
             ETag: \"{name}\"\r\nX-Repo-Commit: {COMMIT}\r\n\r\n",
            start + part.len().max(1) - 1,
            body.len()
        )?;
        stream.write_all(&part[..sent])?;
        if breaks.is_some() {
            return Ok(());
        }
    }
}
