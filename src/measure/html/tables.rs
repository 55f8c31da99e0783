//! The rows of a report as tables of text.

use serde::Serialize;

use crate::measure::number::{bytes, count, microseconds, percent, significant};
use crate::measure::report::{
    Clock, Detail, DeviceDetail, KernelDetail, ModelDetail, Report, Row, Unit,
};

const NOT_MEASURED: &str = "–";

/// Rows of one kind.
#[derive(Serialize)]
pub struct Table {
    title: &'static str,
    note: &'static str,
    /// The columns that have one text in every row, left out of the table.
    common: Vec<Common>,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Serialize)]
struct Column {
    name: &'static str,
    is_number: bool,
}

#[derive(Serialize)]
struct Common {
    name: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Cell {
    text: String,
    is_number: bool,
    /// The length of a bar behind the text, in percent of the cell.
    bar: Option<f64>,
}

/// The tables that have rows.
pub fn tables(report: &Report) -> Vec<Table> {
    let models = rows_of(report, |row| match &row.detail {
        Detail::Model(model) => Some(model_cells(row, model)),
        _ => None,
    });
    let kernels = rows_of(report, |row| match &row.detail {
        Detail::Kernel(kernel) => Some(kernel_cells(row, kernel)),
        _ => None,
    });
    let devices = rows_of(report, |row| match &row.detail {
        Detail::Device(device) => Some(device_cells(row, device)),
        _ => None,
    });
    let tables = [
        ("Model", MODEL_NOTE, &MODEL_COLUMNS[..], models),
        ("Kernels", KERNEL_NOTE, &KERNEL_COLUMNS[..], kernels),
        ("Device", DEVICE_NOTE, &DEVICE_COLUMNS[..], devices),
    ];
    tables
        .into_iter()
        .filter(|(_, _, _, rows)| !rows.is_empty())
        .map(|(title, note, columns, rows)| Table::new(title, note, columns, rows))
        .collect()
}

impl Table {
    fn new(
        title: &'static str,
        note: &'static str,
        names: &[&'static str],
        rows: Vec<Vec<Cell>>,
    ) -> Self {
        let is_common: Vec<bool> = (0..names.len())
            .map(|column| rows.len() > 1 && has_one_text(&rows, column))
            .collect();
        let common = names
            .iter()
            .zip(&rows[0])
            .zip(&is_common)
            .filter(|((_, cell), is_common)| **is_common && cell.text != NOT_MEASURED)
            .map(|((name, cell), _)| Common {
                name,
                text: cell.text.clone(),
            })
            .collect();
        let columns = names.iter().zip(&rows[0]).map(Column::over);
        Self {
            title,
            note,
            common,
            columns: without(&is_common, columns),
            rows: rows
                .into_iter()
                .map(|row| without(&is_common, row))
                .collect(),
        }
    }
}

fn has_one_text(rows: &[Vec<Cell>], column: usize) -> bool {
    rows.windows(2)
        .all(|pair| pair[0][column].text == pair[1][column].text)
}

/// The elements that `left_out` does not mark.
fn without<T>(left_out: &[bool], all: impl IntoIterator<Item = T>) -> Vec<T> {
    all.into_iter()
        .zip(left_out)
        .filter(|(_, left_out)| !**left_out)
        .map(|(one, _)| one)
        .collect()
}

fn rows_of(report: &Report, cells: impl Fn(&Row) -> Option<Vec<Cell>>) -> Vec<Vec<Cell>> {
    report.rows.iter().filter_map(cells).collect()
}

impl Column {
    /// Aligned as the cell is.
    fn over((name, cell): (&&'static str, &Cell)) -> Self {
        Self {
            name,
            is_number: cell.is_number,
        }
    }
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_number: false,
            bar: None,
        }
    }

    fn number(text: impl Into<String>) -> Self {
        Self {
            is_number: true,
            ..Self::text(text)
        }
    }

    fn share(share: f64) -> Self {
        let bar = if share.is_finite() {
            share.clamp(0.0, 100.0)
        } else {
            0.0
        };
        Self {
            bar: Some((bar * 10.0).round() / 10.0),
            ..Self::number(percent(share))
        }
    }

    /// The cell of a value, or a dash where it was not measured.
    fn or_dash<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or_else(|| Self::number(NOT_MEASURED), cell)
    }
}

