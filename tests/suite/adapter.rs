//! The adapter that tests run on, and how tests are reported where there is none.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use libtest_mimic::{Failed, Trial};
use ztt_wgpu::gpu::adapter::{AdapterChoice, choose};
use ztt_wgpu::gpu::{CLASSES, Gpu, KernelClass};

/// With this set to `require`, a machine without an adapter fails the tests that need one.
const VARIABLE: &str = "ZTT_GPU";

/// The best adapter of the machine, or `None`: opened once for each class of kernels, and once
/// for the class that it takes by itself.
fn gpu(class: Option<KernelClass>) -> Option<Arc<Gpu>> {
    type Opened = Vec<(Option<KernelClass>, Option<Arc<Gpu>>)>;
    static GPUS: Mutex<Opened> = Mutex::new(Vec::new());
    let mut opened = GPUS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, gpu)) = opened.iter().find(|(known, _)| *known == class) {
        return gpu.clone();
    }
    let open = || {
        let adapter = pollster::block_on(choose(&AdapterChoice::default())).ok()??;
        let gpu = pollster::block_on(Gpu::open(&adapter)).ok()?;
        Some(Arc::new(gpu.with_kernels(class).ok()?))
    };
    let gpu = open();
    opened.push((class, gpu.clone()));
    gpu
}

/// A test that needs an adapter: ignored, with the reason, where there is none.
pub fn trial(
    name: impl Into<String>,
    run: impl FnOnce(Arc<Gpu>) -> Result<()> + Send + 'static,
) -> Trial {
    trial_of(None, name, run)
}

/// The same with every class of kernels, each in a test of its own.
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
    let required = std::env::var(VARIABLE).is_ok_and(|v| v == "require");
    // An adapter that cannot run a class is no fault of the machine.
    let lacks_class = gpu(class).is_none() && gpu(None).is_some();
    let kind = match gpu(class) {
        Some(gpu) => gpu.info.name.split(" (").next().unwrap_or("").to_string(),
        None if lacks_class => "adapter without subgroups of 8".to_string(),
        None => "no adapter".to_string(),
    };
    Trial::test(name, move || {
        let missing = || format!("no adapter, and {VARIABLE}=require asks for one");
        let result = gpu(class).with_context(missing).and_then(run);
        result.map_err(|e| Failed::from(format!("{e:#}")))
    })
    .with_kind(kind)
    .with_ignored_flag(gpu(class).is_none() && (lacks_class || !required))
}
