//! A device with its queue: buffers, waiting, faults.

use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use wgpu::{
    BufferUsages, ErrorFilter, ExperimentalFeatures, Features, MemoryHints, PollType,
    SubmissionIndex, Trace,
};

use super::cache::DiskCache;
use super::class::KernelClass;
use super::faults::{self, Faults, Moment, Planted};
use super::kernel::Kernel;
use super::memory;
use super::pipelines::{Constants, Pipelines};
use super::placeholders::Placeholders;
use super::skip::Skip;
use super::target::Target;
use super::timestamps::Timestamps;
use crate::error::{Error, Result, first_line};

/// Features that are asked for where the adapter has them.
const USEFUL: Features = Features::TIMESTAMP_QUERY
    .union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS)
    .union(Features::TIMESTAMP_QUERY_INSIDE_PASSES)
    .union(Features::PIPELINE_CACHE)
    .union(Features::SUBGROUP);

/// An opened adapter.
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: wgpu::AdapterInfo,
    /// Features of the adapter that the engine uses.
    pub features: wgpu::Features,
    pub target: Target,
    /// Bytes that everything on the adapter can take together; `None` where nobody says.
    pub memory: Option<u64>,
    is_first_run: bool,
    faults: Arc<Faults>,
    pipelines: Mutex<Pipelines>,
    pub(super) placeholders: Placeholders,
}

impl Gpu {
    /// Opens `adapter` with all of its own limits.
    pub async fn open(adapter: &wgpu::Adapter) -> Result<Self> {
        Self::open_with(adapter, USEFUL, ExperimentalFeatures::disabled()).await
    }

    /// Opens `adapter` with all of its own limits, and with the features that probes use besides
    /// those of the engine: f16 and cooperative matrices, where it has them.
    pub async fn open_for_probes(adapter: &wgpu::Adapter) -> Result<Self> {
        // SAFETY: wgpu asks for this because the feature is young: a fault of its own could be
        // undefined behaviour. The one shader that uses it is measured, and computes no result.
        let experimental = unsafe { ExperimentalFeatures::enabled() };
        let features = USEFUL | Features::SHADER_F16 | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        Self::open_with(adapter, features, experimental).await
    }