const MODEL_NOTE: &str = "Medians of the repetitions. Bandwidth counts the bytes that a pass \
    cannot avoid moving; its share is of the read bandwidth measured in the same run. Dispatches \
    and read-backs are those of one token. The spread is the \
    distance between the quartiles over the median.";

const MODEL_COLUMNS: [&str; 15] = [
    "test",
    "model",
    "weights",
    "size",
    "cache",
    "cycles",
    "exit at",
    "mean cycles",
    "tokens/s",
    "spread",
    "GB/s",
    "of bandwidth",
    "first token",
    "dispatches",
    "read-backs",
];

fn model_cells(row: &Row, model: &ModelDetail) -> Vec<Cell> {
    vec![
        Cell::text(&row.test),
        Cell::text(&model.model),
        Cell::text(format!("{}, {}", model.quant, model.kernels)),
        Cell::number(bytes(model.size_bytes as f64)),
        Cell::text(&model.kv_type),
        Cell::number(model.cycles.to_string()),
        Cell::number(
            model
                .exit_threshold
                .map_or("none".into(), |t| t.to_string()),
        ),
        Cell::number(significant(model.mean_cycles, 3)),
        Cell::number(figure(row.stats.median, row.unit)),
        Cell::number(percent(row.stats.spread_percent)),
        Cell::or_dash(model.gb_per_s, |speed| Cell::number(significant(speed, 4))),
        Cell::or_dash(model.percent_of_bandwidth, Cell::share),
        Cell::or_dash(model.time_to_first_token_ms, |ms| {
            Cell::number(microseconds(ms * 1e3))
        }),
        Cell::number(significant(model.dispatches_per_token, 3)),
        Cell::number(significant(model.read_backs_per_token, 3)),
    ]
}

const KERNEL_NOTE: &str = "Medians of the repetitions. The bound is the peak that allows the \
    kernel less: the bandwidth of the memory, or the arithmetic units. The spread is the distance \
    between the quartiles over the median.";

const KERNEL_COLUMNS: [&str; 11] = [
    "phase", "rows", "role", "kernel", "time", "spread", "bytes", "GB/s", "GFLOP/s", "bound",
    "of peak",
];

fn kernel_cells(row: &Row, kernel: &KernelDetail) -> Vec<Cell> {
    vec![
        Cell::text(&kernel.phase),
        Cell::number(count(kernel.n_rows as u64)),
        Cell::text(&kernel.role),
        Cell::text(&kernel.kernel),
        Cell::number(figure(row.stats.median, row.unit)),
        Cell::number(percent(row.stats.spread_percent)),
        Cell::number(bytes(kernel.bytes as f64)),
        Cell::number(significant(kernel.gb_per_s, 4)),
        match kernel.flops {
            0 => Cell::number(NOT_MEASURED),
            _ => Cell::number(significant(kernel.gflop_per_s, 4)),
        },
        Cell::text(&kernel.bound),
        Cell::share(kernel.percent_of_peak),
    ]
}

const DEVICE_NOTE: &str = "Medians of the repetitions. The clock is the device's own timestamps, \
    or the host's from submission until the device is done; the host's figure stands beside it. \
    The spread is the distance between the quartiles over the median.";

const DEVICE_COLUMNS: [&str; 9] = [
    "probe",
    "access",
    "working set",
    "median",
    "least",
    "greatest",
    "spread",
    "clock",
    "by the host's clock",
];

fn device_cells(row: &Row, device: &DeviceDetail) -> Vec<Cell> {
    let clock = match device.clock {
        Clock::Gpu => "device",
        Clock::Wall => "host",
    };
    vec![
        Cell::text(&device.probe),
        Cell::text(device.shape.as_deref().unwrap_or(NOT_MEASURED)),
        Cell::or_dash(device.working_set_bytes, |set| {
            Cell::number(bytes(set as f64))
        }),
        Cell::number(with_unit(row.stats.median, row.unit)),
        Cell::number(with_unit(row.stats.min, row.unit)),
        Cell::number(with_unit(row.stats.max, row.unit)),
        Cell::number(percent(row.stats.spread_percent)),
        Cell::text(clock),
        Cell::number(with_unit(device.wall_median, row.unit)),
    ]
}

/// For a column whose head names the unit; times always have theirs, which varies.
fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds => microseconds(value),
        _ => significant(value, 4),
    }
}

fn with_unit(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Microseconds => microseconds(value),
        _ => format!("{} {}", significant(value, 4), unit.name()),
    }
}
