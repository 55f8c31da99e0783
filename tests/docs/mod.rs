//! Every command of README.md, CONTRIBUTING.md and `docs/`, run as it stands there.
//!
//! A block is run in a shell of its own, in a folder that looks like the project's; commands of
//! cargo are run in the project's folder itself. A comment before the block changes that: see
//! [`block::Mode`]. Results are compared on software adapters, where they are the documents' own.

mod block;
mod shell;
mod terminal;
mod transcript;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;

use crate::adapter;
use crate::fixtures::path;
use crate::models::SMOLLM2;
use block::{Block, Mode};
use shell::Shell;

/// With this set to `all`, blocks that need SmolLM2 or minutes are run too.
const VARIABLE: &str = "ZTT_DOCS";

/// Servers of two blocks would listen on one port.
static SERVING: Mutex<()> = Mutex::new(());

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![crate::fixtures::trial(
        "docs::a_wrong_result_is_noticed",
        transcript::check_itself,
    )];
    for document in documents() {
        match std::fs::read_to_string(&document) {
            Ok(text) => trials.extend(of_document(&document, &text)),
            Err(e) => {
                let name = format!("docs::{}", document.display());
                trials.push(crate::fixtures::trial(name, move || Err(e.into())));
            }
        }
    }
    trials
}

fn project() -> PathBuf {
    path("../..")
}

fn documents() -> Vec<PathBuf> {
    let mut documents = vec![
        project().join("README.md"),
        project().join("CONTRIBUTING.md"),
    ];
    let folder = std::fs::read_dir(project().join("docs"));
    let files = folder.into_iter().flatten().flatten().map(|e| e.path());
    documents.extend(files.filter(|file| file.extension().is_some_and(|e| e == "md")));
    documents.sort();
    documents
}

fn of_document(document: &Path, text: &str) -> Vec<Trial> {
    let stem = document.file_stem().unwrap_or_default().to_string_lossy();
    let blocks = match block::blocks(text) {
        Ok(blocks) => blocks,
        Err(e) => {
            let name = format!("docs::{stem}");
            return vec![crate::fixtures::trial(name, move || Err(e))];
        }
    };
    let files: Vec<(String, String)> = blocks.iter().filter_map(Block::file).collect();
    let runnable = blocks.into_iter().filter(|block| block.file().is_none());
    runnable
        .map(|block| {
            let name = format!("docs::{stem}::line_{}", block.line);
            match reason_to_skip(&block) {
                Some(reason) => Trial::test(name, || Ok(()))
                    .with_kind(reason)
                    .with_ignored_flag(true),
                None => {
                    let files = files.clone();
                    adapter::trial(name, move |gpu| run(&block, &files, &gpu))
                }
            }
        })
        .collect()
}

fn reason_to_skip(block: &Block) -> Option<String> {
    if let Mode::NotRun(reason) = &block.mode {
        return Some(reason.clone());
    }
    if cfg!(not(unix)) {
        return Some("the documents' commands are for a shell".to_string());
    }
    if !block.is_slow {
        return None;
    }
    if std::env::var(VARIABLE).is_ok_and(|value| value == "all") {
        let names_model = |text: &str| text.contains("SMOLLM2") || text.contains("MODEL");
        let needs_model = block.commands.iter().any(|c| names_model(&c.text));
        let is_there = std::env::var_os(SMOLLM2).is_some();
        return (needs_model && !is_there).then(|| format!("{SMOLLM2} is not set"));
    }
    Some(format!("{VARIABLE} is not `all`"))
}

fn run(block: &Block, files: &[(String, String)], gpu: &Gpu) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for entry in std::fs::read_dir(project())? {
        let entry = entry?;
        link(
            &entry.path().canonicalize()?,
            &folder.path().join(entry.file_name()),
        )?;
    }
    if let Some(model) = std::env::var_os(SMOLLM2) {
        for name in ["SMOLLM2", "MODEL"] {
            link(Path::new(&model), &folder.path().join(name))?;
        }
    }
    let text = std::fs::read_to_string(path("classics-val.txt"))?;
    let text: String = text.chars().take(1000).collect();
    std::fs::write(folder.path().join("text.txt"), text)?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text)?;
    }
    let uses = |word: &str| block.commands.iter().any(|c| c.text.starts_with(word));
    let place = if uses("cargo") {
        project()
    } else {
        folder.path().to_path_buf()
    };
    let _alone = uses("ztt-wgpu serve").then(|| SERVING.lock());
    let is_compared = block.is_compared && gpu.is_software();
    if block.is_typed {
        let [command] = &block.commands[..] else {
            bail!("expected one command that is typed into, found several");
        };
        let found = terminal::run(&command.text, &command.result, &place, folder.path())?;
        return check(&command.text, &command.result, &found, is_compared);
    }
    let mut shell = Shell::open(&place, folder.path())?;
    for command in &block.commands {
        let (status, found) = shell.run(&command.text)?;
        ensure!(status == 0, "`{}`: status {status}: {found}", command.text);
        check(&command.text, &command.result, &found, is_compared)?;
    }
    Ok(())
}

fn check(command: &str, expected: &str, found: &str, is_compared: bool) -> Result<()> {
    if !is_compared || transcript::agree(expected, found) {
        return Ok(());
    }
    bail!("`{command}`:\n--- the document ---\n{expected}\n--- found ---\n{found}")
}

#[cfg(unix)]
fn link(to: &Path, name: &Path) -> Result<()> {
    std::os::unix::fs::symlink(to, name).with_context(|| name.display().to_string())
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> Result<()> {
    bail!("links are for Unix here")
}
