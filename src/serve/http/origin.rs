//! Web pages: which of them may call, and the headers that tell their browsers so (CORS).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::host::Authority;

/// Methods that some route knows.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// Headers of responses that a page may read, besides the usual ones.
const EXPOSED: HeaderValue = HeaderValue::from_static("allow, retry-after, www-authenticate");

/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");

/// The headers on which the answer to a browser's preflight request depends.
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// Asked for by browsers that tell networks apart, where a public page calls a private machine.
const ASKS_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Whose web pages may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    Any,
    /// As browsers write it.
    One(String),
}

impl AllowedOrigin {
    /// Of `*`, `null`, or `scheme://name` with or without a port.
    ///
    /// # Errors States the expected form.
    pub fn parse(text: &str) -> Result<Self, String> {
        match (text, normal(text)) {
            ("*", _) => Ok(Self::Any),
            ("null", _) => Ok(Self::One(text.to_string())),
            (_, Some(origin)) => Ok(Self::One(origin)),
            _ => Err(
                "expected an origin such as `https://example.com`, without a path, or `*`"
                    .to_string(),
            ),
        }
    }
}

/// An origin's parts: the scheme, and the name with its port.
fn parts(origin: &str) -> Option<(String, Authority)> {
    let (scheme, rest) = origin.split_once("://")?;
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_empty() || !scheme.chars().all(is_of_scheme) {
        return None;
    }
    Some((scheme.to_ascii_lowercase(), Authority::parse(rest)?))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// An origin as browsers write it.
fn normal(origin: &str) -> Option<String> {
    let (scheme, Authority { host, port }) = parts(origin)?;
    Some(match port.filter(|_| port != default_port(&scheme)) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Whether a page of this origin came from the server itself, maybe through a proxy that speaks
/// TLS.
fn is_own(origin: &str, server: &Authority) -> bool {
    let Some((scheme, authority)) = parts(origin) else {
        return false;
    };
    let default = default_port(&scheme);
    default.is_some()
        && authority.host == server.host
        && authority.port.or(default) == server.port.or(default)
}

/// The origin of the page that a request comes from, where it comes from a page of another server
/// that is allowed.
///
/// # Errors
/// Where it is not allowed.
pub fn check(
    headers: &HeaderMap,
    server: Option<&Authority>,
    allowed: &[AllowedOrigin],
) -> Result<Option<HeaderValue>, ApiError> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(value) = origins.next() else {
        return Ok(None);
    };
    if origins.next().is_some() {
        let message = "expected one `Origin` at most, found more";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    let origin = value.to_str().unwrap_or_default();
    let is_allowed = allowed.iter().any(|allowed| match allowed {
        AllowedOrigin::Any => true,
        AllowedOrigin::One(one) => one == origin || normal(origin).as_ref() == Some(one),
    });
    if is_allowed {
        return Ok(Some(value.clone()));
    }
    if server.is_some_and(|server| is_own(origin, server)) {
        return Ok(None);
    }
    let message = format!(
        "web pages of `{origin}` may not call: expected the server's own or one of `--allow-origin`"
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, message).with_code("origin_not_allowed"))
}

/// Whether a browser asks what a page may do, instead of doing it.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that: everything. It has no key with it, and needs none.
pub fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.insert(header::VARY, VARY_PREFLIGHT);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.contains_key(ASKS_PRIVATE) {
        headers.insert(ALLOWS_PRIVATE, HeaderValue::from_static("true"));
    }
    response
}

/// Tells the browser that pages of `origin` may read the response.
pub fn allow(response: &mut Response, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        for (text, expected) in [
            ("https://Example.com:443", "https://example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("null", "null"),
        ] {
            let expected = AllowedOrigin::One(expected.to_string());
            assert_eq!(AllowedOrigin::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(AllowedOrigin::parse("*"), Ok(AllowedOrigin::Any));
        for text in [
            "",
            "example.com",
            "https://",
            "https://a/",
            "https://a b",
            "https://*.a",
        ] {
            assert!(AllowedOrigin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_servers_own_pages() {
        let is =
            |origin, host| Authority::parse(host).is_some_and(|server| is_own(origin, &server));
        assert!(is("http://localhost:8080", "localhost:8080"));
        assert!(is("http://LOCALHOST", "localhost:80"));
        assert!(is("https://api.example.com", "api.example.com"));
        for (origin, host) in [
            ("http://localhost:3000", "localhost:8080"),
            ("http://localhost", "localhost:8080"),
            ("http://127.0.0.1:8080", "localhost:8080"),
            ("https://localhost", "localhost:80"),
            ("file://localhost", "localhost"),
            ("null", "null"),
            ("http://localhost:8080/", "localhost:8080"),
        ] {
            assert!(!is(origin, host), "{origin} {host}");
        }
    }
}
