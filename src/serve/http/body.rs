//! The body of a request.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::reply::timed_out;

/// Reads a body of JSON, before `deadline`.
///
/// # Errors
/// Where it is called something else (so that no form of a web page passes for a request), is too
/// large, late, or broken off.
pub async fn read(request: Request, deadline: Instant) -> Result<Bytes, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    if !essence.is_some_and(|e| e.trim().eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected `Content-Type: application/json`, found none or another",
        ));
    }
    match timeout_at(deadline, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(e)) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large: see `--max-body`",
        )),
        Ok(Err(e)) => Err(ApiError::new(StatusCode::BAD_REQUEST, e.body_text())),
        Err(_) => Err(timed_out()),
    }
}
