//! From flags to an engine.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;

use super::args::{DeviceArgs, EngineArgs};
use super::drafts::DraftArgs;
use super::measuring::facts;
use super::{progress, scores, stderr};
use crate::engine::{DEFAULT_CTX, DeviceModel, Drafts, Engine, Logits, Options, check_fit};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::gpu::adapter::choose;
use crate::kernels::KvType;
use crate::measure::report::AdapterFacts;
use crate::model::Model;

/// Said where the reference steps in.
pub fn no_adapter() -> String {
    let drivers = match DRIVERS {
        "" => String::new(),
        drivers => format!(" ({drivers})"),
    };
    format!("no GPU adapter found: running the plain Rust reference, which is slow{drivers}")
}

/// Where drivers come from.
pub const DRIVERS: &str = match cfg!(target_os = "linux") {
    true => {
        "drivers are in the package mesa-vulkan-drivers on Debian and Ubuntu, in vulkan-radeon, \
         vulkan-intel and vulkan-swrast on Arch Linux, and come with NVIDIA's own driver"
    }
    false => "",
};

/// Said at a terminal where kernels have never been compiled for the adapter.
const FIRST_TIME: &str =
    "kernels are compiled for this adapter for the first time, which may take some seconds";

/// An engine with the messages about it.
pub struct Ready<'m> {
    pub engine: Engine<'m>,
    /// The adapter that the engine runs on, in one line.
    pub adapter: String,
    /// The facts about that adapter, for reports.
    pub facts: AdapterFacts,
    /// To be printed once nothing can go wrong any more.
    pub warnings: Vec<String>,
}

/// Prints warnings.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        stderr::line(format!("ztt-wgpu: warning: {warning}"));
    }
}

/// The context length that the flags and the model ask for.
pub fn n_ctx(asked: Option<usize>, model: &Model) -> Result<usize> {
    let maximum = model.config.max_positions;
    match asked {
        Some(n) if n > maximum => Err(Error::Option {
            option: "--ctx",
            expected: format!("at most {maximum}, the positions of the model"),
            found: n.to_string(),
        }
        .into()),
        Some(n) => Ok(n),
        None => Ok(maximum.min(DEFAULT_CTX)),
    }
}

/// How the flags ask for `model` to be run. Fails where it cannot follow them.
pub fn options(args: &EngineArgs, model: &Model, logits: Logits) -> Result<Options> {
    scores::check_flags(args, model)?;
    Ok(Options {
        cap: args.cycles,
        exit: args.exit_rule(model.config.exit()),
        n_sequences: 1,
        n_ctx: n_ctx(args.ctx, model)?,
        kv_type: args.device.kv_type,
        logits,
        drafts: Drafts::NONE,
    })
}

/// How the flags ask for texts of `model` to be generated.
pub fn text_options(args: &EngineArgs, drafts: &DraftArgs, model: &Model) -> Result<Options> {
    Ok(Options {
        drafts: drafts.drafts()?,
        ..options(args, model, Logits::Last)?
    })
}

/// An engine for `model` where the flags ask for it.
pub fn engine<'m>(args: &DeviceArgs, model: &'m Model, options: &Options) -> Result<Ready<'m>> {
    let placed = place(args, model, options)?;
    Ok(Ready {
        engine: placed.engine(options)?,
        adapter: placed.adapter(),
        facts: facts(placed.gpu()),
        warnings: placed.warnings,
    })
}

/// A model where it will run.
pub struct Placed<'m> {
    model: &'m Model,
    /// `None` is the plain Rust reference.
    device: Option<Arc<DeviceModel>>,
    /// As many passes ahead, instead of what suits the adapter.
    ahead: Option<usize>,
    /// To be printed once nothing can go wrong any more.
    pub warnings: Vec<String>,
}

impl<'m> Placed<'m> {
    /// An engine of its own, the weights shared with the others.
    pub fn engine(&self, options: &Options) -> crate::Result<Engine<'m>> {
        let Some(device) = &self.device else {
            return Engine::on_host(self.model, options);
        };
        let mut engine = Engine::on_device(self.model, device, options)?;
        if let Some(n) = self.ahead {
            engine.set_ahead(n);
        }
        Ok(engine)
    }

    pub fn gpu(&self) -> Option<&Gpu> {
        self.device.as_ref().map(|device| device.gpu.as_ref())
    }

    /// How keys and values are kept: as asked for on an adapter, in doubles on the host.
    pub fn kv_type(&self, asked: KvType) -> &'static str {
        match &self.device {
            None => "f64",
            Some(_) => asked.name(),
        }
    }

    /// The adapter that engines run on, in one line.
    pub fn adapter(&self) -> String {
        describe(self.gpu())
    }
}

/// An adapter in one line; `None` is the plain Rust reference.
pub fn describe(gpu: Option<&Gpu>) -> String {
    let host = "cpu (plain Rust reference)";
    gpu.map_or(host.to_string(), Gpu::description)
}

/// Puts `model` where the flags ask for it, if engines of such `options` will fit there.
pub fn place<'m>(
    args: &DeviceArgs,
    model: &'m Model,
    options: &Options,
) -> crate::Result<Placed<'m>> {
    let mut placed = Placed {
        model,
        device: None,
        ahead: args.ahead,
        warnings: model.warnings.clone(),
    };
    if args.adapter.is_host() {
        return Ok(placed);
    }
    let Some(adapter) = pollster::block_on(choose(&args.adapter.choice()))? else {
        placed.warnings.push(no_adapter());
        return Ok(placed);
    };
    let gpu = pollster::block_on(Gpu::open(&adapter))?;
    let gpu = gpu.with_kernels(args.adapter.kernels)?;
    let gpu = Arc::new(gpu.with_skip(args.adapter.skip));
    check_fit(&gpu, model, options)?;
    if gpu.is_first_run() && std::io::stderr().is_terminal() {
        stderr::line(FIRST_TIME);
    }
    let mut bar = LoadBar::new(model);
    let device_model = pollster::block_on(DeviceModel::upload(gpu, model, &mut |n| bar.show(n)))?;
    bar.finish();
    placed.device = Some(Arc::new(device_model));
    Ok(placed)
}

/// A progress bar that appears on a terminal once loading has taken a second.
struct LoadBar {
    start: Instant,
    total: u64,
    bar: Option<ProgressBar>,
}

impl LoadBar {
    fn new(model: &Model) -> Self {
        Self {
            start: Instant::now(),
            total: model.weight_bytes(),
            bar: None,
        }
    }

    fn show(&mut self, done: u64) {
        let slow = self.start.elapsed() > Duration::from_secs(1);
        if self.bar.is_none() && slow && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(self.total);
            let template = "loading {bar:30} {bytes} of {total_bytes}";
            self.bar = Some(progress::styled(bar, template));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
