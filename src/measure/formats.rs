//! A report as text: a table for terminals, Markdown for documents, CSV, JSON and JSON lines for
//! programs. All have the same rows in the same order.

use serde_json::{Map, Value};

use super::report::{AdapterFacts, Detail, DeviceDetail, KernelDetail, ModelDetail, Report, Row};
use super::table::{Heading, table};
use crate::error::{Error, Result, first_line};

/// The formats that `-o` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Markdown,
    Csv,
    Json,
    JsonLines,
}

/// The formats by the names flags use.
pub const FORMATS: &[(&str, Format)] = &[
    ("table", Format::Table),
    ("md", Format::Markdown),
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("jsonl", Format::JsonLines),
];

impl Format {
    /// The whole report in this format, ending in a line break.
    pub fn write(self, report: &Report) -> Result<String> {
        match self {
            Format::Table => Ok(tables(report, terminal_table)),
            Format::Markdown => Ok(tables(report, markdown_table)),
            Format::Csv => csv(&flat_rows(report)?),
            Format::Json => Ok(serde_json::to_string_pretty(report).map_err(not_written)? + "\n"),
            Format::JsonLines => Ok(json_lines(flat_rows(report)?)),
        }
    }
}

pub(super) fn not_written(e: impl ToString) -> Error {
    Error::Measurement(format!("the report cannot be written: {}", first_line(e)))
}

pub(super) fn json_lines(rows: Vec<Map<String, Value>>) -> String {
    let rows = rows.into_iter();
    rows.map(|row| Value::Object(row).to_string() + "\n")
        .collect()
}

/// Each row with the fields of the whole run put before it.
fn flat_rows(report: &Report) -> Result<Vec<Map<String, Value>>> {
    let adapter = &report.adapter;
    let run = [
        ("tool", Value::from(report.tool.as_str())),
        ("version", report.version.as_str().into()),
        ("adapter", adapter.name.as_str().into()),
        ("backend", adapter.backend.as_str().into()),
        ("driver", adapter.driver.as_str().into()),
        ("adapter_type", adapter.kind.as_str().into()),
        ("software", adapter.software.into()),
    ];
    let flat = |row: &Row| {
        let mut fields = Map::new();
        fields.extend(run.iter().map(|(k, v)| (k.to_string(), v.clone())));
        match serde_json::to_value(row).map_err(not_written)? {
            Value::Object(row) => fields.extend(row),
            _ => return Err(not_written("a row is no object")),
        }
        Ok(fields)
    };
    report.rows.iter().map(flat).collect()
}

/// One column for every field of any row; elements of a list are separated by spaces.
pub(super) fn csv(rows: &[Map<String, Value>]) -> Result<String> {
    let mut columns: Vec<&String> = Vec::new();
    for key in rows.iter().flat_map(Map::keys) {
        if !columns.contains(&key) {
            columns.push(key);
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns).map_err(not_written)?;
    for row in rows {
        let cells = columns.iter().map(|key| match row.get(*key) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(list)) => {
                let items: Vec<_> = list.iter().map(Value::to_string).collect();
                items.join(" ")
            }
            Some(value) => value.to_string(),
        });
        writer.write_record(cells).map_err(not_written)?;
    }
    let bytes = writer.into_inner().map_err(not_written)?;
    String::from_utf8(bytes).map_err(not_written)
}

/// A column of a table: its title, and a row's cell.
type Column<'a, D> = (&'static str, Box<dyn Fn(&Row, &D) -> String + 'a>);

/// Columns of text, which are aligned to the left.
const TEXTS: [&str; 8] = [
    "model", "test", "adapter", "driver", "kernel", "bound", "clock", "policy",
];

/// Columns that say how a test was set up, and not what it resulted in.
const SETUP: [&str; 13] = [
    "model",
    "size",
    "params",
    "adapter",
    "driver",
    "kernels",
    "quant",
    "kv type",
    "cycles",
    "exit",
    "submissions/t",
    "read-backs/t",
    "clock",
];

/// The tables of a report, each written by `write` from its headings and rows.
fn tables(report: &Report, write: TableText) -> String {
    let mut out = format!("{}\n", headline(&report.adapter));
    let mut models: Vec<(&Row, &ModelDetail)> = Vec::new();
    let mut devices: Vec<(&Row, &DeviceDetail)> = Vec::new();
    let mut kernels: Vec<(&Row, &KernelDetail)> = Vec::new();
    for row in &report.rows {
        match &row.detail {
            Detail::Model(d) => models.push((row, d)),
            Detail::Device(d) => devices.push((row, d)),
            Detail::Kernel(d) => kernels.push((row, d)),
        }
    }
    out += &one_table(&models, &model_columns(&report.adapter), write);
    out += &one_table(&devices, &device_columns(), write);
    out += &one_table(&kernels, &kernel_columns(), write);
    out
}

fn one_table<D>(rows: &[(&Row, &D)], columns: &[Column<'_, D>], write: TableText) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let headings = columns.iter().map(|(title, _)| Heading {
        title,
        is_setup: SETUP.contains(title),
    });
    let cells = rows.iter().map(|(row, detail)| {
        let cells = columns.iter().map(|(_, cell)| cell(row, detail));
        cells.collect()
    });
    let (headings, cells): (Vec<_>, Vec<_>) = (headings.collect(), cells.collect());
    "\n".to_string() + &write(&headings, &cells)
}