    async fn open_with(
        adapter: &wgpu::Adapter,
        useful: Features,
        experimental_features: ExperimentalFeatures,
    ) -> Result<Self> {
        let info = adapter.get_info();
        let limits = adapter.limits();
        let features = adapter.features() & useful;
        let description = wgpu::DeviceDescriptor {
            label: Some("ztt-wgpu"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features,
            memory_hints: MemoryHints::Performance,
            trace: Trace::Off,
        };
        let opened = adapter.request_device(&description).await;
        let (device, queue) = opened.map_err(|e| Error::Device {
            adapter: info.name.clone(),
            message: first_line(e),
        })?;
        let faults = Arc::new(Faults::default());
        let on_error = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            on_error.report(error_chain(&e));
        }));
        let on_lost = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                on_lost.report(format!("device lost: {message}"));
            }
        });
        let placeholders = Placeholders::new(&device);
        let disk = DiskCache::open(&device, &info);
        let matrices = match features.contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            true => adapter.cooperative_matrix_properties(),
            false => Vec::new(),
        };
        Ok(Self {
            device,
            queue,
            target: Target::of(&info, features, limits, matrices),
            memory: memory::of(adapter),
            info,
            features,
            is_first_run: disk.as_ref().is_some_and(DiskCache::is_new),
            faults,
            pipelines: Mutex::new(Pipelines::new(disk)),
            placeholders,
        })
    }

    /// This device with the class of kernels `class`, if one is named.
    ///
    /// # Errors
    /// [`Error::Option`] when the adapter lacks what the class needs.
    pub fn with_kernels(self, class: Option<KernelClass>) -> Result<Self> {
        let class = class.unwrap_or(self.target.class);
        Ok(Self {
            target: self.target.with_class(class)?,
            ..self
        })
    }

    /// This device with dispatches passed over as `skip` says, if it says anything.
    pub fn with_skip(self, skip: Option<Skip>) -> Self {
        let target = Target {
            skip: skip.unwrap_or(self.target.skip),
            ..self.target
        };
        Self { target, ..self }
    }

    /// Where timestamps can be written.
    pub fn timestamps(&self) -> Timestamps {
        Timestamps::of(self.features)
    }

    /// Whether compiled kernels are kept for the adapter, but none has been so far.
    pub fn is_first_run(&self) -> bool {
        self.is_first_run
    }

    /// Whether this is a software adapter, whose figures say nothing about a GPU.
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Name, backend and driver in one line; a software adapter is called one.
    pub fn description(&self) -> String {
        let info = &self.info;
        let kind = match self.is_software() {
            true => ", software adapter",
            false => "",
        };
        let driver = format!("{} {}", info.driver, info.driver_info);
        format!("{} ({}, {}{kind})", info.name, info.backend, driver.trim())
    }

    /// # Errors
    /// [`Error::Device`] with the first fault reported so far.
    pub fn check(&self) -> Result<()> {
        match self.faults.first() {
            Some(message) => Err(self.fault(message.to_string())),
            None => Ok(()),
        }
    }

    /// The error of a device that does not answer what it was asked.
    pub(super) fn silence(&self) -> Error {
        self.fault("the device stopped answering".to_string())
    }

    pub(super) fn fault(&self, message: String) -> Error {
        Error::Device {
            adapter: self.info.name.clone(),
            message,
        }
    }

    /// Refuses `n_bytes` that no single binding of this adapter can hold.
    pub fn check_binding(&self, what: &str, n_bytes: u64, advice: &'static str) -> Result<()> {
        let limit = self.target.binding_limit();
        match n_bytes <= limit {
            true => Ok(()),
            false => Err(self.too_large(what, n_bytes, limit, "bytes", advice)),
        }
    }

    /// Refuses a texture whose longest side, or whose number of layers, is beyond this adapter.
    pub fn check_texture(
        &self,
        what: &str,
        [width, height, n_layers]: [usize; 3],
        advice: &'static str,
    ) -> Result<()> {
        let limits = &self.target.limits;
        let sides = (width.max(height), limits.max_texture_dimension_2d);
        let layers = (n_layers, limits.max_texture_array_layers);
        for ((found, limit), unit) in [
            (sides, "texels a side of a texture"),
            (layers, "layers of a texture"),
        ] {
            if found > limit as usize {
                return Err(self.too_large(what, found as u64, limit.into(), unit, advice));
            }
        }
        Ok(())
    }

    /// The error that this adapter cannot hold something: `found` of a `unit`, of which `limit`
    /// are the most.
    fn too_large(
        &self,
        what: &str,
        found: u64,
        limit: u64,
        unit: &'static str,
        advice: &'static str,
    ) -> Error {
        Error::TooLarge {
            what: what.to_string(),
            adapter: self.info.name.clone(),
            limit,
            found,
            unit,
            advice: advice.to_string(),
        }
    }

    /// A storage buffer of zeros, of at least 16 bytes.
    pub fn storage(&self, label: &str, n_bytes: u64) -> wgpu::Buffer {
        self.buffer(
            label,
            n_bytes,
            BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        )
    }

    /// A texture of zeros, `width` by `height` texels of 16 bytes.
    pub fn texture(
        &self,
        label: &str,
        [width, height]: [u32; 2],
        format: wgpu::TextureFormat,
        usage: wgpu::TextureUsages,
    ) -> wgpu::Texture {
        self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: wgpu::Extent3d {
                width: width.max(1),
                height: height.max(1),
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        })
    }

    /// A buffer of zeros, of at least 16 bytes.
    pub fn buffer(&self, label: &str, n_bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: n_bytes.max(16).next_multiple_of(4),
            usage,
            mapped_at_creation: false,
        })
    }

    /// A buffer that holds `data`, which fills whole words.
    pub fn buffer_with<T: bytemuck::NoUninit>(
        &self,
        label: &str,
        data: &[T],
        usage: BufferUsages,
    ) -> wgpu::Buffer {
        // Not mapped at creation: that panics where memory runs out or the device is lost.
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() as u64, usage | BufferUsages::COPY_DST);
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    /// The pipeline of `kernel` with `constants`, made on first use.
    pub fn pipeline(
        &self,
        kernel: &'static Kernel,
        constants: &Constants,
    ) -> Arc<wgpu::ComputePipeline> {
        let mut pipelines = self
            .pipelines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        pipelines.get(&self.device, kernel, constants)
    }

    /// What `make` makes, for which the device may have no memory: `what` it is.
    ///
    /// # Errors
    /// [`Error::Device`] where it has none, and the device can be used as before; those of `make`.
    pub async fn allocate<T>(&self, what: &str, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let scope = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let made = make();
        let failed = scope.pop().await.map(|e| error_chain(&e));
        let planted = faults::due(Moment::Allocation).map(|_| "planted".to_string());
        match failed.or(planted) {
            Some(e) => Err(self.fault(format!("no memory for the {what}: {}", first_line(e)))),
            None => made,
        }
    }

    /// Waits until everything submitted so far is done.
    pub async fn wait(&self) -> Result<()> {
        let (sender, done) = oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            let _ = sender.send(());
        });
        self.poll(None)?;
        done.await.map_err(|_| self.silence())
    }

    /// Has wgpu answer what is asked about `submission`, or about everything submitted so far:
    /// natively this blocks until that is done. Browsers answer by themselves, once they are let.
    pub(super) fn poll(&self, submission: Option<SubmissionIndex>) -> Result<()> {
        match faults::due(Moment::Wait) {
            Some(Planted::Lost) => {
                self.device.destroy();
                self.faults.report("device lost: destroyed".to_string());
            }
            Some(Planted::OutOfMemory) => self.faults.report("out of memory".to_string()),
            Some(Planted::NoRoom) | None => {}
        }
        let polled = self.device.poll(PollType::Wait {
            submission_index: submission,
            timeout: None,
        });
        self.check()?;
        polled.map(|_| ()).map_err(|e| self.fault(first_line(e)))
    }
}

/// An error with its causes: wgpu's outermost message says little.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text = format!("{}: {e}", text.trim_end());
        cause = e.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
