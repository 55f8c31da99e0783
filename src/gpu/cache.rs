//! Compiled pipelines, kept from one run of the program to the next.

use std::path::{Path, PathBuf};

use wgpu::{AdapterInfo, Features, PipelineCache, PipelineCacheDescriptor};

use crate::error::{Error, Result};
use crate::files::{self, MIB};

/// The largest cache that is read: many times what all pipelines of the program take.
const LIMIT: u64 = 256 * MIB;

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
        let data = read(&file);
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
            tracing::debug!("{e}");
        }
    }
}

/// Writes the file, and the folder round it where there is none.
fn write(file: &Path, data: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    files::write(file, data)
}

/// What a cache file holds, unless it is none.
fn read(file: &Path) -> Option<Vec<u8>> {
    let (opened, meta) = files::open(file, "a plain file").ok()?;
    let n_bytes = usize::try_from(meta.len()).ok()?;
    (meta.len() <= LIMIT).then(|| files::piece(&opened, 0, n_bytes).ok())?
}
