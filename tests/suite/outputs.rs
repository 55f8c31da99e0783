//! Files and folders that are written: whole or not at all, never over an input, with the
//! permissions that the user wants.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::compare::same;
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::odd_files::pipe;
use crate::program::{Checkpoint, process, run, shell, succeed};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("outputs::the_model_is_not_written_over", own_input),
        trial("outputs::outputs_are_different_files", two_outputs),
        trial("outputs::a_text_is_not_written_over", own_text),
        trial("outputs::packing_gives_the_same_bytes", same_bytes),
        trial("outputs::permissions_follow_the_umask", permissions),
        trial("outputs::links_to_outputs_stay", links),
        trial("outputs::pipes_and_devices_stay", special),
        trial("outputs::standard_output_is_a_file_like_others", stdout),
        trial("outputs::no_more_room_leaves_nothing", no_room),
        trial("outputs::signals_leave_nothing", signals),
        trial("outputs::two_writers_are_one_too_many", two_writers),
        trial("outputs::what_was_left_behind_is_cleared_up", left_behind),
        trial("outputs::a_full_cache_leaves_nothing", full_cache),
    ]
}

const ONE_EACH: [&str; 4] = ["--head", "1", "--tail", "1"];

/// The names of all that is in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn own_input() -> Result<()> {
    let model = Checkpoint::copy_of("llama-plain")?;
    let other = tempfile::tempdir()?;
    let (name, weights) = (model.name(), model.file("model.safetensors"));
    let before = fs::read(&weights)?;
    let link = other.path().join("link");
    symlink(&weights, &link)?;
    let hard = model.path().join("hard");
    fs::hard_link(&weights, &hard)?;
    let folder = other.path().join("folder");
    symlink(model.path(), &folder)?;
    let own_name = model.path().file_name().context("a name")?;
    let spelled = model
        .path()
        .join("./..")
        .join(own_name)
        .join("./model.safetensors");
    let through = folder.join("model.safetensors");
    for file in [&weights, &link, &hard, &spelled, &through] {
        let file = shown(file);
        let words = [file.as_str(), "that the model is not read from"];
        fails(&["pack", &name, "-o", &file], 1, &words)?;
        for flag in ["--logits", "--html"] {
            let arguments = ["trace", &name, "--ids", "1 2", flag, &file];
            fails(&arguments, 1, &words)?;
        }
    }
    let config = shown(&model.file("config.json"));
    fails(&["pack", &name, "-o", &config], 1, &["config.json"])?;
    let bench = ["bench", &name, "--adapter", "cpu", "--html", &config];
    fails(&bench, 1, &["that the model is not read from"])?;
    for output in [model.path(), &folder, &model.path().join(".")] {
        let output = shown(output);
        let quantize = ["quantize", &name, "--to", "q8_0", "-o", &output];
        fails(&quantize, 1, &["a new or empty folder"])?;
        let convert = ["convert", &name, "-o", &output];
        fails(&[&convert[..], &ONE_EACH].concat(), 1, &["does not exist"])?;
    }
    ensure!(fs::read(&weights)? == before, "the weights changed");
    same(
        "files",
        &names(model.path())?,
        &["config.json", "hard", "model.safetensors"].map(String::from),
    )
}

fn two_outputs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = shown(&folder.path().join("x"));
    let arguments = [
        "trace", "builtin", "--ids", "1", "--logits", &file, "--html", &file,
    ];
    fails(&arguments, 1, &[&file, "for each output"])?;
    same("files", &names(folder.path())?, &[])?;
    // One file that is not there yet, by other names.
    let at = |name: &str| shown(&folder.path().join(name));
    std::fs::create_dir(at("folder"))?;
    symlink("folder", at("link"))?;
    symlink("new", at("dangling"))?;
    for (one, other) in [
        ("new", "folder/../new"),
        ("new", "./new"),
        ("folder/new", "link/new"),
        ("new", "dangling"),
    ] {
        let (one, other) = (at(one), at(other));
        let arguments = [
            "trace", "builtin", "--ids", "1", "--logits", &one, "--html", &other,
        ];
        fails(&arguments, 1, &["for each output"])?;
    }
    same(
        "files",
        &names(folder.path())?,
        &["dangling", "folder", "link"].map(String::from),
    )
}

