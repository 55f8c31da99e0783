//! The adapter that tests run on, and how tests are reported where there is none.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use libtest_mimic::{Failed, Trial};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::gpu::adapter::{AdapterChoice, choose};

/// With this set to `require`, a machine without an adapter fails the tests that need one.
const VARIABLE: &str = "ZTT_GPU";

static GPU: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();

/// The best adapter of the machine, opened once, or `None`.
fn gpu() -> Option<Arc<Gpu>> {
    let open = || {
        let adapter = pollster::block_on(choose(&AdapterChoice::default())).ok()??;
        pollster::block_on(Gpu::open(&adapter)).ok().map(Arc::new)
    };
    GPU.get_or_init(open).clone()
}

/// A test that needs an adapter: ignored, with the reason, where there is none.
pub fn trial(
    name: impl Into<String>,
    run: impl FnOnce(Arc<Gpu>) -> Result<()> + Send + 'static,
) -> Trial {
    let required = std::env::var(VARIABLE).is_ok_and(|v| v == "require");
    let kind = match gpu() {
        Some(gpu) => gpu.info.name.split(" (").next().unwrap_or("").to_string(),
        None => "no adapter".to_string(),
    };
    Trial::test(name, move || {
        let missing = || format!("no adapter, and {VARIABLE}=require asks for one");
        let result = gpu().with_context(missing).and_then(run);
        result.map_err(|e| Failed::from(format!("{e:#}")))
    })
    .with_kind(kind)
    .with_ignored_flag(gpu().is_none() && !required)
}
