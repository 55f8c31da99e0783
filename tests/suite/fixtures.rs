//! Paths of fixtures, and small helpers that many tests share.

use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use safetensors::SafeTensors;

/// A file or folder below `tests/fixtures`. The project's folder is where cargo says at run time,
/// so that the binary also runs where the project has been copied to.
pub fn path(name: &str) -> PathBuf {
    let project = std::env::var_os("CARGO_MANIFEST_DIR");
    let project = project.map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    project.join("tests/fixtures").join(name)
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
