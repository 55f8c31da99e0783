//! The report of a run of `perplexity`, and how it is written.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::formats::{
    Format, TableText, csv, json_lines, markdown_table, not_written, terminal_table,
};
use super::report::AdapterFacts;
use super::table::Heading;
use crate::error::Result;
use crate::evaluate::figures::Figures;
use crate::evaluate::sweep::Setting;

/// A finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QualityReport {
    /// `perplexity`.
    pub tool: String,
    /// The version of this program.
    pub version: String,
    pub model: String,
    pub adapter: AdapterFacts,
    /// How keys and values are kept.
    pub kv_type: String,
    /// The file of the text.
    pub text: String,
    /// Tokens of the text; all but the first are scored.
    pub n_tokens: usize,
    /// Tokens of a window.
    pub n_ctx: usize,
    pub rows: Vec<QualityRow>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityRow {
    /// The exit threshold; `None` for a fixed depth.
    pub threshold: Option<f64>,
    /// `propagate` or `share`, and `fixed` for a fixed depth.
    pub policy: String,
    /// Cycles that run at most.
    pub cycles: usize,
    #[serde(flatten)]
    pub figures: Figures,
}

/// The policy of a row of fixed depth.
pub const FIXED: &str = "fixed";

const COLUMNS: [&str; 9] = [
    "threshold",
    "policy",
    "cycles",
    "mean cycles",
    "exits",
    "perplexity",
    "nats",
    "top-1 as full depth",
    "t/s",
];

impl QualityRow {
    /// `n_cycles` is full depth.
    pub fn new(setting: Setting, n_cycles: usize, figures: Figures) -> Self {
        let (threshold, policy, cycles) = match setting {
            Setting::Depth(cycles) => (None, FIXED, cycles),
            Setting::Exit { threshold, kv } => (Some(threshold), kv.name(), n_cycles),
        };
        Self {
            threshold,
            policy: policy.to_string(),
            cycles,
            figures,
        }
    }

    fn cells(&self) -> Vec<String> {
        let f = &self.figures;
        let exits: Vec<_> = f.exits.iter().map(usize::to_string).collect();
        vec![
            self.threshold.map_or("none".to_string(), |t| t.to_string()),
            self.policy.clone(),
            self.cycles.to_string(),
            format!("{:.3}", f.mean_cycles),
            exits.join(" "),
            format!("{:.3}", f.perplexity),
            format!("{:.4}", f.nats),
            format!("{:.1} %", 100.0 * f.top1_agreement),
            format!("{:.1}", f.tokens_per_second),
        ]
    }
}

impl QualityReport {
    /// The whole report in `format`, ending in a line break. All formats have the same rows.
    ///
    /// # Errors
    /// [`Error::Measurement`](crate::Error::Measurement) where a figure cannot be written.
    pub fn write(&self, format: Format) -> Result<String> {
        match format {
            Format::Table => Ok(self.text(terminal_table)),
            Format::Markdown => Ok(self.text(markdown_table)),
            Format::Csv => csv(&self.flat_rows()?),
            Format::Json => Ok(serde_json::to_string_pretty(self).map_err(not_written)? + "\n"),
            Format::JsonLines => Ok(json_lines(self.flat_rows()?)),
        }
    }

    fn text(&self, table: TableText) -> String {
        let software = match self.adapter.software {
            true => ", no GPU: its t/s say nothing about one",
            false => "",
        };
        format!(
            "{}, KV {}, on {} ({}){software}\n{}: {} tokens in windows of {}\n\n{}",
            self.model,
            self.kv_type,
            self.adapter.name,
            self.adapter.kind,
            self.text,
            self.n_tokens,
            self.n_ctx,
            table(
                &COLUMNS.map(|title| Heading {
                    title,
                    is_setup: false
                }),
                &self.rows.iter().map(QualityRow::cells).collect::<Vec<_>>()
            )
        )
    }

    /// Each row with the fields of the whole run put before it.
    fn flat_rows(&self) -> Result<Vec<Map<String, Value>>> {
        let mut run = fields(self)?;
        run.shift_remove("rows");
        if let Some(Value::Object(adapter)) = run.shift_remove("adapter") {
            let adapter = adapter.into_iter();
            run.extend(adapter.map(|(name, value)| match name.as_str() {
                "name" => ("adapter".to_string(), value),
                "type" => ("adapter_type".to_string(), value),
                _ => (name, value),
            }));
        }
        let rows = self.rows.iter().map(|row| {
            let mut flat = run.clone();
            flat.extend(fields(row)?);
            Ok(flat)
        });
        rows.collect()
    }
}

fn fields(value: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(value).map_err(not_written)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(not_written("a row is no object")),
    }
}
