//! The body of a request.

use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::reply::timed_out;
use crate::serve::FOREVER;
use crate::serve::admission::{Place, SMALL_BODY};
use crate::serve::app::App;

/// How many times as long as a header a body may take, be it large from when there is room for it:
/// others wait for that, and for the connection.
const TIMES_A_HEADER: u32 = 3;

/// A body, and the room that it takes.
pub struct Body {
    pub bytes: Vec<u8>,
    #[expect(dead_code, reason = "dropping it is what it is for")]
    place: Place,
}

/// Reads a body of JSON, before `deadline`. Nothing is read of one whose header says that it is too
/// large, nor is its client told to go on.
///
/// # Errors
/// Where it is called something else (so that no form of a web page passes for a request), is too
/// large, late, or broken off.
pub async fn read(app: &App, request: Request, deadline: Instant) -> Result<Body, ApiError> {
    check_type(request.headers())?;
    let max = app.settings.max_body;
    let n_bytes = request.body().size_hint().exact();
    let n_bytes = n_bytes.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    if n_bytes.is_some_and(|n| n > max) {
        return Err(too_large());
    }
    let header_time = app.settings.limits.header_timeout;
    let time = header_time.saturating_mul(TIMES_A_HEADER).min(FOREVER);
    let mut stream = request.into_body().into_data_stream();
    let (mut bytes, mut place) = (Vec::new(), Place::new());
    let mut until = deadline.min(Instant::now() + time);
    loop {
        let next = timeout_at(until, stream.next()).await;
        let next = next.map_err(|_| match until < deadline {
            true => slow(time),
            false => timed_out(),
        })?;
        let Some(chunk) = next else {
            return Ok(Body { bytes, place });
        };
        let chunk = chunk.map_err(|e| ApiError::new(StatusCode::BAD_REQUEST, e.to_string()))?;
        let n = bytes.len() + chunk.len();
        if n > max {
            return Err(too_large());
        }
        if n > SMALL_BODY && place.is_empty() {
            let room = app.admission.body(n_bytes.unwrap_or(max));
            place = timeout_at(deadline, room).await.map_err(|_| timed_out())?;
            let rest = n_bytes.unwrap_or(n).saturating_sub(bytes.len());
            bytes.try_reserve_exact(rest).map_err(|_| too_large())?;
            until = deadline.min(Instant::now() + time);
        }
        bytes.extend_from_slice(&chunk);
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    match essence.is_some_and(|e| e.trim().eq_ignore_ascii_case("application/json")) {
        true => Ok(()),
        false => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected `Content-Type: application/json`, found none or another",
        )),
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body is too large: see `--max-body`",
    )
}

fn slow(time: Duration) -> ApiError {
    let seconds = time.as_secs();
    let message = format!("the body came too slowly: expected all of it within {seconds} s");
    ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
}
