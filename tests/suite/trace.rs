//! `trace` for people: its colours, and its page.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::gpu::Gpu;

use crate::adapter;
use crate::compare::same;
use crate::fixtures::{path, trial};
use crate::program::{Checkpoint, command, json_lines, output, run, succeed};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("trace::without_color_nothing_changes", plain),
        trial("trace::colors_tell_cycles_apart", colors),
        trial("trace::the_terminal_is_not_steered", harmless),
        trial("trace::the_environment_decides", environment),
        adapter::trial("trace::cycles_skipped_either_way", skipped),
        trial("trace::a_page_shows_every_position", page_of_text),
        trial("trace::a_page_of_ids_without_scores", page_of_ids),
        trial("trace::hostile_tokens_stay_text", hostile),
        trial("trace::a_page_that_cannot_be_written", unwritable),
    ]
}

const TEXT: &str = "Call me Ishmael.\nSome years ago";

fn arguments(more: &[&'static str]) -> Vec<&'static str> {
    let fixed = ["trace", "builtin", TEXT, "--adapter", "cpu", "--top", "2"];
    [&fixed, more].concat()
}

/// Text without its escape codes.
fn stripped(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_string();
    let rest = parts.map(|part| part.split_once('m').map_or("", |(_, text)| text));
    rest.fold(first, |text, part| text + part)
}

fn plain() -> Result<()> {
    let text = succeed(&arguments(&[]))?;
    let first = "    0  \"C\"             cycles 1  scores 0.674                  next \"l\" 9.50, \"IUS\" 9.49";
    ensure!(text.lines().next() == Some(first), "{text}");
    ensure!(!text.contains('\u{1b}'), "{text}");
    let never = succeed(&arguments(&["--color", "never"]))?;
    let json = succeed(&arguments(&["--json"]))?;
    let colored_json = succeed(&arguments(&["--json", "--color", "always"]))?;
    same("text", &[never, colored_json], &[text, json])
}

/// Counts that are zero and kernels that return at once skip the same cycles.
fn skipped(_: Arc<Gpu>) -> Result<()> {
    for kv in ["propagate", "share"] {
        for class in ["software", "workgroup"] {
            let traced = |skip: &'static str| {
                let fixed = ["trace", "builtin", TEXT, "--json", "--exit-kv", kv];
                let device = ["--kernels", class, "--skip", skip];
                succeed(&[&fixed[..], &device].concat())
            };
            let by_count = traced("count")?;
            ensure!(by_count.contains("\"cycles\":1,"), "nothing exits");
            same(class, &[traced("return")?], &[by_count])?;
        }
    }
    Ok(())
}

fn colors() -> Result<()> {
    let text = succeed(&arguments(&["--color", "always"]))?;
    let lines = succeed(&arguments(&[]))?;
    let shown = stripped(&text);
    ensure!(
        shown.starts_with(&format!("{TEXT}\n\ncycles  1  ")),
        "{shown}"
    );
    ensure!(shown.ends_with(&format!("\n\n{lines}")), "{shown}");
    // The colour of a line's token, and the cycles that the line tells.
    let mut colors = [const { None }; 3];
    for line in text.lines().filter(|line| line.contains("  scores ")) {
        let color = line
            .split('"')
            .next()
            .context("no token")?
            .split_once("\u{1b}[");
        let color = color.context("no color")?.1.to_string();
        let cycles = line.split("  cycles ").nth(1).context("no cycles")?;
        let cycles: usize = cycles[..1].parse()?;
        let known = colors[cycles - 1].get_or_insert(color.clone());
        ensure!(*known == color, "two colours for {cycles} cycles: {text}");
    }
    let [one, two, three] = colors;
    ensure!(one.is_some() && two.is_some() && three.is_some(), "{text}");
    ensure!(one != two && two != three && one != three, "{text}");
    Ok(())
}

fn harmless() -> Result<()> {
    let model = [
        "trace",
        "builtin",
        "a\u{1b}[2Jb\r\u{7}c",
        "--adapter",
        "cpu",
    ];
    let text = succeed(&[&model[..], &["--color", "always"]].concat())?;
    ensure!(
        !text.contains("\u{1b}[2J") && !text.contains(['\r', '\u{7}']),
        "{text:?}"
    );
    ensure!(
        stripped(&text).starts_with("a\\u{1b}[2Jb\\r\\u{7}c\n"),
        "{text:?}"
    );
    Ok(())
}

fn environment() -> Result<()> {
    let lines = succeed(&arguments(&[]))?;
    let mut asked_for = command(&arguments(&[]));
    asked_for.env("CLICOLOR_FORCE", "1");
    ensure!(output(asked_for)?.stdout.contains('\u{1b}'), "no colour");
    let mut unwanted = command(&arguments(&["--color", "auto"]));
    unwanted.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    same("text", &[output(unwanted)?.stdout], &[lines])?;
    let mut flag_wins = command(&arguments(&["--color", "always"]));
    flag_wins.env("NO_COLOR", "1");
    ensure!(output(flag_wins)?.stdout.contains('\u{1b}'), "no colour");
    let wrong = run(&arguments(&["--color", "sometimes"]))?;
    ensure!(
        wrong.status == 2 && wrong.stderr.contains("--color"),
        "{}",
        wrong.stderr
    );
    Ok(())
}

/// The page that `trace` with `arguments` writes, which must be sound.
fn page(arguments: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("trace.html").display().to_string();
    succeed(
        &[
            &["trace"],
            arguments,
            &["--adapter", "cpu", "--html", &file],
        ]
        .concat(),
    )?;
    let page = std::fs::read_to_string(file)?;
    for word in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        ensure!(!page.contains(word), "the page loads something: {word}");
    }
    for tag in [
        "html", "body", "main", "section", "div", "span", "svg", "table", "script", "aside",
    ] {
        let opened =
            page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        let closed = page.matches(&format!("</{tag}>")).count();
        ensure!(
            opened == closed,
            "<{tag}>: {opened} opened, {closed} closed"
        );
    }
    Ok(page)
}