fn own_text() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("text");
    fs::write(&file, "Call me Ishmael.")?;
    let name = shown(&file);
    let arguments = ["perplexity", "builtin", "-f", &name, "--plot", &name];
    fails(&arguments, 1, &[&name, "that is not the text"])?;
    same(
        "text",
        &[fs::read_to_string(&file)?],
        &["Call me Ishmael.".to_string()],
    )
}

fn same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = ["a", "b"].map(|name| folder.path().join(name));
    for file in &files {
        succeed(&["pack", "builtin", "-o", &shown(file)])?;
    }
    ensure!(fs::read(&files[0])? == fs::read(&files[1])?, "other bytes");
    // Packed once more, the file is the same again.
    let again = folder.path().join("c");
    succeed(&["pack", &shown(&files[0]), "-o", &shown(&again)])?;
    ensure!(fs::read(&files[0])? == fs::read(&again)?, "other bytes");
    same(
        "files",
        &names(folder.path())?,
        &["a", "b", "c"].map(String::from),
    )
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

fn permissions() -> Result<()> {
    let plain = shown(&path("golden/llama-plain"));
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let [file, logits, new, start] = ["m", "l", "q", "s"].map(|name| shown(&at(name)));
    for (arguments, written) in [
        (vec!["pack", &plain, "-o", &file], vec!["m"]),
        (
            vec![
                "trace",
                &plain,
                "--ids",
                "1",
                "--adapter",
                "cpu",
                "--logits",
                &logits,
            ],
            vec!["l"],
        ),
        (
            vec!["quantize", &plain, "--to", "q8_0", "-o", &new],
            vec!["q/model.safetensors", "q/config.json"],
        ),
        (
            [&["convert", &plain, "-o", &start][..], &ONE_EACH].concat(),
            vec!["s/model.safetensors", "s/config.json"],
        ),
    ] {
        let done = shell("umask 026", &arguments).output()?;
        ensure!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        for name in written {
            same(name, &[mode(&at(name))?], &[0o640])?;
        }
    }
    // A file that is replaced hands on its own.
    fs::set_permissions(at("m"), PermissionsExt::from_mode(0o604))?;
    succeed(&["pack", &plain, "-o", &file])?;
    same("replaced", &[mode(&at("m"))?], &[0o604])
}

fn links() -> Result<()> {
    let plain = shown(&path("golden/llama-plain"));
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("inner"))?;
    symlink("inner/file", at("link"))?;
    for _ in 0..2 {
        succeed(&["pack", &plain, "-o", &shown(&at("link"))])?;
        ensure!(at("link").symlink_metadata()?.is_symlink(), "no link");
        ensure!(at("inner/file").symlink_metadata()?.is_file(), "no file");
        same("files", &names(&at("inner"))?, &["file".to_string()])?;
    }
    symlink("loop", at("loop"))?;
    fails(
        &["pack", &plain, "-o", &shown(&at("loop"))],
        1,
        &["loop", "links"],
    )
}

fn special() -> Result<()> {
    let plain = shown(&path("golden/llama-plain"));
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    succeed(&["pack", &plain, "-o", &shown(&at("file"))])?;
    let expected = fs::read(at("file"))?;
    pipe(&at("pipe"))?;
    let reader = {
        let pipe = at("pipe");
        std::thread::spawn(move || fs::read(pipe))
    };
    succeed(&["pack", &plain, "-o", &shown(&at("pipe"))])?;
    let read = reader.join().map_err(|_| anyhow::anyhow!("reader"))??;
    ensure!(read == expected, "other bytes through a pipe");
    symlink("/dev/null", at("null"))?;
    succeed(&["pack", &plain, "-o", &shown(&at("null"))])?;
    same(
        "files",
        &names(folder.path())?,
        &["file", "null", "pipe"].map(String::from),
    )?;
    fails(
        &["pack", &plain, "-o", "/dev/full"],
        1,
        &["`/dev/full`", "No space"],
    )?;
    let socket = std::os::unix::net::UnixListener::bind(at("socket"))?;
    let arguments = ["pack", &plain, "-o", &shown(&at("socket"))];
    fails(&arguments, 1, &["socket", "found a socket"])?;
    drop(socket);
    let arguments = ["pack", &plain, "-o", &shown(folder.path())];
    fails(&arguments, 1, &["a plain file", "found a folder"])
}

