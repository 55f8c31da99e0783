//! The adapters that tests run on, and how tests are reported where there is none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::Result;
use libtest_mimic::{Failed, Trial};
use ztt_wgpu::gpu::adapter::{AdapterChoice, BACKENDS, choose};
use ztt_wgpu::gpu::{CLASSES, Gpu, KernelClass};

/// With this set to `require`, a machine without an adapter fails the tests that need one.
const REQUIRED: &str = "ZTT_GPU";

/// The adapters for tests of kernels and of golden data: parts of names, or `backend:name`, with
/// commas between them. The first one is for all other tests as well; without the variable it is
/// the best of the machine.
const ADAPTERS: &str = "ZTT_ADAPTERS";

static CHOICES: LazyLock<Vec<AdapterChoice>> = LazyLock::new(|| {
    let text = std::env::var(ADAPTERS).unwrap_or_default();
    let named = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let choices: Vec<_> = named.map(choice).collect();
    match choices.is_empty() {
        true => vec![AdapterChoice::default()],
        false => choices,
    }
});

/// Which of [`CHOICES`] the tests are for that are being listed.
static CURRENT: AtomicUsize = AtomicUsize::new(0);

fn choice(text: &str) -> AdapterChoice {
    let with_backend = text.split_once(':').and_then(|(backend, name)| {
        let known = BACKENDS.iter().find(|b| b.0 == backend)?;
        Some((known.1, name))
    });
    let (backend, name) = with_backend.map_or((None, text), |(b, name)| (Some(b), name));
    AdapterChoice {
        name: Some(name.to_string()).filter(|name| !name.is_empty()),
        backend,
    }
}

/// Lists tests once for each adapter.
pub fn on_each(list: fn() -> Vec<Trial>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for i in 0..CHOICES.len() {
        CURRENT.store(i, Ordering::Relaxed);
        trials.extend(list());
    }
    CURRENT.store(0, Ordering::Relaxed);
    trials
}

/// An adapter, or why there is none.
type Opened = std::result::Result<Arc<Gpu>, String>;

/// One of [`CHOICES`], opened once for each class of kernels, and once for the class that it
/// takes by itself.
fn gpu(index: usize, class: Option<KernelClass>) -> Opened {
    type Key = (usize, Option<KernelClass>);
    static GPUS: Mutex<Vec<(Key, Opened)>> = Mutex::new(Vec::new());
    let mut opened = GPUS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (index, class);
    if let Some((_, gpu)) = opened.iter().find(|(known, _)| *known == key) {
        return gpu.clone();
    }
    let open = || {
        let adapter = pollster::block_on(choose(&CHOICES[index]));
        let adapter = adapter.map_err(|e| e.to_string())?;
        let adapter = adapter.ok_or(format!("no adapter, and {REQUIRED}=require asks for one"))?;
        let gpu = pollster::block_on(Gpu::open(&adapter)).map_err(|e| e.to_string())?;
        let gpu = gpu.with_kernels(class).map_err(|e| e.to_string())?;
        Ok(Arc::new(gpu))
    };
    let gpu = open();
    opened.push((key, gpu.clone()));
    gpu
}

/// A test that needs an adapter: ignored, with the reason, where there is none.
pub fn trial(
    name: impl Into<String>,
    run: impl FnOnce(Arc<Gpu>) -> Result<()> + Send + 'static,
) -> Trial {
    trial_of(None, name, run)
}

/// Tests that need an adapter, one for every class of kernels.
pub fn trials_by_class(
    name: &str,
    run: impl Fn(Arc<Gpu>) -> Result<()> + Clone + Send + 'static,
) -> Vec<Trial> {
    let of_class = |&(class_name, class): &(&str, KernelClass)| {
        trial_of(Some(class), format!("{name}::{class_name}"), run.clone())
    };
    CLASSES.iter().map(of_class).collect()
}

/// A test that needs an adapter which runs `class`, or any.
pub fn trial_of(
    class: Option<KernelClass>,
    name: impl Into<String>,
    run: impl FnOnce(Arc<Gpu>) -> Result<()> + Send + 'static,
) -> Trial {
    let index = CURRENT.load(Ordering::Relaxed);
    let opened = gpu(index, class);
    // An adapter that cannot run a class is no fault of the machine; one that was named and is
    // not there is.
    let lacks_class = opened.is_err() && gpu(index, None).is_ok();
    let named = CHOICES[index] != AdapterChoice::default();
    let required = named || std::env::var(REQUIRED).is_ok_and(|v| v == "require");
    let kind = match &opened {
        Ok(gpu) => gpu.info.name.split(" (").next().unwrap_or("").to_string(),
        Err(_) if lacks_class => "adapter whose subgroups are too small".to_string(),
        Err(_) => "no adapter".to_string(),
    };
    let is_ignored = opened.is_err() && (lacks_class || !required);
    Trial::test(name, move || {
        let result = opened.map_err(anyhow::Error::msg).and_then(run);
        result.map_err(|e| Failed::from(format!("{e:#}")))
    })
    .with_kind(kind)
    .with_ignored_flag(is_ignored)
}
