//! Measuring: the peaks of an adapter, the share of them that kernels reach, the speed of models.
//!
//! Nothing is timed before its result has been checked.

pub mod check;
pub mod device;
pub mod drafts;
pub mod formats;
pub mod html;
pub mod kernels;
pub mod models;
pub(crate) mod number;
pub mod plot;
pub mod quality;
pub mod raw;
pub mod report;
pub mod stats;
pub mod stopwatch;
mod table;
mod texts;