fn stdout() -> Result<()> {
    let plain = shown(&path("golden/llama-plain"));
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    succeed(&["pack", &plain, "-o", &shown(&at("file"))])?;
    let expected = fs::read(at("file"))?;
    for name in ["-", "/dev/stdout"] {
        let mut file = File::create(at("out"))?;
        std::io::Write::write_all(&mut file, b"before ")?;
        let done = process(&["pack", &plain, "-o", name])
            .stdout(file)
            .status()?;
        ensure!(done.success(), "{name}: {done}");
        let written = fs::read(at("out"))?;
        ensure!(written == [b"before ", &expected[..]].concat(), "{name}");
    }
    same(
        "files",
        &names(folder.path())?,
        &["file", "out"].map(String::from),
    )?;
    // Standard output that the model is read from.
    let own = File::options().append(true).open(at("file"))?;
    let done = process(&["pack", &shown(&at("file")), "-o", "-"])
        .stdout(own)
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.code() == Some(1), "{said}");
    ensure!(said.contains("that the model is not read from"), "{said}");
    ensure!(fs::read(at("file"))? == expected, "the model has changed");
    Ok(())
}

fn no_room() -> Result<()> {
    let plain = shown(&path("golden/llama-plain"));
    let folder = tempfile::tempdir()?;
    let at = |name: &str| shown(&folder.path().join(name));
    fs::write(at("old"), "as it was")?;
    for arguments in [
        vec!["pack", &plain, "-o", &at("new")],
        vec!["pack", &plain, "-o", &at("old")],
        vec!["quantize", &plain, "--to", "q8_0", "-o", &at("a/b/q")],
        [&["convert", &plain, "-o", &at("s")][..], &ONE_EACH].concat(),
        vec![
            "trace",
            &plain,
            "--ids",
            "1 2 3 4",
            "--adapter",
            "cpu",
            "--logits",
            &at("l"),
        ],
    ] {
        // Blocks of 512 bytes or of 1024, as the shell has it.
        let done = shell("ulimit -f 1", &arguments).output()?;
        let stderr = String::from_utf8_lossy(&done.stderr);
        ensure!(
            done.status.code() == Some(1),
            "{arguments:?}: {} {stderr}",
            done.status
        );
        let last = stderr.lines().last().unwrap_or_default();
        ensure!(last.contains("File too large"), "{arguments:?}: {stderr}");
        same("files", &names(folder.path())?, &["old".to_string()])?;
    }
    same(
        "old",
        &[fs::read_to_string(at("old"))?],
        &["as it was".to_string()],
    )
}

/// A checkpoint with a tensor of zeros that nobody uses, large enough to be caught while it is
/// written; on the disk it takes nothing.
fn large() -> Result<Checkpoint> {
    const N_BYTES: u64 = 1 << 30;
    let model = Checkpoint::copy_of("llama-plain")?;
    let file = model.file("model.safetensors");
    let bytes = fs::read(&file)?;
    let n = u64::from_le_bytes(bytes[..8].try_into()?) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + n])?;
    let start = (bytes.len() - 8 - n) as u64;
    header["unused"] = serde_json::json!({
        "dtype": "U8", "shape": [N_BYTES], "data_offsets": [start, start + N_BYTES]
    });
    let mut text = header.to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let new = [
        &(text.len() as u64).to_le_bytes(),
        text.as_bytes(),
        &bytes[8 + n..],
    ]
    .concat();
    fs::write(&file, &new)?;
    let opened = File::options().write(true).open(&file)?;
    opened.set_len(new.len() as u64 + N_BYTES)?;
    Ok(model)
}

/// Whether something in `folder` has begun to grow.
fn grows(folder: &Path) -> bool {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) if meta.size() > 1 << 20 => return true,
                _ => {}
            }
        }
    }
    false
}

