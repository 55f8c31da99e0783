//! Bounds on requests before they are jobs: the bytes of their bodies, and the threads that prepare
//! them. Requests wait for room in the order they came.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes up to which a body is small. Small ones wait for no room, so that those who send large
/// ones do not keep them waiting.
pub const SMALL_BODY: usize = 64 * 1024;

/// Bytes that large bodies may have together, or one alone.
const LARGE_BODIES: usize = 64 * 1024 * 1024;

/// The unit, in bytes, in which bodies are counted.
const UNIT: usize = 1024;

/// The bounds.
pub struct Admission {
    /// Units of large bodies.
    bodies: Arc<Semaphore>,
    /// Threads that prepare requests.
    threads: Arc<Semaphore>,
    /// Those among them that may prepare large ones.
    large: Arc<Semaphore>,
}

/// A place; it is free again once this is dropped.
pub type Place = Vec<OwnedSemaphorePermit>;

impl Admission {
    /// For bodies of at most `max_body` bytes, and as many threads as there are cores.
    pub fn new(max_body: usize) -> Self {
        let n_cores = available_parallelism().map_or(1, usize::from);
        let semaphore = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        Self {
            bodies: semaphore(units(max_body.max(LARGE_BODIES))),
            threads: semaphore(n_cores),
            large: semaphore((n_cores / 4).clamp(1, 4)),
        }
    }

    /// Waits for room for a body of `n_bytes`.
    pub async fn body(&self, n_bytes: usize) -> Place {
        let n = u32::try_from(units(n_bytes)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.bodies).acquire_many_owned(n).await;
        place.into_iter().collect()
    }

    /// Waits for a thread to prepare a request of `n_bytes`.
    pub async fn thread(&self, n_bytes: usize) -> Place {
        let large = match n_bytes > SMALL_BODY {
            true => Arc::clone(&self.large).acquire_owned().await.ok(),
            false => None,
        };
        let thread = Arc::clone(&self.threads).acquire_owned().await.ok();
        large.into_iter().chain(thread).collect()
    }
}

fn units(n_bytes: usize) -> usize {
    n_bytes.div_ceil(UNIT)
}
