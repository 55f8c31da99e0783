//! Which modules use which: rooms know only those below them, and no files use each other in a
//! circle. Read off the `use` lines and paths of `src/`; tests inside files do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::fixtures::trial;

/// The rooms of the crate, from the ground up: each uses only rooms named before it.
const ROOMS: &[&str] = &[
    "error",
    "files",
    "model",
    "rope",
    "kv_type",
    "schedule",
    "reference",
    "gpu",
    "kernels",
    "engine",
    "generate",
    "evaluate",
    "page",
    "measure",
    "chat",
    "serve",
    "cli",
];

/// The rooms of the engine, from the ground up.
const ENGINE_ROOMS: &[&str] = &[
    "engine::row",
    "engine::options",
    "engine::memory",
    "engine::weights",
    "engine::pass",
    "engine::sampling",
    "engine::observe",
    "engine::decode",
];

/// Circles that are there and may stay: each is one thing in several files.
const CIRCLES: &[&[&str]] = &[
    // Jinja2's objects, which call each other's methods.
    &[
        "model::chat_template::filters",
        "model::chat_template::keeping",
        "model::chat_template::methods",
        "model::chat_template::objects",
        "model::chat_template::python",
        "model::chat_template::string_making",
        "model::chat_template::strings",
        "model::chat_template::text_filters",
        "model::chat_template::to_json",
    ],
    &[
        "model::chat_template::arguments",
        "model::chat_template::limits",
    ],
    &["model::tokenizer::class", "model::tokenizer::naming"],
    &["serve::http::conversation", "serve::http::prepare"],
    // A message holds calls and content, which name its fields.
    &[
        "serve::openai::calls",
        "serve::openai::content",
        "serve::openai::message",
    ],
    // The server's state holds the bounds of its connections, which answer through it.
    &[
        "serve::app",
        "serve::connections",
        "serve::http",
        "serve::malformed",
        "serve::socket",
    ],
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("arrows::rooms", || {
            let arrows = Arrows::of_crate()?;
            arrows.check_floors(ROOMS)?;
            arrows.check_floors(ENGINE_ROOMS)
        }),
        trial("arrows::circles", || {
            Arrows::of_crate()?.check_circles(CIRCLES)
        }),
        trial("arrows::negative_controls", negative_controls),
    ]
}

/// The modules that each module uses, by their paths in the crate.
struct Arrows(BTreeMap<String, BTreeSet<String>>);

impl Arrows {
    fn of_crate() -> Result<Self> {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut texts = BTreeMap::new();
        read_modules(&src, "", &mut texts)?;
        ensure!(texts.len() > 100, "only {} files", texts.len());
        Ok(Self::of(&texts))
    }

    fn of(texts: &BTreeMap<String, String>) -> Self {
        let used = |module: &String, text: &String| {
            let paths = paths(module, text);
            let modules = paths.iter().map(|path| longest_module(texts, path));
            let others = modules.filter(|m| m != module && !m.is_empty()).collect();
            (module.clone(), others)
        };
        Self(texts.iter().map(|(m, t)| used(m, t)).collect())
    }

    /// Every arrow from one of `floors` to another leads down, to one named before it.
    fn check_floors(&self, floors: &[&str]) -> Result<()> {
        let floor = |module: &str| floors.iter().position(|room| is_inside(module, room));
        for (from, uses) in &self.0 {
            for to in uses {
                let (Some(above), Some(below)) = (floor(from), floor(to)) else {
                    continue;
                };
                ensure!(
                    below <= above,
                    "`{from}` uses `{to}`, which stands above it"
                );
            }
        }
        Ok(())
    }

    /// The circles among files are those of `known`. A module and those inside it are one thing.
    fn check_circles(&self, known: &[&[&str]]) -> Result<()> {
        let found = self.circles();
        let known: BTreeSet<Vec<String>> = known
            .iter()
            .map(|circle| circle.iter().map(|m| m.to_string()).collect())
            .collect();
        for circle in &found {
            ensure!(known.contains(circle), "a circle: {}", circle.join(", "));
        }
        for circle in &known {
            ensure!(
                found.contains(circle),
                "no circle any more: {}",
                circle.join(", ")
            );
        }
        Ok(())
    }

    /// Sets of modules of which each reaches every other.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        let reached: BTreeMap<&String, BTreeSet<&String>> = self
            .0
            .keys()
            .map(|from| (from, self.reached(from)))
            .collect();
        let together = |from: &String| -> Vec<String> {
            let mutual = reached[from]
                .iter()
                .filter(|to| reached[*to].contains(from));
            mutual.map(|m| m.to_string()).collect()
        };
        let circles = self.0.keys().map(together);
        circles.filter(|circle| circle.len() > 1).collect()
    }

    fn reached(&self, from: &String) -> BTreeSet<&String> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![from];
        while let Some(module) = waiting.pop() {
            for to in self.0.get(module).into_iter().flatten() {
                let apart = !is_inside(to, module) && !is_inside(module, to);
                let known = self.0.get_key_value(to).map(|(to, _)| to);
                if let Some(to) = known.filter(|_| apart)
                    && reached.insert(to)
                {
                    waiting.push(to);
                }
            }
        }
        reached
    }
}

