//! Copies bytes both ways between two streams, and gives up when neither has anything to say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

/// How a relay ended.
pub(crate) enum End {
    /// Both sides closed.
    Closed,
    /// Nothing was received from either side for too long.
    Idle,
    /// One side went away without closing, or the network failed.
    Broken(io::Error),
}

/// Copies until both sides have closed or `idle` has passed without a byte.
pub(crate) async fn relay<A, B>(client: A, upstream: B, idle: Duration) -> End
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::default();
    let mut client = Watched { stream: client, activity: activity.clone() };
    let mut upstream = Watched { stream: upstream, activity: activity.clone() };
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut upstream) => match copied {
            Ok(_) => End::Closed,
            Err(error) => End::Broken(error),
        },
        () = activity.ceased(idle) => End::Idle,
    }
}

/// The number of times that bytes have arrived.
#[derive(Clone, Default)]
struct Activity(Arc<AtomicU64>);

impl Activity {
    fn mark(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Waits until there was none for `idle`; it may take up to twice as long.
    async fn ceased(&self, idle: Duration) {
        let mut seen = self.0.load(Relaxed);
        loop {
            sleep_until(Instant::now() + idle).await;
            let now = self.0.load(Relaxed);
            if now == seen {
                return;
            }
            seen = now;
        }
    }
}

/// A stream that marks every arrival and every departure of bytes.
struct Watched<S> {
    stream: S,
    activity: Activity,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.activity.mark();
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.activity.mark();
        Poll::Ready(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
