//! Session: one stream to a provider, used for one request after another.
//!
//! Never: reused after an error or with an answer outstanding.

use std::time::Duration;

use cairn_proto::shard::{Request, Response, request, response};
use cairn_proto::{BoxStream, Frame, FrameError, Framed, RefusalCode};
use futures::io::{AsyncReadExt, ReadHalf, WriteHalf};
use prost::Message;

use crate::error::PeerError;

/// One stream, both directions usable at once.
pub(crate) struct Session {
    pub read: Framed<ReadHalf<BoxStream>>,
    pub write: Framed<WriteHalf<BoxStream>>,
    /// Came from the pool: the peer may have closed it meanwhile, so a failure of its first request says little.
    pub reused: bool,
}

impl Session {
    pub fn new(stream: BoxStream) -> Self {
        let (read, write) = stream.split();
        Session { read: Framed::new(read), write: Framed::new(write), reused: false }
    }

    pub async fn send(&mut self, kind: request::Kind) -> Result<(), PeerError> {
        Ok(self.write.send(&Request { kind: Some(kind) }).await?)
    }

    pub async fn answer(&mut self) -> Result<response::Kind, PeerError> {
        answer(&mut self.read).await
    }

    /// One request with a small answer.
    pub async fn call(&mut self, kind: request::Kind, timeout: Duration) -> Result<response::Kind, PeerError> {
        within(timeout, async {
            self.send(kind).await?;
            self.answer().await
        })
        .await
    }

    pub async fn body(&mut self) -> Result<bytes::Bytes, PeerError> {
        match self.read.next().await?.ok_or(FrameError::Ended)? {
            Frame::Body(body) => Ok(body),
            Frame::Control(payload) => match decode(payload)? {
                response::Kind::Refusal(refusal) => Err(refused(refusal)),
                _ => Err(PeerError::Unexpected),
            },
        }
    }
}

/// Next answer; a refusal is an error.
pub(crate) async fn answer(read: &mut Framed<ReadHalf<BoxStream>>) -> Result<response::Kind, PeerError> {
    match read.control::<Response>().await?.kind.ok_or(PeerError::Unexpected)? {
        response::Kind::Refusal(refusal) => Err(refused(refusal)),
        kind => Ok(kind),
    }
}

fn decode(payload: bytes::Bytes) -> Result<response::Kind, PeerError> {
    let response = Response::decode(payload).map_err(|error| FrameError::Decode(error.to_string()))?;
    response.kind.ok_or(PeerError::Unexpected)
}

fn refused(refusal: cairn_proto::shard::Refusal) -> PeerError {
    let code = RefusalCode::try_from(refusal.code).unwrap_or(RefusalCode::Unspecified);
    PeerError::Refused { code, message: refusal.message.chars().take(cairn_proto::REFUSAL_MESSAGE_LEN_MAX).collect() }
}

/// `future`, given up after `timeout`.
pub(crate) async fn within<T>(timeout: Duration, future: impl Future<Output = Result<T, PeerError>>) -> Result<T, PeerError> {
    tokio::time::timeout(timeout, future).await.unwrap_or(Err(PeerError::TimedOut(timeout.as_millis())))
}
