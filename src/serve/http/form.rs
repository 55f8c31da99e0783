//! How the texts of a request are given out.

use std::sync::Arc;

use crate::serve::app::App;
use crate::serve::openai::{Format, Head};

/// How the texts of a request are given out.
pub struct Form {
    pub app: Arc<App>,
    pub format: Format,
    pub head: Head,
    pub with_logprobs: bool,
    pub include_usage: bool,
}
