//! Errors of HTTP itself in OpenAI's shape. hyper answers a request that it cannot parse by a
//! header without a body, before any route is asked.

use axum::http::StatusCode;

use super::http::ApiError;

/// Bytes of a request's header, with its first line.
pub const MAX_HEADER: usize = 64 << 10;

/// The whole response that stands for `bytes`, where these are such an error. No route gives an
/// error without a body.
pub fn with_body(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let head = std::str::from_utf8(head.strip_suffix(b"\r\n\r\n")?).ok()?;
    let status = StatusCode::from_bytes(head.as_bytes().get(..3)?).ok()?;
    let is_empty = |line: &str| line.eq_ignore_ascii_case("content-length: 0");
    if status.as_u16() < 400 || !head.lines().any(is_empty) {
        return None;
    }
    let message = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => format!(
            "the header is too large: expected at most {MAX_HEADER} bytes and 100 fields, found more"
        ),
        StatusCode::URI_TOO_LONG => "the target of the request is too long".to_string(),
        _ => "expected a request of HTTP/1.1, found something else".to_string(),
    };
    Some(ApiError::new(status, message).response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_without_a_body_gets_one() {
        let empty = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let response = with_body(empty).map(String::from_utf8);
        let response = response.and_then(Result::ok).unwrap_or_default();
        assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
        assert!(response.contains("{\"error\":{\"message\":"), "{response}");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\nx",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "",
        ] {
            assert_eq!(with_body(other.as_bytes()), None, "{other}");
        }
    }
}