/// Writes a table from its headings and rows.
pub(super) type TableText = fn(&[Heading<'_>], &[Vec<String>]) -> String;

pub(super) fn terminal_table(headings: &[Heading<'_>], rows: &[Vec<String>]) -> String {
    table(headings, rows, &TEXTS)
}

/// The adapter in one line.
fn headline(adapter: &AdapterFacts) -> String {
    if adapter.kind == "host" {
        return format!(
            "{} ({}): its figures say nothing about a GPU",
            adapter.name, adapter.driver
        );
    }
    let software = match adapter.software {
        true => " -- a software adapter: its figures say nothing about a GPU",
        false => "",
    };
    format!(
        "{} ({}, {}, {}){software}",
        adapter.name, adapter.backend, adapter.kind, adapter.driver
    )
}

/// A table in Markdown, figures to the right.
pub(super) fn markdown_table(headings: &[Heading<'_>], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rule = |title: &str| {
        if TEXTS.contains(&title) {
            "---"
        } else {
            "---:"
        }
    };
    let rules = headings
        .iter()
        .map(|heading| rule(heading.title).to_string());
    let titles = headings.iter().map(|heading| heading.title.to_string());
    let mut out = line(titles.collect()) + &line(rules.collect());
    for cells in rows {
        out += &line(cells.iter().map(|cell| cell.replace('|', "/")).collect());
    }
    out
}

fn model_columns(adapter: &AdapterFacts) -> Vec<Column<'_, ModelDetail>> {
    vec![
        ("model", Box::new(|_, d| d.model.clone())),
        (
            "size",
            Box::new(|_, d| format!("{:.1} MiB", d.size_bytes as f64 / f64::from(1 << 20))),
        ),
        (
            "params",
            Box::new(|_, d| format!("{:.2} M", d.params as f64 / 1e6)),
        ),
        ("adapter", Box::new(|_, _| with_software(adapter))),
        ("driver", Box::new(|_, _| adapter.driver.clone())),
        ("kernels", Box::new(|_, d| d.kernels.clone())),
        ("quant", Box::new(|_, d| d.quant.clone())),
        ("kv type", Box::new(|_, d| d.kv_type.clone())),
        ("cycles", Box::new(|_, d| d.cycles.to_string())),
        (
            "exit",
            Box::new(|_, d| {
                d.exit_threshold
                    .map_or("none".to_string(), |t| t.to_string())
            }),
        ),
        (
            "mean cycles",
            Box::new(|_, d| format!("{:.2}", d.mean_cycles)),
        ),
        ("test", Box::new(|row, _| row.test.clone())),
        ("t/s", Box::new(|row, _| mean_and_sd(row))),
        ("median", Box::new(|row, _| figure(row.stats.median))),
        ("GB/s", Box::new(|_, d| optional(d.gb_per_s))),
        (
            "% of read",
            Box::new(|_, d| optional(d.percent_of_bandwidth)),
        ),
        (
            "first token ms",
            Box::new(|_, d| optional(d.time_to_first_token_ms)),
        ),
        (
            "submissions/t",
            Box::new(|_, d| figure(d.submissions_per_token)),
        ),
        (
            "dispatches/t",
            Box::new(|_, d| figure(d.dispatches_per_token)),
        ),
        (
            "read-backs/t",
            Box::new(|_, d| figure(d.read_backs_per_token)),
        ),
    ]
}

fn device_columns<'a>() -> Vec<Column<'a, DeviceDetail>> {
    vec![
        ("test", Box::new(|row, _| row.test.clone())),
        ("median", Box::new(|row, _| figure(row.stats.median))),
        ("unit", Box::new(|row, _| row.unit.name().to_string())),
        ("mean ± sd", Box::new(|row, _| mean_and_sd(row))),
        (
            "spread %",
            Box::new(|row, _| format!("{:.1}", row.stats.spread_percent)),
        ),
        ("clock", Box::new(|_, d| d.clock.name().to_string())),
        ("wall median", Box::new(|_, d| figure(d.wall_median))),
    ]
}

fn kernel_columns<'a>() -> Vec<Column<'a, KernelDetail>> {
    vec![
        ("test", Box::new(|row, _| row.test.clone())),
        ("kernel", Box::new(|_, d| d.kernel.clone())),
        ("rows", Box::new(|_, d| d.n_rows.to_string())),
        ("median", Box::new(|row, _| figure(row.stats.median))),
        ("unit", Box::new(|row, _| row.unit.name().to_string())),
        ("mean ± sd", Box::new(|row, _| mean_and_sd(row))),
        (
            "spread %",
            Box::new(|row, _| format!("{:.1}", row.stats.spread_percent)),
        ),
        ("GB/s", Box::new(|_, d| figure(d.gb_per_s))),
        ("GFLOP/s", Box::new(|_, d| figure(d.gflop_per_s))),
        (
            "% of peak",
            Box::new(|_, d| format!("{:.1}", d.percent_of_peak)),
        ),
        ("bound", Box::new(|_, d| d.bound.clone())),
        ("clock", Box::new(|_, d| d.clock.name().to_string())),
        ("wall median", Box::new(|_, d| figure(d.wall_median_us))),
    ]
}

fn with_software(adapter: &AdapterFacts) -> String {
    match adapter.software {
        true => format!("{} (software)", adapter.name),
        false => adapter.name.clone(),
    }
}

fn mean_and_sd(row: &Row) -> String {
    format!("{} ± {}", figure(row.stats.mean), figure(row.stats.sd))
}

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), figure)
}

/// Four significant digits, without an exponent.
pub fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 6) as usize)
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_four_digits() {
        let shown: Vec<_> = [0.0, 0.012345, 1.23456, 99.999, 12345.6]
            .into_iter()
            .map(figure)
            .collect();
        assert_eq!(shown, ["0", "0.01235", "1.235", "100.00", "12346"]);
    }
}
