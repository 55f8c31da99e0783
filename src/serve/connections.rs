//! Connections: how many there may be, and how long each may keep the server waiting.
//!
//! The resources that a client can tie up are bounded: a header by [`Limits::header_timeout`] and
//! [`MAX_HEADER`], a body by three times that time, a response by the time limit of the request, a
//! write that stands still by [`Limits::write_timeout`], all of them together by
//! [`Limits::max_connections`].

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use futures_util::future::{Either, poll_fn, select};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use super::FOREVER;
use super::app::App;
use super::http::{ApiError, deadline, hold};
use super::malformed::MAX_HEADER;
use super::socket::{Activity, Socket};

/// How long to wait where the operating system gives no connection: descriptors that have run out
/// come back when other connections end.
const PAUSE: Duration = Duration::from_millis(100);

/// How often to say that it gives none.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(30);

/// Clients that are told at the same time that there are too many; others are not told.
const REFUSED_AT_ONCE: usize = 64;

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_connections: usize,
    /// From the beginning of a connection, or the end of a response, to the end of the next header.
    pub header_timeout: Duration,
    /// How long a client may take none of the bytes that are written.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            header_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// Takes connections for ever. Each holds a receiver of `ending` until it has ended, and ends as
/// soon as it has nothing under way once that is true.
pub async fn accept(
    listener: TcpListener,
    app: &Arc<App>,
    routes: Router,
    ending: &watch::Sender<bool>,
) -> Infallible {
    let limits = app.settings.limits;
    let refusals = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
    let mut last_warning: Option<Instant> = None;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) if is_of_one_connection(&e) => continue,
            Err(e) => {
                if last_warning.is_none_or(|last| last.elapsed() >= BETWEEN_WARNINGS) {
                    let line = format!("ztt-wgpu: warning: connections have to wait: {e}\n");
                    // Nobody need read it: `eprintln!` would panic, and end the server.
                    let _ = io::stderr().write_all(line.as_bytes());
                    last_warning = Some(Instant::now());
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        // The small packets of a stream are not to wait for each other.
        let _ = stream.set_nodelay(true);
        if ending.receiver_count() < limits.max_connections {
            let (app, routes) = (Arc::clone(app), routes.clone());
            tokio::spawn(serve(stream, app, routes, ending.subscribe()));
        } else if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
            tokio::spawn(async move {
                let _ = refuse(stream, limits).await;
                drop(permit);
            });
        }
    }
}

/// Whether the next connection may well be taken.
fn is_of_one_connection(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Answers the requests of a connection.
async fn serve(
    stream: TcpStream,
    app: Arc<App>,
    routes: Router,
    mut ending: watch::Receiver<bool>,
) {
    let limits = app.settings.limits;
    let activity = Arc::new(Activity::default());
    let socket = Socket::new(stream, Arc::clone(&activity), limits.write_timeout);
    let routes = TowerToHyperService::new(routes);
    let of_requests = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let under_way = of_requests.begin(deadline(app.settings.timeout));
        let response = routes.call(request);
        async { Ok::<_, Infallible>(hold(response.await?, under_way)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout.min(FOREVER))
        .max_header_size(MAX_HEADER)
        .max_buf_size(MAX_HEADER);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    let told = pin!(ending.wait_for(|is_ending| *is_ending));
    // How a connection ends is the client's affair.
    if let Either::Left(_) = select(connection.as_mut(), told).await {
        return;
    }
    if activity.end() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Says that there are too many connections.
async fn refuse(stream: TcpStream, limits: Limits) -> io::Result<()> {
    let message = format!(
        "too many connections: expected at most {}, see `--max-connections`",
        limits.max_connections
    );
    let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message);
    let response = error.with_code("too_many_connections").response();
    let mut socket = Socket::new(stream, Arc::default(), limits.write_timeout);
    // It fits the empty buffer of a new connection.
    poll_fn(|context| Pin::new(&mut socket).poll_write(context, &response)).await?;
    poll_fn(|context| Pin::new(&mut socket).poll_shutdown(context)).await
}
