//! A report as text: Markdown for people, CSV, JSON and JSON lines for programs. All have the
//! same rows in the same order.

use serde_json::{Map, Value};

use super::report::{AdapterFacts, Detail, DeviceDetail, KernelDetail, ModelDetail, Report, Row};
use crate::error::{Error, Result, first_line};

/// The formats that `-o` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Csv,
    Json,
    JsonLines,
}

/// The formats by the names flags use.
pub const FORMATS: &[(&str, Format)] = &[
    ("md", Format::Markdown),
    ("csv", Format::Csv),
    ("json", Format::Json),
    ("jsonl", Format::JsonLines),
];

impl Format {
    /// The whole report in this format, ending in a line break.
    pub fn write(self, report: &Report) -> Result<String> {
        match self {
            Format::Markdown => Ok(markdown(report)),
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

fn markdown(report: &Report) -> String {
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
    out += &table(&models, &model_columns(&report.adapter));
    out += &table(&devices, &device_columns());
    out += &table(&kernels, &kernel_columns());
    out
}

/// The adapter in one line.
fn headline(adapter: &AdapterFacts) -> String {
    let software = match adapter.software {
        true => " -- a software adapter: its figures say nothing about a GPU",
        false => "",
    };
    format!(
        "{} ({}, {}, {}){software}",
        adapter.name, adapter.backend, adapter.kind, adapter.driver
    )
}

fn table<D>(rows: &[(&Row, &D)], columns: &[Column<'_, D>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let cells = rows.iter().map(|(row, detail)| {
        let cells = columns.iter().map(|(_, cell)| cell(row, detail));
        cells.collect()
    });
    "\n".to_string() + &table_lines(&titles, cells)
}

/// A table in Markdown, figures to the right.
pub(super) fn table_lines(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rules = titles.iter().map(|title| match *title {
        "model" | "test" | "adapter" | "driver" | "kernel" | "bound" | "clock" | "policy" => "---",
        _ => "---:",
    });
    let mut out = line(titles.iter().map(|title| title.to_string()).collect());
    out += &line(rules.map(str::to_string).collect());
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
