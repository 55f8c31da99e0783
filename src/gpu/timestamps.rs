//! Where a device lets timestamps be written.

use wgpu::Features;

/// Where a device lets timestamps be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// Anywhere in a compute pass.
    InsidePasses,
    /// At the beginning and the end of a pass: each timed dispatch needs a pass of its own.
    PassBoundaries,
    /// Nowhere: each timed dispatch needs a submission of its own, and the host's clock.
    None,
}

impl Timestamps {
    /// The best that `features` allow.
    pub fn of(features: Features) -> Self {
        if !features.contains(Features::TIMESTAMP_QUERY) {
            return Self::None;
        }
        match features.contains(Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
            true => Self::InsidePasses,
            false => Self::PassBoundaries,
        }
    }

    /// The source of the times in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::InsidePasses => "device timestamps inside one pass",
            Self::PassBoundaries => "device timestamps, one pass a kernel",
            Self::None => "host clock, one submission a kernel",
        }
    }
}
