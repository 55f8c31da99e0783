//! Who may call: by the name that a request calls the server, and by the web page it comes from.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::host::{self, AllowedHost};
use super::origin::{self, AllowedOrigin};
use crate::serve::app::App;

/// Who may call.
#[derive(Clone, Debug)]
pub struct Callers {
    /// Names of the server besides `localhost` and loopback addresses; `None` allows every name.
    pub hosts: Option<Vec<AllowedHost>>,
    /// Web pages besides the server's own.
    pub origins: Vec<AllowedOrigin>,
}

impl Default for Callers {
    /// Who calls from this machine, and is no web page of another server.
    fn default() -> Self {
        Self {
            hosts: Some(Vec::new()),
            origins: Vec::new(),
        }
    }
}

/// Lets a request pass that may call.
pub async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match find_origin(&app.settings.callers, &request) {
        Err(e) => e.into_response(),
        Ok(None) => next.run(request).await,
        Ok(Some(origin)) => {
            let is_preflight = origin::is_preflight(request.method(), request.headers());
            let mut response = match is_preflight {
                true => origin::preflight(request.headers()),
                false => next.run(request).await,
            };
            origin::allow(&mut response, origin);
            response
        }
    };
    // Caches must not give one page a response that was meant for another.
    let vary = response.headers_mut().entry(header::VARY);
    vary.or_insert(HeaderValue::from_static("origin"));
    response
}

/// The page that is to be told that it may call, if there is one.
fn find_origin(callers: &Callers, request: &Request) -> Result<Option<HeaderValue>, ApiError> {
    let headers = request.headers();
    let server = host::of(request.uri(), headers, request.version())?;
    if let Some(allowed) = &callers.hosts {
        host::check(server.as_ref(), allowed)?;
    }
    origin::check(headers, server.as_ref(), &callers.origins)
}
