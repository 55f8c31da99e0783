//! Routes: from a request to jobs, and from events to a response.

mod auth;
mod body;
mod callers;
mod conversation;
mod error;
mod form;
mod generate;
mod held;
mod host;
mod origin;
mod prepare;
mod reply;
mod routes;
mod stream;
mod track;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

pub use callers::Callers;
pub use error::ApiError;
pub use held::hold;
pub use host::AllowedHost;
pub use origin::AllowedOrigin;
pub use reply::deadline;

use super::app::App;

/// All routes of a server.
pub fn router(app: Arc<App>) -> Router {
    let with_key = Router::new()
        .route("/v1/chat/completions", post(routes::chat))
        .route("/v1/completions", post(routes::completion))
        .route("/v1/models", get(routes::models))
        .route("/v1/models/{*name}", get(routes::model))
        .route("/metrics", get(routes::metrics))
        .fallback(routes::not_found)
        .method_not_allowed_fallback(routes::wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), auth::check));
    let open = Router::new()
        .route("/health", get(routes::health))
        .method_not_allowed_fallback(routes::wrong_method);
    with_key
        .merge(open)
        .layer(DefaultBodyLimit::max(app.settings.max_body))
        .layer(from_fn_with_state(Arc::clone(&app), callers::check))
        .layer(from_fn_with_state(Arc::clone(&app), track::track))
        .with_state(app)
}
