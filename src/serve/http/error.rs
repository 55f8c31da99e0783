//! Errors in OpenAI's shape.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::Error;
use crate::serve::batching::Refused;

/// The type of an error of the client.
const INVALID: &str = "invalid_request_error";

/// The type of an error of the server.
const SERVER: &str = "server_error";

/// Seconds after which a client may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A request that is refused or has failed.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    /// One line.
    message: String,
    kind: &'static str,
    /// The field that is at fault.
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => SERVER,
            _ => INVALID,
        };
        Self {
            status,
            message: message.into(),
            kind,
            param: None,
            code: None,
        }
    }

    pub fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub fn with_param(self, param: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..self
        }
    }

    /// The model or the device has failed, or the server ends.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The whole response, after which the connection is closed, for where there is no request.
    pub fn response(&self) -> Vec<u8> {
        let body = self.json().to_string();
        let retry = match self.status {
            StatusCode::SERVICE_UNAVAILABLE => "retry-after: 1\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {}\r\nconnection: close\r\n{retry}content-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            self.status,
            body.len()
        );
        (head + &body).into_bytes()
    }

    /// The body of a response, or an event of a stream.
    pub fn json(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl From<Error> for ApiError {
    fn from(e: Error) -> Self {
        let message = e.to_string();
        let invalid = Self::new(StatusCode::BAD_REQUEST, message);
        match e {
            Error::Field { field, .. } => invalid.with_param(field),
            Error::ContextFull { .. } | Error::LongPrompt { .. } | Error::LongText { .. } => {
                invalid.with_code("context_length_exceeded")
            }
            Error::TokenOutside { .. } => invalid.with_param("prompt"),
            Error::NoChatTemplate { .. } | Error::ChatTemplate { .. } => {
                invalid.with_param("messages")
            }
            Error::File { .. } | Error::EmptyPrompt => invalid,
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, invalid.message),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests wait: expected a later try",
            )
            .with_code("queue_full"),
            Refused::Closed => Self::unavailable("the server ends"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.json())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            _ => {}
        }
        response
    }
}