fn signals() -> Result<()> {
    let model = large()?;
    let name = model.name();
    let folder = tempfile::tempdir()?;
    let out = shown(&folder.path().join("out"));
    for (signal, status, arguments) in [
        ("INT", 130, vec!["pack", &name, "-o", &out]),
        (
            "TERM",
            143,
            vec!["quantize", &name, "--to", "q8_0", "-o", &out],
        ),
        (
            "HUP",
            129,
            [&["convert", &name, "-o", &out][..], &ONE_EACH].concat(),
        ),
    ] {
        // A machine that stops between the look at the folder and the signal lets it end.
        let mut code = Some(0);
        for _ in 0..20 {
            code = interrupted(folder.path(), signal, &arguments)?;
            if code != Some(0) {
                break;
            }
            for name in names(folder.path())? {
                let written = folder.path().join(name);
                match written.is_dir() {
                    true => fs::remove_dir_all(written)?,
                    false => fs::remove_file(written)?,
                }
            }
        }
        ensure!(code == Some(status), "{signal}: {code:?}");
        same(signal, &names(folder.path())?, &[])?;
    }
    Ok(())
}

/// The exit status of a program that gets a signal once it has begun to write into `folder`.
fn interrupted(folder: &Path, signal: &str, arguments: &[&str]) -> Result<Option<i32>> {
    let mut program = process(arguments);
    let mut child = program.stderr(Stdio::null()).spawn()?;
    let start = Instant::now();
    while !grows(folder) {
        ensure!(
            start.elapsed() < Duration::from_secs(60),
            "nothing is written"
        );
        ensure!(child.try_wait()?.is_none(), "{signal}: ended too early");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", signal, &pid])
        .status()?;
    ensure!(sent.success(), "kill: {sent}");
    Ok(child.wait()?.code())
}

fn two_writers() -> Result<()> {
    let plain = shown(&path("golden/llama-plain"));
    let folder = tempfile::tempdir()?;
    let new = folder.path().join("new");
    fs::create_dir(&new)?;
    // The other writer of the folder.
    let other = File::open(&new)?;
    other.try_lock()?;
    let quantize = ["quantize", &plain, "--to", "q8_0", "-o", &shown(&new)];
    fails(&quantize, 1, &["new", "another program is writing"])?;
    drop(other);
    // A child of another test that has not begun its own program yet may hold the lock as well.
    let mut tries = 0;
    while tries < 50 && run(&quantize)?.status != 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        tries += 1;
    }
    ensure!(new.join("model.safetensors").exists(), "{tries} tries");
    // And of a file.
    let file = folder.path().join("file");
    let unfinished = folder.path().join(".file.ztt-wgpu-unfinished");
    let other = File::create(&unfinished)?;
    other.try_lock()?;
    let pack = ["pack", &plain, "-o", &shown(&file)];
    fails(&pack, 1, &["file", "another program is writing"])?;
    ensure!(unfinished.exists(), "the other's file is gone");
    Ok(())
}

fn left_behind() -> Result<()> {
    let plain = shown(&path("golden/llama-plain"));
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::write(at(".file.ztt-wgpu-unfinished"), "half")?;
    succeed(&["pack", &plain, "-o", &shown(&at("file"))])?;
    for (name, arguments) in [
        ("q", vec!["quantize", &plain, "--to", "q8_0"]),
        ("s", [&["convert", &plain][..], &ONE_EACH].concat()),
    ] {
        let unfinished = at(name).join(".ztt-wgpu-unfinished");
        fs::create_dir_all(&unfinished)?;
        fs::write(unfinished.join("model.safetensors"), "half")?;
        succeed(&[&arguments[..], &["-o", &shown(&at(name))]].concat())?;
        let expected = ["config.json", "model.safetensors"].map(String::from);
        same(name, &names(&at(name))?, &expected)?;
    }
    same(
        "files",
        &names(folder.path())?,
        &["file", "q", "s"].map(String::from),
    )
}

fn full_cache() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut program = shell("ulimit -f 0", &["run", "builtin", "-n", "1", "a"]);
    program.env("XDG_CACHE_HOME", folder.path());
    // A driver has a cache of its own.
    program.env("MESA_SHADER_CACHE_DISABLE", "true");
    let done = program.output()?;
    ensure!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let cache: PathBuf = folder.path().join("ztt-wgpu");
    match cache.is_dir() {
        true => {
            let found = names(&cache)?;
            ensure!(found.is_empty(), "left in the cache: {found:?}");
            Ok(())
        }
        false => Ok(()),
    }
}
