//! Guards against a client that stops halfway: a request body that no longer arrives, an answer that is no longer read.
//!
//! Never: a timer running while we are the slow side. Limits: one sleeping timer for each guard.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The client sent nothing of a body it owes us for too long.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request body stalled")]
pub(super) struct BodyStalled;

/// Fires when something that was waited for did not come within `idle`.
struct Patience {
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Patience {
    fn new(idle: Duration) -> Patience {
        Patience { idle, sleep: Box::pin(tokio::time::sleep(idle)), waiting: false }
    }

    fn progress(&mut self) {
        self.waiting = false;
    }

    /// Ready when the wait is over.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            self.waiting = true;
            let deadline = Instant::now() + self.idle;
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }
}

/// A request body that fails with [`BodyStalled`] when its sender pauses for too long while we read.
pub(super) struct GuardedBody<B> {
    inner: B,
    patience: Patience,
    broken: Arc<AtomicBool>,
}

impl<B> GuardedBody<B> {
    pub(super) fn new(inner: B, idle: Duration) -> GuardedBody<B> {
        GuardedBody { inner, patience: Patience::new(idle), broken: Arc::default() }
    }

    /// Becomes true when the body breaks off before its end: the sender's doing, which the S3 library calls an internal error.
    pub(super) fn broken(&self) -> Arc<AtomicBool> {
        self.broken.clone()
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.patience.progress();
                self.broken.fetch_or(matches!(frame, Some(Err(_))), Ordering::Relaxed);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                ready!(self.patience.poll_lost(cx));
                self.broken.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(Box::new(BodyStalled))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A connection that fails when the other end does not take what we write.
pub(super) struct GuardedIo<S> {
    inner: S,
    patience: Patience,
}

impl<S> GuardedIo<S> {
    pub(super) fn new(inner: S, idle: Duration) -> GuardedIo<S> {
        GuardedIo { inner, patience: Patience::new(idle) }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.patience.progress();
            return result;
        }
        ready!(self.patience.poll_lost(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(cx, result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_body_that_stops_arriving_is_given_up() {
        let frames = futures::stream::iter([Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"some")))]);
        let frames = futures::StreamExt::chain(frames, futures::stream::pending());
        let mut body = GuardedBody::new(StreamBody::new(frames), Duration::from_millis(50));
        assert!(body.frame().await.expect("a frame").is_ok());
        let error = body.frame().await.expect("an end").expect_err("it stalls");
        assert!(error.is::<BodyStalled>());
    }

    #[tokio::test]
    async fn time_in_which_we_do_not_read_does_not_count() {
        let frames = futures::stream::iter((0..3).map(|_| Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"x")))));
        let mut body = GuardedBody::new(StreamBody::new(frames), Duration::from_millis(20));
        while let Some(frame) = body.frame().await {
            assert!(frame.is_ok());
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    #[tokio::test]
    async fn a_client_that_stops_reading_is_cut_off() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut io = GuardedIo::new(near, Duration::from_millis(50));
        let error = io.write_all(&[0; 64]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (near, mut reader) = tokio::io::duplex(16);
        let mut io = GuardedIo::new(near, Duration::from_secs(5));
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.map(|_| all.len())
        });
        io.write_all(&[0; 64]).await.expect("it is read");
        drop(io);
        assert_eq!(reading.await.expect("the reader ends").expect("it reads"), 64);
        far.shutdown().await.expect("open until here");
    }
}
