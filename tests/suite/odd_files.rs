//! Files that are not files, that never end, that lead elsewhere or change while they are read.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::chat::model::ChatModel;
use crate::errors::fails;
use crate::fixtures::trial;
use crate::program::{Checkpoint, command, output, process, succeed};

pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = TEXTS
        .into_iter()
        .map(|name| {
            let run = move || odd_part(name);
            trial(format!("odd_files::{name}_is_refused_by_its_kind"), run)
        })
        .collect();
    trials.extend([
        trial("odd_files::weights_are_refused_by_their_kind", weights),
        trial("odd_files::a_model_is_refused_by_its_kind", model),
        trial("odd_files::the_cache_of_the_hub_is_no_exception", hub),
        trial("odd_files::endless_texts_are_refused", endless),
        trial("odd_files::long_texts_are_refused", long),
        trial("odd_files::pipes_are_read_where_a_user_gives_them", pipes),
        trial("odd_files::shards_lie_beside_their_index", shards),
        trial("odd_files::links_are_followed", links),
        unreadable_trial(),
        trial("odd_files::a_file_that_shrinks_is_an_error", shrinks),
        trial("odd_files::a_file_that_changes_is_an_error", changes),
    ]);
    trials
}

const TEXTS: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// Makes a named pipe that nobody writes to.
pub fn pipe(path: &Path) -> Result<()> {
    let made = std::process::Command::new("mkfifo").arg(path).status()?;
    ensure!(made.success(), "mkfifo: {made}");
    Ok(())
}

/// Puts each odd thing at `path` and has `check` look at it, given words of the error.
fn each_kind(path: &Path, check: impl Fn(&[&str]) -> Result<()>) -> Result<()> {
    let _ = std::fs::remove_file(path);
    pipe(path)?;
    check(&["found a named pipe"])?;
    std::fs::remove_file(path)?;
    let socket = UnixListener::bind(path)?;
    check(&["found a socket"])?;
    drop(socket);
    std::fs::remove_file(path)?;
    std::fs::create_dir(path)?;
    check(&["found a folder"])?;
    std::fs::remove_dir(path)?;
    for (target, words) in [
        ("/dev/zero", &["found a character device"][..]),
        (
            "/nowhere/else",
            &["a symbolic link to `/nowhere/else`", "nothing"],
        ),
    ] {
        symlink(target, path)?;
        check(words)?;
        std::fs::remove_file(path)?;
    }
    symlink(path, path)?;
    check(&["symbolic links"])?;
    std::fs::remove_file(path)?;
    Ok(())
}

fn odd_part(name: &str) -> Result<()> {
    let model = Checkpoint::copy_of("llama-plain")?;
    each_kind(&model.file(name), |words| {
        fails(&["inspect", &model.name()], 1, &[&[name], words].concat())
    })
}

fn weights() -> Result<()> {
    let model = Checkpoint::copy_of("llama-plain")?;
    for name in ["model.safetensors", "model.safetensors.index.json"] {
        each_kind(&model.file(name), |words| {
            fails(&["inspect", &model.name()], 1, &[&[name], words].concat())
        })?;
    }
    // A shard.
    let index = r#"{"weight_map": {"a": "shard.safetensors"}}"#;
    std::fs::write(model.file("model.safetensors.index.json"), index)?;
    each_kind(&model.file("shard.safetensors"), |words| {
        let words = [&["shard.safetensors"], words].concat();
        fails(&["inspect", &model.name()], 1, &words)
    })
}

fn model() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for name in ["m.safetensors", "m.json"] {
        let path = folder.path().join(name);
        pipe(&path)?;
        let shown = path.display().to_string();
        fails(&["inspect", &shown], 1, &[&shown, "found a named pipe"])?;
    }
    fails(
        &["inspect", "/dev/zero"],
        1,
        &["`/dev/zero`", "found a character device"],
    )?;
    fails(&["inspect", "/dev/stdin"], 1, &["`/dev/stdin`", "found"])
}

