//! How well a model predicts a text: perplexity, with early exits and without.
//!
//! ```text
//!  ids ──> windows ──> score ──> figures ──> sweep, calibrate
//!          what runs   every      means       many settings,
//!          together    token      of them     the best of them
//!                      once
//! ```
//!
//! A text is scored window by window on an [`Engine`](crate::engine::Engine), on the host or on a
//! device alike. A few numbers are kept of each token, so a text may be long.

pub mod calibrate;
pub mod figures;
pub mod score;
pub mod sweep;
pub mod windows;
