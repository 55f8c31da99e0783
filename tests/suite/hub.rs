//! `org/name`: in a Hugging Face cache, and fetched from a hub, which here is a small server on
//! the loopback address.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::compare::same;
use crate::fixtures::{path, trial};
use crate::program::{Run, command, output, succeed};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hub::a_cached_model_is_found", cached),
        trial("hub::a_missing_model_is_fetched_when_asked", fetched),
    ]
}

/// `trace org/name` with the cache in `home`.
fn trace(home: &Path, hub: &str, flags: &[&str]) -> Result<Run> {
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
    let nowhere = "http://127.0.0.1:9";
    let missing = trace(home.path(), nowhere, &[])?;
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
    let found = trace(home.path(), nowhere, &["--download"])?;
    same("trace", &[found.stdout], &[expected("golden/llama-plain")?])
}

fn fetched() -> Result<()> {
    let folder = path("families/sharded");
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, std::fs::read(entry.path())?);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let hub = format!("http://{}", listener.local_addr()?);
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let files = files.clone();
            std::thread::spawn(move || serve(stream, &files));
        }
    });
    let home = tempfile::tempdir()?;
    let refused = trace(home.path(), &hub, &[])?;
    ensure!(refused.status == 1, "a model was fetched unasked");
    let found = trace(home.path(), &hub, &["--download"])?;
    ensure!(found.status == 0, "{}", found.stderr);
    let expected = expected("families/sharded")?;
    same("trace", &[found.stdout], std::slice::from_ref(&expected))?;
    // From now on it is in the cache.
    let again = trace(home.path(), "http://127.0.0.1:9", &[])?;
    same("trace", &[again.stdout], &[expected])?;
    let gone = trace(
        tempfile::tempdir()?.path(),
        "http://127.0.0.1:9",
        &["--download"],
    )?;
    ensure!(
        gone.status == 1 && gone.stderr.starts_with("ztt-wgpu: `acme/tiny`"),
        "{}",
        gone.stderr
    );
    ensure!(
        gone.stderr.trim_end().lines().count() == 1,
        "{}",
        gone.stderr
    );
    Ok(())
}

/// Answers requests as the hub does: the list of files, and ranges of files.
fn serve(mut stream: TcpStream, files: &HashMap<String, Vec<u8>>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut request, mut start, mut end) = (String::new(), 0, usize::MAX);
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
        }
        let target = request.split(' ').nth(1).context("target")?;
        let list: Vec<_> = files
            .keys()
            .map(|f| serde_json::json!({"rfilename": f}))
            .collect();
        let list = serde_json::json!({"sha": COMMIT, "siblings": list}).to_string();
        let name = target.rsplit('/').next().unwrap_or_default();
        let (status, body) = match files.get(name) {
            Some(bytes) => ("206 Partial Content", bytes.as_slice()),
            None if target.starts_with("/api/models/acme/tiny") => ("200 OK", list.as_bytes()),
            None => ("404 Not Found", &b""[..]),
        };
        let part = &body[start.min(body.len())..end.min(body.len())];
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\
             ETag: \"{name}\"\r\nX-Repo-Commit: {COMMIT}\r\n\r\n",
            part.len(),
            start + part.len().max(1) - 1,
            body.len()
        )?;
        stream.write_all(part)?;
    }
}
