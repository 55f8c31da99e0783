//! Something that lasts as long as a response.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Drops `value` once the response has ended, or its client is gone.
pub fn hold<T: Send + Unpin + 'static>(response: Response, value: T) -> Response {
    response.map(|body| Body::new(Held { body, value }))
}

struct Held<T> {
    body: Body,
    #[expect(dead_code, reason = "dropping it is what it is for")]
    value: T,
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
