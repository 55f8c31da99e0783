//! The API key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use crate::serve::app::App;

/// Lets a request pass that has the key, where there is one.
pub async fn check(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match &app.settings.api_key {
        Some(key) if !has_key(request.headers(), key) => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "expected the API key in `Authorization: Bearer KEY`, found none or another",
        )
        .with_code("invalid_api_key")),
        _ => Ok(next.run(request).await),
    }
}

/// How long this takes does not tell how much of a wrong key is right.
fn has_key(headers: &HeaderMap, key: &str) -> bool {
    // A proxy might look at another one of several.
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let value = value.as_bytes();
    let scheme = b"Bearer ";
    match value.split_at_checked(scheme.len()) {
        Some((found, rest)) if found.eq_ignore_ascii_case(scheme) => {
            rest.ct_eq(key.as_bytes()).into()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_is_the_key() {
        let has = |value: &'static str| {
            let value = header::HeaderValue::from_static(value);
            has_key(
                &HeaderMap::from_iter([(header::AUTHORIZATION, value)]),
                "secret",
            )
        };
        assert!(has("Bearer secret") && has("bearer secret"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer secre",
            "Bearer secrets",
            "Basic secret",
        ] {
            assert!(!has(wrong), "{wrong}");
        }
        assert!(!has_key(&HeaderMap::new(), "secret"));
        let mut several = HeaderMap::new();
        for value in ["Bearer secret", "x"] {
            let value = header::HeaderValue::from_static(value);
            several.append(header::AUTHORIZATION, value);
        }
        assert!(!has_key(&several, "secret"));
    }
}
