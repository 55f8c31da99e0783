//! Compiled pipelines, kept from one run of the program to the next.

use std::path::{Path, PathBuf};

use wgpu::{AdapterInfo, Features, PipelineCache, PipelineCacheDescriptor};

/// A backend's cache of compiled pipelines, and the file it is kept in.
pub(super) struct DiskCache {
    pub(super) cache: PipelineCache,
    file: PathBuf,
    /// The contents of the file when it was opened; `None` without a file.
    known: Option<Vec<u8>>,
}

impl DiskCache {
    /// Opens the cache that earlier runs saved for this adapter, or begins an empty one. `None`
    /// where the backend has no such cache, or the user no folder for it.
    pub(super) fn open(device: &wgpu::Device, info: &AdapterInfo) -> Option<Self> {
        if !device.features().contains(Features::PIPELINE_CACHE) {
            return None;
        }
        let key = wgpu::util::pipeline_cache_key(info)?;
        let file = dirs::cache_dir()?.join("ztt-wgpu").join(key);
        let data = std::fs::read(&file).ok();
        // SAFETY: the data is what `get_data` gave for the same adapter: only `save` writes this
        // file, whole or not at all, and wgpu checks its header against adapter and driver.
        let cache = unsafe {
            device.create_pipeline_cache(&PipelineCacheDescriptor {
                label: Some("pipelines"),
                data: data.as_deref(),
                fallback: true,
            })
        };
        Some(Self {
            cache,
            file,
            known: data,
        })
    }

    /// Whether no earlier run left anything for this adapter.
    pub(super) fn is_new(&self) -> bool {
        self.known.is_none()
    }

    /// Writes the file if pipelines were compiled that it does not hold. A file that cannot be
    /// written is no error.
    pub(super) fn save(&self) {
        let new = |data: &Vec<u8>| self.known.as_ref() != Some(data);
        let Some(data) = self.cache.get_data().filter(new) else {
            return;
        };
        if let Err(e) = write(&self.file, &data) {
            tracing::debug!("{}: {e}", self.file.display());
        }
    }
}

/// Writes a file so that nobody ever sees half of it.
fn write(file: &Path, data: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let part = file.with_extension(std::process::id().to_string());
    std::fs::write(&part, data)?;
    std::fs::rename(&part, file)
}
