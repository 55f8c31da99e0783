//! Faults of a device: the first one counts. Tests may plant one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::error::first_line;

/// The first fault that a device reported; those after it only go to the log.
#[derive(Default)]
pub(super) struct Faults {
    first: OnceLock<String>,
}

impl Faults {
    pub fn report(&self, message: String) {
        tracing::error!("{message}");
        let _ = self.first.set(first_line(message));
    }

    pub fn first(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }
}

/// A fault that is made to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    /// The device is destroyed, as if a driver had reset it.
    Lost,
    /// The device reports that an allocation failed.
    OutOfMemory,
    /// There is no memory for something that a text could do without.
    NoRoom,
}

/// When a fault may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The process waits for a device.
    Wait,
    /// Memory is asked for that a device may not have.
    Allocation,
}

impl Planted {
    fn moment(self) -> Moment {
        match self {
            Self::Lost | Self::OutOfMemory => Moment::Wait,
            Self::NoRoom => Moment::Allocation,
        }
    }
}

/// For tests: `lost:N` or `memory:N` makes that happen when the process waits for a device the
/// `N`-th time, `room:N` when it grows something on one the `N`-th time.
const VARIABLE: &str = "ZTT_FAULT";

/// The fault that is due now, if one is planted: once in the life of the process.
pub(super) fn due(moment: Moment) -> Option<Planted> {
    static PLANTED: OnceLock<Option<(Planted, AtomicI64)>> = OnceLock::new();
    let planted = PLANTED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (kind, count) = text.split_once(':')?;
        let kind = match kind {
            "lost" => Planted::Lost,
            "memory" => Planted::OutOfMemory,
            "room" => Planted::NoRoom,
            _ => return None,
        };
        Some((kind, AtomicI64::new(count.parse().ok()?)))
    });
    let (kind, left) = planted.as_ref()?;
    if kind.moment() != moment {
        return None;
    }
    (left.fetch_sub(1, Ordering::Relaxed) == 1).then_some(*kind)
}
