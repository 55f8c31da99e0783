//! The order of the shaders' files. An entry file is a kernel's whole story: what it computes, its
//! `Params`, its bindings, its `override`s, what it imports, and `main`. Shared files are functions,
//! with the types and constants that these want.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Kernel;
use ztt_wgpu::kernels::KERNELS;
use ztt_wgpu::kernels::probes::PROBES;

use crate::fixtures::trial;

/// Folders of entry files.
const FOLDERS: [&str; 4] = ["common", "gpu", "software", "probes"];

const MAX_LINES: usize = 180;
const MAX_HEAD_LINES: usize = 3;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("shaders::files", files),
        trial("shaders::texts::entries", || each(&FOLDERS, entry)),
        trial("shaders::texts::shared", || each(&["shared"], shared)),
        trial("shaders::texts::negative_controls", negative_controls),
    ]
}

/// Every file is a kernel or imported by one.
fn files() -> Result<()> {
    let mut texts = Vec::new();
    for folder in FOLDERS {
        texts.extend(kernel_texts(&wgsl_files(folder)?)?);
    }
    let n = KERNELS.len() + PROBES.len();
    ensure!(texts.len() == n, "{} files of {n} kernels", texts.len());
    let shared = wgsl_files("shared")?;
    ensure!(!shared.is_empty(), "no shared files");
    for path in &shared {
        texts.push(std::fs::read_to_string(path)?);
    }
    for path in &shared {
        let import = format!("#import shared/{}", stem(path)?);
        let imported = texts.iter().any(|t| t.lines().any(|line| line == import));
        ensure!(imported, "nobody imports `shared/{}`", stem(path)?);
    }
    Ok(())
}

/// The texts of files that must be those of kernels.
fn kernel_texts(files: &[PathBuf]) -> Result<Vec<String>> {
    let text = |path: &PathBuf| {
        let (name, text) = (stem(path)?, std::fs::read_to_string(path)?);
        let mut known = KERNELS.iter().chain(PROBES);
        let kernel: Option<&&Kernel> = known.find(|k| k.name == name);
        let kernel = kernel.with_context(|| format!("`{name}` is in no list"))?;
        ensure!(kernel.source == text, "`{name}` has another file's text");
        Ok(text)
    };
    files.iter().map(text).collect()
}

/// Checks every file of some folders.
fn each(folders: &[&str], check: fn(&str) -> Result<()>) -> Result<()> {
    for folder in folders {
        for path in wgsl_files(folder)? {
            let text = std::fs::read_to_string(&path)?;
            check(&text).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn wgsl_files(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("shaders")
        .join(folder);
    let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let paths = entries.into_iter().map(|e| e.path());
    Ok(paths
        .filter(|p| p.extension().is_some_and(|e| e == "wgsl"))
        .collect())
}

fn stem(path: &Path) -> Result<&str> {
    path.file_stem().and_then(|s| s.to_str()).context("name")
}

/// Lines of the comment that a file opens with, after the features that it enables.
fn head(text: &str) -> Result<usize> {
    let n_lines = text.lines().count();
    ensure!(n_lines <= MAX_LINES, "{n_lines} lines");
    let enabled = |line: &&str| line.is_empty() || line.starts_with("enable ");
    let lines = text.lines().skip_while(enabled);
    let n = lines.take_while(|line| line.starts_with("//")).count();
    ensure!(n >= 1, "no comment says what it is");
    Ok(n)
}

/// The order of an entry file.
fn entry(text: &str) -> Result<()> {
    let n = head(text)?;
    ensure!(n <= MAX_HEAD_LINES, "a head of {n} lines");
    let parts: Vec<Part> = text.lines().filter_map(Part::of).collect();
    ensure!(parts.is_sorted(), "parts in the order {parts:?}");
    let bindings: Vec<_> = parts
        .iter()
        .filter(|p| matches!(p, Part::Binding(_)))
        .collect();
    let rising = (0..bindings.len()).all(|i| *bindings[i] == Part::Binding(i));
    ensure!(rising, "bindings {bindings:?}");
    for once in [Part::Params, Part::Main] {
        let n = parts.iter().filter(|part| **part == once).count();
        ensure!(n == 1, "{n} times {once:?}");
    }
    Ok(())
}

/// A part of an entry file, in the order that they stand in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Params,
    Binding(usize),
    Override,
    Import,
    Main,
}

impl Part {
    /// The part that a line begins.
    fn of(line: &str) -> Option<Part> {
        if let Some(rest) = line.strip_prefix("@group(0) @binding(") {
            return rest.split(')').next()?.parse().ok().map(Part::Binding);
        }
        [
            ("struct Params", Part::Params),
            ("override ", Part::Override),
            ("#import ", Part::Import),
            ("@compute", Part::Main),
        ]
        .into_iter()
        .find(|(beginning, _)| line.starts_with(beginning))
        .map(|(_, part)| part)
    }
}

/// What a shared file must not declare.
fn shared(text: &str) -> Result<()> {
    head(text)?;
    for word in ["@group", "@compute", "override ", "struct Params"] {
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with(word));
        ensure!(found.is_none(), "a shared file declares {found:?}");
    }
    Ok(())
}

/// A text that passes, and copies of it with one thing wrong each.
fn negative_controls() -> Result<()> {
    const ENTRY: &str = "// What it computes.

struct Params { n: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

override A: u32 = 0u;

#import shared/rows

@compute @workgroup_size(64)
fn main() {}
";
    entry(ENTRY)?;
    let swapped = ENTRY
        .replace("binding(1)", "binding(2)")
        .replace("binding(0)", "binding(1)");
    let (before, after) = ENTRY.split_once("override").context("override")?;
    let wrong = [
        ENTRY.replace("// What it computes.\n", ""),
        format!("// 1\n// 2\n// 3\n{ENTRY}"),
        format!("{ENTRY}{}", "\n".repeat(MAX_LINES)),
        swapped,
        format!("{before}#import shared/a\noverride{after}"),
        ENTRY.replace("struct Params", "struct Others"),
        ENTRY.replace("@compute", "@fragment"),
    ];
    for text in wrong {
        ensure!(entry(&text).is_err(), "passes: {text}");
    }
    const SHARED: &str = "// Functions. Expects `rows`.\n\nfn f() -> u32 { return rows[0]; }\n";
    shared(SHARED)?;
    for more in [
        "override A: u32 = 0u;",
        "@group(0) @binding(0) var<uniform> a: A;",
    ] {
        ensure!(
            shared(&format!("{SHARED}{more}\n")).is_err(),
            "passes: {more}"
        );
    }
    Ok(())
}
