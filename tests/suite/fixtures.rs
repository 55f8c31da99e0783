//! Paths of fixtures, and small helpers that many tests share.

use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use safetensors::SafeTensors;

/// A file or folder below `tests/fixtures`.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A test made of a function that panics or returns an error.
pub fn trial(
    name: impl Into<String>,
    run: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        run().map_err(|e| Failed::from(format!("{e:#}")))
    })
}

/// The F32 tensor `name`.
pub fn f32s(file: &SafeTensors, name: &str) -> anyhow::Result<Vec<f32>> {
    let view = file.tensor(name)?;
    anyhow::ensure!(
        view.dtype() == safetensors::Dtype::F32,
        "`{name}` is not F32"
    );
    Ok(bytemuck::pod_collect_to_vec(view.data()))
}

/// The I32 tensor `name`.
pub fn i32s(file: &SafeTensors, name: &str) -> anyhow::Result<Vec<i32>> {
    let view = file.tensor(name)?;
    anyhow::ensure!(
        view.dtype() == safetensors::Dtype::I32,
        "`{name}` is not I32"
    );
    Ok(bytemuck::pod_collect_to_vec(view.data()))
}
