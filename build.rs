//! Finds out what `--version` says besides the version: the commit, and which wgpu is used.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    let commit = commit().map(|hash| format!("commit {hash}"));
    let wgpu = locked("wgpu").map(|version| format!("wgpu {version}"));
    let parts: Vec<String> = commit.into_iter().chain(wgpu).collect();
    let mut version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    if !parts.is_empty() {
        version += &format!(" ({})", parts.join(", "));
    }
    println!("cargo::rustc-env=ZTT_VERSION={version}");
}

/// The short hash of the commit that is built; `None` without git or outside a clone.
fn commit() -> Option<String> {
    // Not that of another repository which this folder happens to lie in.
    if !Path::new(".git").exists() {
        return None;
    }
    // The latter changes with every commit, the former with every checkout.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_string())
}

/// The version of a package in Cargo.lock, whose entries have the name before the version.
fn locked(package: &str) -> Option<String> {
    let lock = fs::read_to_string("Cargo.lock").ok()?;
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    version.strip_suffix('"').map(str::to_string)
}