/// The data for the page's script.
fn details(page: &str) -> Result<Value> {
    let start = r#"<script type="application/json" id="details">"#;
    let (_, rest) = page.split_once(start).context("no data")?;
    let (data, _) = rest.split_once("</script>").context("no end of the data")?;
    Ok(serde_json::from_str(data)?)
}

/// The texts of the tokens, as they stand in the page.
fn tokens(page: &str) -> Result<Vec<&str>> {
    let (_, flow) = page.split_once(r#"id="flow">"#).context("no text")?;
    let (flow, _) = flow.split_once("</div>").context("no end of the text")?;
    let spans = flow.split("</span>").filter(|span| !span.is_empty());
    spans
        .map(|span| Ok(span.split_once('>').context("no token")?.1))
        .collect()
}

fn page_of_text() -> Result<()> {
    let lines = json_lines(&succeed(&arguments(&["--json"]))?)?;
    let page = page(&["builtin", TEXT, "--top", "2"])?;
    same("text", &[tokens(&page)?.concat()], &[TEXT.to_string()])?;
    let cycles: Vec<u64> = lines.iter().filter_map(|l| l["cycles"].as_u64()).collect();
    let n_cells = page.matches("<rect class=\"s").count();
    same("cells", &[n_cells as u64], &[cycles.iter().sum()])?;
    ensure!(page.contains("no GPU was used") && page.contains("threshold 0.4"));
    let details = details(&page)?;
    let positions = details["positions"].as_array().context("no positions")?;
    same("positions", &[positions.len()], &[lines.len()])?;
    for (position, line) in positions.iter().zip(&lines) {
        for field in ["id", "cycles"] {
            ensure!(position[field] == line[field], "{position} and {line}");
        }
        let (likeliest, p) = (&position["next"][0][0], &position["next"][0][1]);
        ensure!(*likeliest == line["top"][0][0], "{position} and {line}");
        ensure!(
            p.as_f64().is_some_and(|p| p > 0.0 && p <= 1.0),
            "{position}"
        );
        ensure!(
            details["names"][likeliest.to_string()].is_string(),
            "{likeliest}"
        );
    }
    Ok(())
}

fn page_of_ids() -> Result<()> {
    let model = path("golden/llama-plain").display().to_string();
    let page = page(&[&model, "--ids", "5 7 11"])?;
    same("ids", &tokens(&page)?, &["5 ", "7 ", "11 "])?;
    ensure!(
        page.contains("of this model have no scores"),
        "scores of a plain model"
    );
    ensure!(!page.contains("<svg"), "a map without scores");
    ensure!(details(&page)?["names"]["7"] == "7");
    Ok(())
}

fn hostile() -> Result<()> {
    let texts = ["</script><b>", "&", "<!--", "\u{1b}[2J'\""];
    let vocabulary: serde_json::Map<String, Value> = texts
        .iter()
        .enumerate()
        .map(|(id, text)| (text.to_string(), json!(id)))
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "&"},
    });
    let checkpoint = Checkpoint::copy_of("llama-key-only")?;
    std::fs::write(checkpoint.file("tokenizer.json"), tokenizer.to_string())?;
    let page = page(&[&checkpoint.name(), "--ids", "0 1 2 3"])?;
    ensure!(!page.contains("<b>&") && !page.contains("script><b>") && !page.contains("<!--"));
    let expected = [
        "&lt;&#x2f;script&gt;&lt;b&gt;",
        " &amp;",
        " &lt;!--",
        " \\u{1b}[2J&#x27;&quot;",
    ];
    same("tokens", &tokens(&page)?, &expected)?;
    ensure!(
        details(&page)?["names"]["0"] == "\"</script><b>\"",
        "{page}"
    );
    Ok(())
}

fn unwritable() -> Result<()> {
    let run = run(&arguments(&["--html", "/nowhere/trace.html"]))?;
    ensure!(run.status == 1 && run.stdout.is_empty(), "{}", run.stdout);
    let line = run.stderr.trim_end();
    ensure!(
        line.starts_with("ztt-wgpu: `/nowhere/trace.html`: ") && line.lines().count() == 1,
        "{line}"
    );
    Ok(())
}
