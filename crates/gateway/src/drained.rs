//! A request's body of which nothing is left unread when nobody wants it any more.
//!
//! A refusal that leaves bytes unread would end the connection, and a sender in mid-body would see a broken pipe instead of the reason.
//! Limits: at most [`DRAINED_MAX`] bytes and [`DRAINED_FOR`] of a body that nobody wants.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, BodyStream};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::objects::api::{Body, BodyError};

/// Longer bodies are cut off.
const DRAINED_MAX: usize = 64 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(5);

/// Dropped before its end, the rest is read and thrown away.
pub struct Drained<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> {
    inner: Option<B>,
    /// The sender waits for a word before it sends (`Expect: 100-continue`), and none was asked for: there is nothing to read.
    held_back: bool,
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> Drained<B> {
    /// The body of a request with `headers`.
    pub fn new(inner: B, headers: &HeaderMap) -> Drained<B> {
        Drained { inner: Some(inner), held_back: headers.contains_key(header::EXPECT) }
    }
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> HttpBody for Drained<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.held_back = false;
        let Some(body) = &mut self.inner else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> Drop for Drained<B> {
    fn drop(&mut self) {
        let (Some(mut body), Ok(runtime)) = (self.inner.take(), tokio::runtime::Handle::try_current()) else { return };
        if self.held_back || body.is_end_stream() {
            return;
        }
        runtime.spawn(async move {
            let mut left = DRAINED_MAX;
            let drained = async {
                while let Some(Ok(frame)) = body.frame().await {
                    left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                    if left == 0 {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(DRAINED_FOR, drained).await; // whoever sends on is cut off
        });
    }
}

/// A request's body as the object store takes it.
pub fn incoming(body: axum::body::Body, headers: &HeaderMap) -> Body {
    let frames = BodyStream::new(Drained::new(body, headers));
    let data = frames.filter_map(|frame| async {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(BodyError::Broken(error.to_string()))),
        }
    });
    data.boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::HeaderValue;
    use http_body_util::StreamBody;

    use super::*;

    type Counted = StreamBody<futures::stream::BoxStream<'static, Result<Frame<Bytes>, std::convert::Infallible>>>;

    /// A body of `frames` frames of a mebibyte that counts what is taken of it.
    fn counted(frames: usize) -> (Counted, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let stream = futures::stream::iter(0..frames).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Frame::data(Bytes::from(vec![0; 1 << 20])))
        });
        (StreamBody::new(stream.boxed()), taken)
    }

    async fn settled() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_nobody_wants_is_read_up_to_a_limit() {
        for (frames, read) in [(3, 3), (1000, 64)] {
            let (body, taken) = counted(frames);
            drop(Drained::new(body, &HeaderMap::new()));
            settled().await;
            assert_eq!(taken.load(Ordering::Relaxed), read);
        }
    }

    #[tokio::test]
    async fn a_sender_that_waits_to_be_asked_is_not_asked_for_what_nobody_wants() {
        let waiting = HeaderMap::from_iter([(header::EXPECT, HeaderValue::from_static("100-continue"))]);
        let (body, taken) = counted(3);
        drop(Drained::new(body, &waiting));
        settled().await;
        assert_eq!(taken.load(Ordering::Relaxed), 0);

        let (body, taken) = counted(3);
        let mut body = Drained::new(body, &waiting);
        assert!(body.frame().await.expect("a frame").is_ok());
        drop(body);
        settled().await;
        assert_eq!(taken.load(Ordering::Relaxed), 3, "once asked, it sends all");
    }
}
