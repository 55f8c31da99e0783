//! A connection's bytes: writes that stand still end it, and its end does not lose the last
//! response.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{FOREVER, malformed};

/// How long a client may go on sending after the last response. Closing earlier would reset the
/// connection, and a client that is still sending might lose the response to that.
const LINGER: Duration = Duration::from_secs(2);

/// The state of a connection.
#[derive(Default)]
pub struct Activity(Mutex<State>);

#[derive(Default)]
struct State {
    n_under_way: usize,
    /// When the latest request is late.
    deadline: Option<Instant>,
    /// Whether the client does not take the bytes that are written.
    is_stalled: bool,
    /// Whether the server ends.
    is_ending: bool,
}

impl Activity {
    /// A request begins; it is under way until the returned value is dropped.
    pub fn begin(self: &Arc<Self>, deadline: Instant) -> UnderWay {
        let mut state = self.lock();
        state.n_under_way += 1;
        state.deadline = Some(deadline);
        UnderWay(Arc::clone(self))
    }

    /// Notes that the server ends. Whether the connection has something to end first.
    pub fn end(&self) -> bool {
        let mut state = self.lock();
        state.is_ending = true;
        state.n_under_way > 0 || state.is_stalled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way.
pub struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().n_under_way -= 1;
    }
}

/// A socket that is watched.
pub struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// How long a write may stand still.
    write_timeout: Duration,
    /// Runs while a write stands still.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The response to write instead of one that has no body, and how much of it has been written.
    instead: Option<(Vec<u8>, usize)>,
    /// Runs once there is nothing more to write.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub fn new(stream: TcpStream, activity: Arc<Activity>, write_timeout: Duration) -> Self {
        Self {
            stream,
            activity,
            write_timeout,
            stalled: None,
            instead: None,
            lingering: None,
        }
    }

    /// Writes `bytes`, or the whole of the response in their place.
    fn poll_write_bytes(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.instead = malformed::with_body(bytes).map(|response| (response, 0));
        }
        let Some((response, written)) = &mut self.instead else {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        };
        while *written < response.len() {
            let stream = Pin::new(&mut self.stream);
            match ready!(stream.poll_write(context, &response[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *written += n,
            }
        }
        self.instead = None;
        Poll::Ready(Ok(bytes.len()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

/// Vectored writes are left to the default, which writes one slice: so an error of hyper's own is
/// seen whole.
impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = &mut *self;
        let written = socket.poll_write_bytes(context, bytes);
        let mut state = socket.activity.lock();
        state.is_stalled = written.is_pending();
        if written.is_ready() {
            socket.stalled = None;
            return written;
        }
        let stalled = socket.stalled.get_or_insert_with(|| {
            let limit = Instant::now() + socket.write_timeout.min(FOREVER);
            Box::pin(sleep_until(state.deadline.map_or(limit, |d| d.min(limit))))
        });
        ready!(stalled.as_mut().poll(context));
        let message = "the client does not read";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Says that nothing more comes, then takes all that the client still sends.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        if socket.lingering.is_none() {
            ready!(Pin::new(&mut socket.stream).poll_shutdown(context))?;
        }
        if socket.activity.lock().is_ending {
            return Poll::Ready(Ok(()));
        }
        let lingering = socket
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGER)));
        loop {
            // Looked at first: a client that sends without a pause ends all the same.
            if lingering.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut scratch = [0; 4096];
            let mut scratch = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut socket.stream).poll_read(context, &mut scratch));
            if read.is_err() || scratch.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
