//! Progress bars.

use indicatif::{ProgressBar, ProgressStyle};

/// `bar` as `template` says; left as it is where the template is not one.
pub fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
