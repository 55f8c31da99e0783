//! `microbench`: the rates that an adapter reaches, and the share of them that each kernel reaches.

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use super::args::HOST;
use super::args::{AdapterArgs, at_least_one, kv_type, quant, repetitions};
use super::measuring::{ReportArgs, SyntheticArgs, facts, open};
use super::{progress, stderr};
use crate::error::Error;
use crate::kernels::KvType;
use crate::measure::device::{self, Request};
use crate::measure::kernels::{self, MAX_PERCENT, Shapes};
use crate::measure::raw;
use crate::measure::report::{Report, Row};
use crate::measure::stopwatch::Stopwatch;
use crate::model::quant::Quant;
use crate::model::synthetic::{Cycled, PRESETS};
use crate::model::{Fetch, Model};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu microbench
  ztt-wgpu microbench decode --model ./model
  ztt-wgpu microbench --plot roofline.svg --html report.html";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only tests whose name contains one of these, such as `read`, `decode` or `prefill mlp`
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// Measure the kernels at the shapes of this checkpoint [default: `--synthetic tiny`, its
    /// layers cycled four times]
    #[arg(
        short,
        long,
        value_name = "MODEL",
        conflicts_with = "synthetic",
        help_heading = "Model"
    )]
    model: Option<String>,

    /// Rows of the prompt that prefill kernels work on
    #[arg(short = 'p', long, value_name = "N", value_parser = at_least_two, default_value_t = 128,
          help_heading = "Tests")]
    n_prompt: usize,

    /// Positions in the cache before
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        default_value_t = 256,
        help_heading = "Tests"
    )]
    n_depth: usize,

    /// Samples of every test
    #[arg(short, long, value_name = "N", value_parser = repetitions, default_value_t = 36,
          help_heading = "Tests")]
    repetitions: usize,

    /// Quantise matrices on the way: q8_0, q4_0 [default: as stored]
    #[arg(long, value_name = "FORMAT", value_parser = quant, help_heading = "Device")]
    quant: Option<Quant>,

    #[command(flatten)]
    synthetic: SyntheticArgs,

    #[command(flatten)]
    report: ReportArgs,

    /// How keys and values are kept: f16, f32, q8_0
    #[arg(long, value_name = "TYPE", value_parser = kv_type, default_value = "f16",
          help_heading = "Device")]
    kv_type: KvType,

    #[command(flatten)]
    adapter: AdapterArgs,
}

/// Rounds that the samples of a test are spread over.
const ROUNDS: usize = 36;

fn at_least_two(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        1 => Err("expected a whole number of at least 2: one row is what decoding has".to_string()),
        n => Ok(n),
    }
}

pub fn main(args: Args) -> Result<()> {
    args.report.check()?;
    if args.adapter.is_host() {
        bail!("--adapter: expected a device, found `{HOST}`, the plain Rust reference");
    }
    let gpu =
        open(&args.adapter, true)?.context("no adapter found: there is nothing to measure")?;
    let model = match &args.model {
        Some(name) => {
            let model = Model::open(name, Fetch::Never)?.with_quant(args.quant)?;
            args.report.check_with(&model)?;
            model
        }
        None => {
            if args.synthetic.synthetic.len() > 1 {
                bail!("--synthetic: expected one preset, found several");
            }
            let preset = args.synthetic.synthetic.first().unwrap_or(&PRESETS[0]);
            // Cycled unless told otherwise: the kernels of the exit are among the engine's.
            let default = (!preset.is_looped()).then_some(Cycled {
                head: 1,
                tail: 1,
                cycles: 4,
            });
            let cycled = args.synthetic.cycled().or(default);
            args.synthetic.model(preset, cycled, args.quant)?
        }
    };
    let limit = model.config.max_positions;
    let found = args.n_prompt.saturating_add(args.n_depth);
    if found > limit {
        return Err(Error::Option {
            option: "-d with -p",
            expected: format!("at most {limit} positions, those of `{}`", model.name),
            found: found.to_string(),
        }
        .into());
    }
    stderr::facts(&[("adapter", &gpu.description()), ("model", &model.name)]);
    let bar = progress::styled(ProgressBar::new_spinner(), "{spinner} {elapsed} {msg}");
    let request = Request {
        wanted: &|test| args.filters.is_empty() || args.filters.iter().any(|f| test.contains(f)),
        tell: &|test| {
            bar.set_message(test.to_string());
            bar.tick();
        },
    };
    bar.set_message("the model against the reference");
    let device_model = args.synthetic.upload(&gpu, &model, &mut |_| bar.tick())?;
    let shapes = Shapes {
        n_prompt: args.n_prompt,
        depth: args.n_depth,
        kv_type: args.kv_type,
    };
    let mut list = Vec::new();
    let mut watch = Stopwatch::new(&gpu, 1);
    for round in 0..ROUNDS.min(args.repetitions) {
        watch.n_samples = (args.repetitions - round).div_ceil(ROUNDS);
        raw::collect(&mut list, device::measure(&watch, &request)?);
        let kernels = kernels::measure(&watch, &device_model, shapes, &request)?;
        raw::collect(&mut list, kernels);
        if !list.iter().any(|raw| (request.wanted)(&raw.test)) {
            break;
        }
    }
    bar.finish_and_clear();
    let peaks = raw::peaks(&list);
    list.retain(|raw| (request.wanted)(&raw.test));
    let rows: Vec<Row> = list.iter().map(|raw| raw.row(&peaks)).collect();
    if rows.is_empty() {
        bail!(
            "no test is called {}: expected a part of a name such as `read` or `decode qkv_proj`",
            args.filters.join(" or ")
        );
    }
    let report = Report {
        tool: "microbench".to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        adapter: facts(Some(&gpu)),
        peaks,
        rows,
    };
    args.report.give_out(&report)?;
    stderr::line(spread(&report.rows));
    match kernels::impossible(&report.rows) {
        Some((row, percent)) => bail!(
            "`{}` reaches {percent:.0} % of the measured peak: expected at most {MAX_PERCENT:.0} %, \
             the measurement is wrong",
            row.test
        ),
        None => Ok(()),
    }
}

/// How much samples of one test differed.
fn spread(rows: &[Row]) -> String {
    let mut spreads: Vec<(f64, &str)> = rows
        .iter()
        .map(|row| (row.stats.spread_percent, row.test.as_str()))
        .collect();
    spreads.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (median, _) = spreads[spreads.len() / 2];
    let (worst, test) = spreads[spreads.len() - 1];
    format!(
        "spread   of the samples between quartiles: {median:.1} % in the median test, \
         {worst:.1} % in the worst (`{test}`)"
    )
}