/// Neither the name of the newest revision nor the user's token is waited for.
fn hub() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let references = cache.path().join("models--org--name/refs");
    std::fs::create_dir_all(&references)?;
    pipe(&references.join("main"))?;
    let token = cache.path().join("token");
    pipe(&token)?;
    let mut program = command(&["inspect", "org/name"]);
    program.env("HF_HUB_CACHE", cache.path());
    program.env("HF_TOKEN_PATH", token);
    let run = output(program)?;
    ensure!(run.status == 1, "{}: {}", run.status, run.stderr);
    for word in ["refs/main", "found a named pipe"] {
        ensure!(run.stderr.contains(word), "no `{word}` in {}", run.stderr);
    }
    Ok(())
}

fn endless() -> Result<()> {
    let zero = ["-f", "/dev/zero"];
    for arguments in [
        &["run", "builtin"][..],
        &["perplexity", "builtin"],
        &["calibrate", "builtin"],
    ] {
        let words = ["`/dev/zero`", "a file or a pipe", "a character device"];
        fails(&[arguments, &zero].concat(), 1, &words)?;
    }
    let words = ["`/dev/zero`", "a character device"];
    fails(&["bench", "compare", "/dev/zero", "/dev/zero"], 1, &words)?;
    // Standard input may be of any kind: it is read as far as the bound.
    let chat_model = ChatModel::new()?;
    let chat_name = chat_model.name();
    for (arguments, words) in [
        (
            &["run", "builtin", "-"][..],
            &["standard input", "at most 256 MiB", "found more"][..],
        ),
        (
            &["chat", &chat_name, "--adapter", "cpu"],
            &["standard input", "at most 16 MiB"],
        ),
    ] {
        let mut program = process(arguments);
        let zero = std::fs::File::open("/dev/zero")?;
        let run = program.stdin(zero).output()?;
        let stderr = String::from_utf8_lossy(&run.stderr);
        let last = stderr.lines().last().unwrap_or_default();
        ensure!(run.status.code() == Some(1), "{}: {stderr}", run.status);
        for word in words {
            ensure!(last.contains(word), "no `{word}` in {last}");
        }
    }
    Ok(())
}

/// Sparse files one byte longer than the part that is read of them.
fn long() -> Result<()> {
    for name in TEXTS {
        let mib = if name == "tokenizer.json" { 64 } else { 16 };
        let model = Checkpoint::copy_of("llama-plain")?;
        let file = std::fs::File::create(model.file(name))?;
        file.set_len((mib << 20) + 1)?;
        let expected = format!("at most {mib} MiB");
        fails(&["inspect", &model.name()], 1, &[name, &expected])?;
    }
    Ok(())
}

fn pipes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("prompt");
    pipe(&path)?;
    let shown = path.display().to_string();
    let flags = ["-n", "2", "--temperature", "0", "--adapter", "cpu"];
    let through_pipe = {
        let writer = std::thread::spawn(move || std::fs::write(path, "Call me Ishmael.\n"));
        let printed = succeed(&[&["run", "builtin", "--file", &shown], &flags[..]].concat())?;
        writer.join().map_err(|_| anyhow::anyhow!("writer"))??;
        printed
    };
    let given = succeed(&[&["run", "builtin", "Call me Ishmael."], &flags[..]].concat())?;
    ensure!(through_pipe == given, "{through_pipe:?} for {given:?}");
    let arguments = [&["run", "builtin", "--file", "/dev/stdin"], &flags[..]].concat();
    let mut program = command(&arguments);
    program.write_stdin("Call me Ishmael.");
    let run = output(program)?;
    ensure!(run.stdout == given, "{}", run.stderr);
    Ok(())
}