/// Whether a module is `room` or lies in it.
fn is_inside(module: &str, room: &str) -> bool {
    let rest = module.strip_prefix(room);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The files below `folder` without their tests, by module path; `main.rs` is not one of them.
fn read_modules(folder: &Path, path: &str, into: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        let stem = file.file_stem().and_then(|s| s.to_str()).context("name")?;
        let inner = match (path, stem) {
            (_, "mod" | "lib") => path.to_string(),
            ("", stem) => stem.to_string(),
            (path, stem) => format!("{path}::{stem}"),
        };
        if file.is_dir() {
            read_modules(&file, &inner, into)?;
        } else if file.extension().is_some_and(|e| e == "rs") && inner != "main" {
            let text = std::fs::read_to_string(&file)?;
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            into.insert(inner, code.collect::<Vec<_>>().join("\n"));
        }
    }
    Ok(())
}

/// The longest beginning of `path` that is a module.
fn longest_module(texts: &BTreeMap<String, String>, path: &str) -> String {
    let mut module = path;
    while !module.is_empty() && !texts.contains_key(module) {
        module = module.rsplit_once("::").map_or("", |(front, _)| front);
    }
    module.to_string()
}

/// Every path of a module's text that begins with `crate` or `super`, from the crate's root on.
fn paths(module: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (start, root) in text
        .match_indices("crate::")
        .chain(text.match_indices("super::"))
    {
        let before = text[..start].chars().next_back();
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        if before.is_some_and(is_word) || text[..start].ends_with("pub(in ") {
            continue;
        }
        let mut base = module;
        let mut rest = &text[start + root.len()..];
        if root == "crate::" {
            base = "";
        } else {
            base = parent(base);
            while let Some(further) = rest.strip_prefix("super::") {
                base = parent(base);
                rest = further;
            }
        }
        let tree = rest
            .split([';', '(', ')', '>', '<', '!'])
            .next()
            .unwrap_or("");
        found.extend(expanded(base, tree));
    }
    found
}

fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(front, _)| front)
}

/// The paths of a `use` tree such as `a::{b, c::d}`, each after `base`.
fn expanded(base: &str, tree: &str) -> Vec<String> {
    let joined = |tail: &str| match (base, tail.trim()) {
        ("", tail) => tail.to_string(),
        (base, "") => base.to_string(),
        (base, tail) => format!("{base}::{tail}"),
    };
    let Some((front, inner)) = tree.split_once('{') else {
        let path = tree.split(|c: char| c.is_whitespace() || c == ',').next();
        return vec![joined(path.unwrap_or(""))];
    };
    let base = joined(front.trim_end_matches("::"));
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (i, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&inner[start..i]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    let inner = parts.iter().filter(|part| !part.trim().is_empty());
    inner
        .flat_map(|part| expanded(&base, part.trim()))
        .collect()
}

/// A small crate in order, and copies of it with one arrow more each.
fn negative_controls() -> Result<()> {
    let arrows = |changed: &str, more: &str| {
        let mut texts: BTreeMap<String, String> = [
            ("low", "pub struct A;"),
            ("low::one", "use super::A;\nuse crate::low::two::{B, C};"),
            ("low::two", "pub struct B;"),
            ("high", "use crate::low::{A, one::{D, E}};"),
        ]
        .map(|(module, text)| (module.to_string(), text.to_string()))
        .into();
        if let Some(text) = texts.get_mut(changed) {
            text.push_str(more);
        }
        Arrows::of(&texts)
    };
    let floors = &["low", "high"];
    let order = arrows("", "");
    ensure!(order.0["high"].contains("low::one"), "{:?}", order.0);
    order.check_floors(floors)?;
    order.check_circles(&[])?;
    let upwards = arrows("low::two", "\nfn f() { crate::high::f() }");
    ensure!(
        upwards.check_floors(floors).is_err(),
        "an arrow upwards passes"
    );
    let circle = arrows("low::two", "\nuse super::{one::D};");
    ensure!(circle.check_circles(&[]).is_err(), "a circle passes");
    circle.check_circles(&[&["low::one", "low::two"]])?;
    let gone = order.check_circles(&[&["low::one", "low::two"]]);
    ensure!(gone.is_err(), "a circle that is gone stays listed");
    Ok(())
}
