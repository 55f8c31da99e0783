//! Arguments and code of both `bench` and `microbench`: where they run, and how they give out their
//! report.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::args::{AdapterArgs, named};
use super::output;
use crate::engine::DeviceModel;
use crate::gpu::Gpu;
use crate::gpu::adapter::{choose, type_name};
use crate::measure::check;
use crate::measure::formats::{FORMATS, Format};
use crate::measure::report::{AdapterFacts, Report};
use crate::measure::{html, plot};
use crate::model::Model;
use crate::model::quant::Quant;
use crate::model::synthetic::{Cycled, PRESETS, Preset};

/// A model without a file.
#[derive(clap::Args)]
pub struct SyntheticArgs {
    /// Random weights of the shape tiny, 135m, 1b, 3b, ouro-1.4b or nanbeige-3b, instead of a
    /// checkpoint
    #[arg(long, value_name = "PRESET", value_delimiter = ',', value_parser = preset,
          help_heading = "Synthetic models")]
    pub synthetic: Vec<Preset>,

    /// Make it a ZTT: layers before the cycled ones
    #[arg(
        long,
        value_name = "N",
        requires = "stored_cycles",
        help_heading = "Synthetic models"
    )]
    pub head: Option<usize>,

    /// Layers after the cycled ones
    #[arg(
        long,
        value_name = "N",
        requires = "stored_cycles",
        help_heading = "Synthetic models"
    )]
    pub tail: Option<usize>,

    /// Times the layers between run
    #[arg(long, value_name = "N", value_parser = super::args::at_least_one,
          requires = "synthetic", help_heading = "Synthetic models")]
    pub stored_cycles: Option<usize>,

    /// Let the device make the random weights: at once for any size, but without a check against
    /// the reference
    #[arg(long, requires = "synthetic", help_heading = "Synthetic models")]
    pub on_device: bool,
}

impl SyntheticArgs {
    /// Which layers are cycled; one head and one tail layer unless told otherwise.
    pub fn cycled(&self) -> Option<Cycled> {
        self.stored_cycles.map(|cycles| Cycled {
            head: self.head.unwrap_or(1),
            tail: self.tail.unwrap_or(1),
            cycles,
        })
    }

    /// A model of that shape with its matrices in the format `quant`, or in f16.
    pub fn model(
        &self,
        preset: &Preset,
        cycled: Option<Cycled>,
        quant: Option<Quant>,
    ) -> crate::Result<Model> {
        if self.on_device {
            Model::blank(preset, cycled, quant)
        } else {
            Model::synthetic(preset, cycled)?.with_quant(quant)
        }
    }

    /// Brings `model` onto the device, and holds what the device computes against the reference,
    /// unless it makes the weights itself.
    pub fn upload(
        &self,
        gpu: &Arc<Gpu>,
        model: &Model,
        progress: &mut dyn FnMut(u64),
    ) -> crate::Result<Arc<DeviceModel>> {
        let gpu = Arc::clone(gpu);
        if self.on_device {
            return pollster::block_on(DeviceModel::random(gpu, model, progress)).map(Arc::new);
        }
        let uploaded = pollster::block_on(DeviceModel::upload(gpu, model, progress))?;
        let device_model = Arc::new(uploaded);
        check::against_reference(model, &device_model)?;
        Ok(device_model)
    }
}

/// How a report is given out.
#[derive(clap::Args)]
pub struct ReportArgs {
    /// How the report is printed: table, md, csv, json, jsonl [default: table on a terminal, else
    /// md]
    #[arg(short, long, value_name = "FORMAT", value_parser = format, help_heading = "Report")]
    pub output: Option<Format>,

    /// Draw the figures into this SVG file
    #[arg(long, value_name = "FILE.svg", help_heading = "Report")]
    pub plot: Option<PathBuf>,

    /// Write a page with tables and pictures, which needs no other file
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub html: Option<PathBuf>,
}

impl ReportArgs {
    /// Prints the report and writes the files asked for.
    pub fn give_out(&self, report: &Report) -> Result<()> {
        let format = format_for_stdout(self.output);
        output::report(format, &format.write(report)?)?;
        if let Some(file) = &self.plot {
            output::write_file(file, &plot::combined(report)?)?;
        }
        if let Some(file) = &self.html {
            output::write_file(file, &html::html(report)?)?;
        }
        Ok(())
    }

    /// Refuses files that cannot be written, before minutes of measuring.
    pub fn check(&self) -> Result<()> {
        output::check_files(self.files(), None)
    }

    /// Refuses files that `model` is read from.
    pub fn check_with(&self, model: &Model) -> Result<()> {
        output::check_files(self.files(), Some(model))
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.plot, &self.html].into_iter().flatten()
    }
}

pub fn format(text: &str) -> Result<Format, String> {
    named(text, FORMATS)
}

/// The format that is asked for; else a table for people at a terminal, and Markdown elsewhere.
pub fn format_for_stdout(asked: Option<Format>) -> Format {
    asked.unwrap_or_else(|| match std::io::stdout().is_terminal() {
        true => Format::Table,
        false => Format::Markdown,
    })
}

fn preset(text: &str) -> Result<Preset, String> {
    let presets: Vec<_> = PRESETS.iter().map(|p| (p.name, *p)).collect();
    named(text, &presets)
}

/// Opens the adapter that is asked for, or `None` where there is none.
pub fn open(args: &AdapterArgs, experimental: bool) -> Result<Option<Arc<Gpu>>> {
    let Some(adapter) = pollster::block_on(choose(&args.choice()))? else {
        return Ok(None);
    };
    let gpu = match experimental {
        true => pollster::block_on(Gpu::open_for_probes(&adapter))?,
        false => pollster::block_on(Gpu::open(&adapter))?,
    };
    let gpu = gpu.with_kernels(args.kernels)?.with_skip(args.skip);
    Ok(Some(Arc::new(gpu)))
}

/// The facts about an adapter for a report; `None` stands for the plain Rust reference.
pub fn facts(gpu: Option<&Gpu>) -> AdapterFacts {
    let Some(gpu) = gpu else {
        return AdapterFacts {
            name: "cpu".to_string(),
            backend: "none".to_string(),
            driver: "plain Rust reference".to_string(),
            kind: "host".to_string(),
            software: true,
        };
    };
    let info = &gpu.info;
    let driver = format!("{} {}", info.driver, info.driver_info);
    AdapterFacts {
        name: info.name.clone(),
        backend: info.backend.to_string(),
        driver: driver.trim().to_string(),
        kind: type_name(info.device_type).to_string(),
        software: gpu.is_software(),
    }
}