fn shards() -> Result<()> {
    let model = Checkpoint::copy_of("llama-plain")?;
    let outside = tempfile::tempdir()?;
    let whole = outside.path().join("w.safetensors");
    std::fs::rename(model.file("model.safetensors"), &whole)?;
    let absolute = whole.display().to_string();
    let index = model.file("model.safetensors.index.json");
    for name in [
        &absolute,
        "../w.safetensors",
        "x/../w.safetensors",
        "x/w.safetensors",
        "x\\w.safetensors",
        "..",
        ".",
        "",
        "w\0.safetensors",
    ] {
        let json = serde_json::json!({"weight_map": {"model.norm.weight": name}});
        std::fs::write(&index, json.to_string())?;
        let words = [
            "model.safetensors.index.json",
            "`weight_map.model.norm.weight`",
            "the name of a file in the same folder",
        ];
        fails(&["inspect", &model.name()], 1, &words)?;
    }
    Ok(())
}

/// The hub's cache is made of links.
fn links() -> Result<()> {
    let model = Checkpoint::copy_of("llama-plain")?;
    let linked = Checkpoint::empty()?;
    for name in ["config.json", "model.safetensors"] {
        symlink(model.file(name), linked.file(name))?;
    }
    succeed(&["inspect", &linked.name()]).map(drop)
}

/// Ignored where the tests run as the superuser, who reads everything.
fn unreadable_trial() -> Trial {
    let name = "odd_files::unreadable_files_are_named";
    let folder = tempfile::tempdir();
    let is_root = folder
        .and_then(|folder| folder.path().metadata())
        .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    match is_root {
        true => trial(name, unreadable)
            .with_kind("the superuser reads everything")
            .with_ignored_flag(true),
        false => trial(name, unreadable),
    }
}

fn unreadable() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let model = Checkpoint::copy_of("llama-plain")?;
    let file = model.file("config.json");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o000))?;
    fails(
        &["inspect", &model.name()],
        1,
        &["config.json", "Permission denied"],
    )
}

/// A program that has opened the model `file` and waits for its text.
fn waiting(file: &Path) -> Result<Child> {
    let shown = file.display().to_string();
    let mut program = process(&["trace", &shown, "-", "--adapter", "cpu"]);
    program.stdin(Stdio::piped());
    program.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = program.spawn()?;
    let file = file.canonicalize()?;
    let open = format!("/proc/{}/fd", child.id());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let entries = std::fs::read_dir(&open)?.flatten();
        let mut targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        if targets.any(|target| target == file) {
            // The header and the texts in it are read at once.
            std::thread::sleep(Duration::from_millis(500));
            return Ok(child);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("the model was never opened")
}

/// Lets the program go on, which must end with one line that contains the words.
fn ends(mut child: Child, words: &[&str]) -> Result<()> {
    let mut stdin = child.stdin.take().context("stdin")?;
    stdin.write_all(b"Call me Ishmael.")?;
    drop(stdin);
    let run = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.code() == Some(1), "{}: {stderr}", run.status);
    ensure!(stderr.lines().count() == 1, "{stderr}");
    for word in words {
        ensure!(stderr.contains(word), "no `{word}` in {stderr}");
    }
    Ok(())
}

fn changed(change: impl Fn(&Path) -> Result<()>, words: &[&str]) -> Result<()> {
    if cfg!(not(target_os = "linux")) {
        // Only Linux tells which files a program has open.
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("m.safetensors");
    let shown = file.display().to_string();
    succeed(&["pack", "builtin", "-o", &shown])?;
    let child = waiting(&file)?;
    change(&file)?;
    ends(child, &[&[shown.as_str()], words].concat())
}

fn shrinks() -> Result<()> {
    let cut = |file: &Path| -> Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(file)?;
        Ok(file.set_len(file.metadata()?.len() / 8)?)
    };
    changed(cut, &["does not change while it is read", "a shorter one"])
}

fn changes() -> Result<()> {
    let touch = |file: &Path| -> Result<()> {
        let bytes = std::fs::read(file)?;
        let mut file = std::fs::OpenOptions::new().write(true).open(file)?;
        Ok(file.write_all(&bytes[..16])?)
    };
    changed(touch, &["does not change while it is read", "written to"])
}
