//! A trace as a page that needs no other file and no network.

mod details;
mod heat_map;

use serde::Serialize;

use super::Trace;
use super::flow::{harmless, pieces};
use super::position::{Position, counts};
use crate::cli::args::name_of;
use crate::error::Result;
use crate::measure::number::{percent, short, significant};
use crate::measure::report::AdapterFacts;
use crate::model::config::{ExitRule, KV_POLICIES, REDUCES};
use crate::model::loops::ScoreSource;
use crate::page;
use crate::page::shades::{DEPTH, SCORE, Shade};
use details::Details;
use heat_map::HeatMap;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// How the text was run.
pub struct Setting<'a> {
    pub model: &'a str,
    pub adapter: &'a AdapterFacts,
    pub rule: ExitRule,
    /// What makes the scores of cycles; `None`: they have none.
    pub score: Option<ScoreSource>,
}

#[derive(Serialize)]
struct Page<'a> {
    look: &'static str,
    style: &'static str,
    script: &'static str,
    version: &'static str,
    model: &'a str,
    adapter: &'a AdapterFacts,
    n_cycles: usize,
    facts: Vec<Fact>,
    depth_shades: Vec<Shade>,
    score_shades: Vec<Shade>,
    tokens: Vec<Token>,
    /// `None` without scores.
    heat_map: Option<HeatMap>,
    bars: Vec<Bar>,
    details: Details,
}

#[derive(Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

impl Setting<'_> {
    /// The score at which positions leave, if they do.
    fn threshold(&self) -> Option<f64> {
        self.score?.threshold(self.rule.threshold)
    }
}

/// A piece of the text.
#[derive(Serialize)]
struct Token {
    text: String,
    cycles: usize,
    breaks_line: bool,
}

/// How many positions ran so many cycles.
#[derive(Serialize)]
struct Bar {
    cycles: usize,
    positions: usize,
    share: String,
    /// Of the longest bar.
    length: f64,
}

/// The page of `trace`, complete in itself.
pub fn html(setting: &Setting, trace: &Trace) -> Result<String> {
    let (positions, n_cycles) = (&trace.positions, trace.n_cycles);
    let threshold = setting.threshold();
    let texts = pieces(&trace.ids, trace.tokenizer.as_ref())?;
    let heat_map = setting
        .score
        .map(|_| HeatMap::new(positions, n_cycles, threshold));
    let page = Page {
        look: page::LOOK,
        style: STYLE,
        script: SCRIPT,
        version: env!("CARGO_PKG_VERSION"),
        model: setting.model,
        adapter: setting.adapter,
        n_cycles,
        facts: facts(setting, positions, n_cycles),
        depth_shades: DEPTH.steps(n_cycles),
        score_shades: SCORE.steps(heat_map::N_SHADES),
        tokens: tokens(positions, &texts),
        heat_map,
        bars: bars(&counts(positions, n_cycles)),
        details: Details::new(trace, threshold)?,
    };
    page::render("trace", TEMPLATE, &page)
}

/// The facts at the head of the page, with the exit rule where cycles have scores.
fn facts(setting: &Setting, positions: &[Position], n_cycles: usize) -> Vec<Fact> {
    let total: usize = positions.iter().map(|p| p.cycles).sum();
    let mean = total as f64 / positions.len().max(1) as f64;
    let fact = |name, value| Fact { name, value };
    let mut facts = vec![
        fact("positions", positions.len().to_string()),
        fact(
            "mean cycles",
            format!("{} of {n_cycles}", significant(mean, 3)),
        ),
    ];
    if let Some(source) = setting.score {
        let rule = &setting.rule;
        let threshold = setting.threshold().map_or("none".to_string(), short);
        facts.extend([
            fact("score", source.name().to_string()),
            fact("exit threshold", threshold),
            fact("min cycles", rule.min_cycles.to_string()),
        ]);
        if source == ScoreSource::ZeroAttention {
            facts.push(fact("reduce", name_of(REDUCES, rule.reduce).into()));
        }
        facts.push(fact("KV policy", name_of(KV_POLICIES, rule.kv).into()));
    }
    facts
}

fn tokens(positions: &[Position], texts: &[String]) -> Vec<Token> {
    let all = positions.iter().zip(texts);
    all.map(|(position, text)| Token {
        text: harmless(text),
        cycles: position.cycles,
        breaks_line: text.contains('\n'),
    })
    .collect()
}

fn bars(counts: &[usize]) -> Vec<Bar> {
    let total = counts.iter().sum::<usize>().max(1) as f64;
    let longest = counts.iter().max().copied().unwrap_or(0).max(1) as f64;
    (1..)
        .zip(counts)
        .map(|(cycles, &positions)| Bar {
            cycles,
            positions,
            share: percent(100.0 * positions as f64 / total),
            length: (1000.0 * positions as f64 / longest).round() / 10.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::trace::position::positions;
    use crate::measure::report::AdapterFacts;
    use crate::model::{BUILTIN, Fetch, Model};
    use crate::reference::Output;

    fn trace(n: usize) -> Trace {
        let tokenizer = Model::open(BUILTIN, Fetch::Never)
            .and_then(|model| model.tokenizer())
            .ok();
        let ids: Vec<u32> = (0u32..2048).cycle().take(n).collect();
        let outputs: Vec<Output> = (0..n)
            .map(|i| Output {
                logits: (0..2048).map(|id| (id * i % 97) as f32 / 10.0).collect(),
                cycles: 1 + i % 3,
                scores: vec![0.123_456_7; 3],
                ..Output::default()
            })
            .collect();
        Trace {
            positions: positions(&ids, &outputs, tokenizer.as_ref(), 50).unwrap(),
            n_cycles: 3,
            tokenizer,
            ids,
            outputs,
        }
    }

    fn page(n: usize) -> String {
        let adapter = AdapterFacts {
            name: "<i>&".into(),
            backend: "vulkan".into(),
            driver: String::new(),
            kind: "discrete GPU".into(),
            software: false,
        };
        let setting = Setting {
            model: "a</title>",
            adapter: &adapter,
            rule: ExitRule::default(),
            score: Some(ScoreSource::ZeroAttention),
        };
        html(&setting, &trace(n)).unwrap()
    }

    #[test]
    fn names_are_escaped() {
        let page = page(3);
        assert!(page.contains("&lt;i&gt;&amp;") && !page.contains("<i>&"));
        assert!(!page.contains("a</title>"));
        assert!(!page.contains("class=\"badge\""));
    }

    #[test]
    fn long_texts_have_pages_of_a_few_megabytes() {
        let page = page(4000);
        assert!(page.len() < 5_000_000, "{} bytes", page.len());
        assert_eq!(
            page.matches("<rect class=\"s").count(),
            1334 + 2 * 1333 + 3 * 1333
        );
    }
}
