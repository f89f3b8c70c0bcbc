//! A request's body as the object store takes it, and what is left of it when the store wants no more.
//!
//! A refusal that leaves bytes unread would end the connection, and a sender in mid-body would see a broken pipe instead of the reason.
//! Limits: at most [`DRAINED_MAX`] bytes and [`DRAINED_FOR`] of a body that nobody wants.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body as HttpBody, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::objects::api::{Body, BodyError};

/// Longer bodies are cut off.
const DRAINED_MAX: usize = 64 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(5);

/// A request's body as the object store takes it. Dropped before its end, the rest is read and thrown away.
pub fn incoming(body: HttpBody) -> Body {
    Incoming(Some(body.into_data_stream())).boxed()
}

struct Incoming(Option<BodyDataStream>);

impl Stream for Incoming {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        match body.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(data))) => Poll::Ready(Some(Ok(data))),
            Poll::Ready(Some(Err(error))) => {
                self.0 = None;
                Poll::Ready(Some(Err(BodyError::Broken(error.to_string()))))
            }
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let (Some(mut body), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            let mut left = DRAINED_MAX;
            let drained = async {
                while let Some(Ok(data)) = body.next().await {
                    left = left.saturating_sub(data.len());
                    if left == 0 {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(DRAINED_FOR, drained).await; // whoever sends on is cut off
        });
    }
}
