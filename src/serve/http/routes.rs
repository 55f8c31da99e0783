//! The handlers of the routes.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::error::ApiError;
use super::prepare::{self, Prepared, Times};
use super::reply::{deadline, timed_out};
use super::track::Tally;
use super::{body, generate};
use crate::serve::app::App;

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// POST /v1/chat/completions
pub async fn chat(
    state: State<Arc<App>>,
    tally: Extension<Arc<Tally>>,
    request: Request,
) -> Result<Response, ApiError> {
    texts(state, tally, request, prepare::chat).await
}

/// POST /v1/completions
pub async fn completion(
    state: State<Arc<App>>,
    tally: Extension<Arc<Tally>>,
    request: Request,
) -> Result<Response, ApiError> {
    texts(state, tally, request, prepare::completion).await
}

async fn texts(
    State(app): State<Arc<App>>,
    Extension(tally): Extension<Arc<Tally>>,
    request: Request,
    prepare: fn(&App, &[u8], Times) -> Result<Prepared, ApiError>,
) -> Result<Response, ApiError> {
    let since = Instant::now();
    let deadline = deadline(app.settings.timeout);
    let body = body::read(&app, request, deadline).await?;
    let place = timeout_at(deadline, app.admission.thread(body.bytes.len())).await;
    let place = place.map_err(|_| timed_out())?;
    let with = Arc::clone(&app);
    // A long text takes its time to become tokens; streams should not wait for it. Its place is
    // free once it has ended, be its client gone.
    let prepared = spawn_blocking(move || {
        let prepared = prepare(&with, &body.bytes, Times { since, deadline });
        drop((body, place));
        prepared
    });
    let prepared = timeout_at(deadline, prepared)
        .await
        .map_err(|_| timed_out())?;
    let prepared = prepared.map_err(|_| {
        let message = "the request could not be read";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })??;
    generate::respond(app, prepared, deadline, tally).await
}

/// GET /v1/models
pub async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"object": "list", "data": [describe(&app)]}))
}

/// GET /v1/models/NAME
pub async fn model(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(name) = name.map_err(|e| ApiError::new(e.status(), e.body_text()))?;
    match name == app.settings.name {
        true => Ok(Json(describe(&app))),
        false => Err(prepare::no_model(&name, &app.settings.name)),
    }
}

fn describe(app: &App) -> Value {
    json!({
        "id": app.settings.name,
        "object": "model",
        "created": app.created,
        "owned_by": "ztt-wgpu",
        "ztt": {"context": app.n_ctx},
    })
}

/// GET /health
pub async fn health(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    if app.queue.is_closed() {
        return Err(ApiError::unavailable("the server ends"));
    }
    match app.health.fault() {
        None => Ok(Json(json!({"status": "ok"}))),
        Some(fault) => Err(ApiError::unavailable(fault)),
    }
}

/// GET /metrics
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(&app.queue);
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// Any other path; `*` stands for the server itself.
pub async fn not_found(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS && uri.path() == "*" {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = format!("unknown route: {method} {}", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, message).into_response()
}

/// A known path with another method. The router adds `Allow`, which is all that OPTIONS asks for.
pub async fn wrong_method(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = format!("{} does not know {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message).into_response()
}
