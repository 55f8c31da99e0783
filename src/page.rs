//! Pages of HTML that need no other file and no network: one look, one way to fill a template.

pub mod shades;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::error::{Error, Result};

/// The style sheet that all pages share, for a template's `<style>`.
pub const LOOK: &str = include_str!("page.css");

/// Fills `template`; its values are escaped, but for those that it marks as safe.
///
/// # Errors
/// [`Error::Plot`] when the page, called `what`, cannot be put together.
pub fn render(what: &str, template: &str, page: &impl Serialize) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .render_str(template, Serde(page))
        .map_err(|cause| {
            Error::Plot(format!(
                "cannot put the page of the {what} together: {cause}"
            ))
        })
}
