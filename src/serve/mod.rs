//! A server of OpenAI's format over one model, whose sequences are extended together.
//!
//! ```text
//!  request ──> http::body ──> http::prepare ──> batching::Queue ──> batching::Batcher
//!              one thread     openai: fields,   waiting jobs        a thread of its own,
//!              for all        tokenizer                             owns the model
//!                                                                        │
//!  response <── http::generate or http::stream <── http::reply <── events ┘
//!               openai: format
//! ```
//!
//! Before that, `connections` bounds the resources that a client can tie up, and `http::callers`
//! looks at who calls.
//!
//! A request gives its jobs up by dropping its end of the events: the batcher looks at each step
//! whether somebody still listens. So clients that go away and requests that take too long need
//! nothing else.

mod admission;
mod app;
pub mod batching;
mod connections;
mod health;
mod http;
mod malformed;
mod metrics;
pub mod openai;
mod signals;
mod socket;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use futures_util::future::select;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;

use app::App;
pub use app::Settings;
use batching::{Backend, Batcher, Queue};
pub use connections::Limits;
pub use http::{AllowedHost, AllowedOrigin, Callers};
pub use signals::Signals;

use crate::error::Result;
use crate::model::Model;

/// How long responses may take to say that the server ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Longer than any server runs, and short enough to be added to any point in time.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Descriptors that a server needs at least, besides those of the model and the device.
const N_DESCRIPTORS: usize = 16;

/// Threads that it needs at least besides its first: the batcher's, and one for texts that become
/// tokens.
const N_THREADS: usize = 2;

/// Requests whose texts become tokens at the same time.
const N_BLOCKING_THREADS: usize = 16;

/// A server that is ready to run.
pub struct Server<B, F> {
    app: App,
    backend: B,
    open: F,
}

/// The totals of a server at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub n_prompt: u64,
    pub n_generated: u64,
    /// Texts that were cut off by the end.
    pub n_cut: usize,
}

impl<B: Backend + Send, F: FnMut() -> Result<B> + Send> Server<B, F> {
    /// Serves `model`, which `backend` runs; after a fault `open` makes another of the same size.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`](crate::Error::NoTokenizer) and those of reading the tokenizer.
    pub fn new(settings: Settings, model: &Model, backend: B, open: F) -> Result<Self> {
        let app = App::new(settings, model, &backend)?;
        Ok(Self { app, backend, open })
    }

    /// Serves until `stop` is ready for the first time; then requests under way may end, until it
    /// is ready for the second time or the grace is over.
    ///
    /// # Errors
    /// Where `listener` cannot be used.
    pub fn run(
        self,
        runtime: Runtime,
        listener: TcpListener,
        stop: impl AsyncFnMut(),
    ) -> io::Result<Statistics> {
        let app = Arc::new(self.app);
        let (backend, open) = (self.backend, self.open);
        let served = thread::scope(|scope| {
            let shared = Arc::clone(&app);
            let batch = move || {
                let closing = Closing(&shared.queue);
                let App {
                    tokenizer,
                    queue,
                    health,
                    metrics,
                    ..
                } = &*shared;
                Batcher::new(backend, open, tokenizer, queue, health, metrics).run();
                drop(closing);
            };
            // The operating system may give no thread, which `scope.spawn` would panic at.
            thread::Builder::new().spawn_scoped(scope, batch)?;
            let closing = Closing(&app.queue);
            let served = runtime.block_on(listen(&app, listener, stop));
            drop(closing);
            served
        });
        // A request that is still being read is not waited for.
        runtime.shutdown_background();
        let n_cut = served?;
        let (n_prompt, n_generated) = app.metrics.tokens();
        Ok(Statistics {
            n_prompt,
            n_generated,
            n_cut,
        })
    }
}

/// The runtime for [`Server::run`]: one thread for all requests, and a few for work that takes
/// long.
///
/// # Errors
/// Where the operating system gives none.
pub fn runtime() -> io::Result<Runtime> {
    // tokio panics where it gets no thread for work while it has none at all, and where it gets no
    // descriptors for signals. So both are tried first, and the first thread is kept.
    let spare = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let spare: io::Result<Vec<_>> = (0..N_DESCRIPTORS).map(|_| spare.try_clone()).collect();
    drop(spare?);
    let mut threads = Vec::with_capacity(N_THREADS);
    for _ in 0..N_THREADS {
        let (release, wait) = channel::<()>();
        let thread = thread::Builder::new().spawn(move || wait.recv())?;
        threads.push((release, thread));
    }
    for (release, thread) in threads {
        drop(release);
        let _ = thread.join();
    }
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(N_BLOCKING_THREADS)
        .thread_keep_alive(FOREVER)
        .enable_all()
        .build()?;
    runtime.spawn_blocking(|| {});
    Ok(runtime)
}

/// Closes the queue when it is dropped, be it by a panic: nobody waits for a thread that is gone.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Answers requests until it is told to stop. The number of texts that were cut off by that.
async fn listen(
    app: &Arc<App>,
    listener: TcpListener,
    mut stop: impl AsyncFnMut(),
) -> io::Result<usize> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let routes = http::router(Arc::clone(app));
    let (ending, _) = watch::channel(false);
    {
        let accepting = pin!(connections::accept(listener, app, routes, &ending));
        select(accepting, pin!(stop())).await;
    }
    ending.send_replace(true);
    let again = pin!(stop());
    let _ = timeout(app.settings.grace, select(pin!(ending.closed()), again)).await;
    if ending.is_closed() {
        return Ok(0);
    }
    let (n_waiting, n_active) = app.queue.lengths();
    app.queue.close();
    let _ = timeout(LAST_WORDS, ending.closed()).await;
    Ok(n_waiting + n_active)
}
