//! Each request in the metrics and in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::held::hold;
use crate::serve::app::App;

/// Stands for the status where the client is gone before there is one, as nginx has it.
const CLIENT_GONE: u16 = 499;

/// Tokens of a request, noted while it runs.
#[derive(Debug, Default)]
pub struct Tally {
    n_prompt: AtomicUsize,
    n_generated: AtomicUsize,
}

impl Tally {
    pub fn set_prompt(&self, n: usize) {
        self.n_prompt.store(n, Ordering::Relaxed);
    }

    pub fn add_generated(&self, n: usize) {
        self.n_generated.fetch_add(n, Ordering::Relaxed);
    }
}

/// Notes a request once its response has ended, or its client is gone.
pub async fn track(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("other", |path| path.as_str()).to_string();
    let tally = Arc::new(Tally::default());
    request.extensions_mut().insert(Arc::clone(&tally));
    let mut record = Record {
        app,
        route,
        status: CLIENT_GONE,
        since: Instant::now(),
        tally,
    };
    let response = next.run(request).await;
    record.status = response.status().as_u16();
    hold(response, record)
}

/// A request; it is noted when this is dropped.
struct Record {
    app: Arc<App>,
    route: String,
    status: u16,
    since: Instant,
    tally: Arc<Tally>,
}

impl Drop for Record {
    fn drop(&mut self) {
        let metrics = &self.app.metrics;
        metrics.request(&self.route, self.status, self.since);
        tracing::info!(
            route = self.route,
            status = self.status,
            prompt_tokens = self.tally.n_prompt.load(Ordering::Relaxed),
            generated_tokens = self.tally.n_generated.load(Ordering::Relaxed),
            seconds = self.since.elapsed().as_secs_f64(),
            "request"
        );
    }
}
