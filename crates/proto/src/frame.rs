//! Framing: `kind: u8 ‖ len: u32 BE ‖ payload`, kind 0 a protobuf control message, kind 1 body bytes.
//!
//! Never: an allocation beyond the limit of the frame's kind. Limits: [`CONTROL_LEN_MAX`], [`BODY_LEN_MAX`].

use bytes::{BufMut, Bytes, BytesMut};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message;

use cairn_types::limits::{BODY_LEN_MAX, CONTROL_LEN_MAX};

/// Bytes before each payload.
pub const FRAME_HEAD_LEN: usize = 5;
const KIND_CONTROL: u8 = 0;
const KIND_BODY: u8 = 1;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An encoded protobuf message.
    Control(Bytes),
    /// Bytes of a shard.
    Body(Bytes),
}

/// A stream that does not follow the framing.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream itself failed.
    #[error("stream: {0}")]
    Io(#[from] std::io::Error),
    /// The peer closed the stream inside a frame or where one was due.
    #[error("stream ended early")]
    Ended,
    /// A length over the limit of its kind.
    #[error("frame of {len} bytes, at most {max} allowed")]
    TooLong {
        /// What the head says.
        len: usize,
        /// What its kind allows.
        max: usize,
    },
    /// A kind that does not exist.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A control frame that is not the message it should be.
    #[error("not a message: {0}")]
    Decode(String),
    /// A frame of the other kind was due.
    #[error("a {0} frame was expected")]
    Unexpected(&'static str),
}

/// Reads and writes frames over a stream; holds at most one frame in memory.
#[derive(Debug)]
pub struct Framed<S> {
    stream: S,
    out: BytesMut,
}

/// Parses a frame head: kind and payload length.
///
/// # Errors
/// [`FrameError::TooLong`] and [`FrameError::UnknownKind`].
pub fn parse_head(head: [u8; FRAME_HEAD_LEN]) -> Result<(u8, usize), FrameError> {
    let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let max = match head[0] {
        KIND_CONTROL => CONTROL_LEN_MAX,
        KIND_BODY => BODY_LEN_MAX,
        kind => return Err(FrameError::UnknownKind(kind)),
    };
    if len > max { Err(FrameError::TooLong { len, max }) } else { Ok((head[0], len)) }
}

impl<S> Framed<S> {
    /// Frames over `stream`, which may be one half of a split stream.
    pub fn new(stream: S) -> Self {
        Self { stream, out: BytesMut::new() }
    }

    /// The stream underneath.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> Framed<S> {
    /// Next frame; `None` when the peer ended the stream between frames. Not cancel-safe: a dropped call may lose bytes.
    ///
    /// # Errors
    /// Any [`FrameError`] but `Decode` and `Unexpected`.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let mut head = [0u8; FRAME_HEAD_LEN];
        let first = self.stream.read(&mut head).await?;
        if first == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut head[first..]).await.map_err(ended)?;
        let (kind, len) = parse_head(head)?;
        let mut payload = BytesMut::zeroed(len);
        self.stream.read_exact(&mut payload).await.map_err(ended)?;
        let payload = payload.freeze();
        Ok(Some(if kind == KIND_CONTROL { Frame::Control(payload) } else { Frame::Body(payload) }))
    }

    /// Next frame, which must be a control message.
    ///
    /// # Errors
    /// Any [`FrameError`]; the end of the stream is [`FrameError::Ended`].
    pub async fn control<M: Message + Default>(&mut self) -> Result<M, FrameError> {
        match self.next().await?.ok_or(FrameError::Ended)? {
            Frame::Control(payload) => M::decode(payload).map_err(|error| FrameError::Decode(error.to_string())),
            Frame::Body(_) => Err(FrameError::Unexpected("control")),
        }
    }
}

impl<S: AsyncWrite + Unpin> Framed<S> {
    /// Sends a control message and flushes.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] before anything is sent, [`FrameError::Io`].
    pub async fn send(&mut self, message: &impl Message) -> Result<(), FrameError> {
        let len = message.encoded_len();
        if len > CONTROL_LEN_MAX {
            return Err(FrameError::TooLong { len, max: CONTROL_LEN_MAX });
        }
        self.begin(KIND_CONTROL, len);
        message.encode(&mut self.out).map_err(|error| FrameError::Decode(error.to_string()))?;
        self.stream.write_all(&self.out).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends body bytes; does not flush.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] before anything is sent, [`FrameError::Io`].
    pub async fn send_body(&mut self, body: &[u8]) -> Result<(), FrameError> {
        if body.len() > BODY_LEN_MAX {
            return Err(FrameError::TooLong { len: body.len(), max: BODY_LEN_MAX });
        }
        self.begin(KIND_BODY, body.len());
        self.out.extend_from_slice(body);
        Ok(self.stream.write_all(&self.out).await?)
    }

    /// Flushes what was sent.
    ///
    /// # Errors
    /// [`FrameError::Io`].
    pub async fn flush(&mut self) -> Result<(), FrameError> {
        Ok(self.stream.flush().await?)
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// [`FrameError::Io`].
    pub async fn close(&mut self) -> Result<(), FrameError> {
        Ok(self.stream.close().await?)
    }

    fn begin(&mut self, kind: u8, len: usize) {
        self.out.clear();
        self.out.put_u8(kind);
        self.out.put_u32(len as u32);
    }
}

fn ended(error: std::io::Error) -> FrameError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof { FrameError::Ended } else { FrameError::Io(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Request, request::Kind};
    use futures::executor::block_on;
    use futures::io::Cursor;

    fn read(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        block_on(Framed::new(Cursor::new(bytes.to_vec())).next())
    }

    #[test]
    fn frames_come_back_as_sent() {
        let request = Request { kind: Some(Kind::List(crate::shard::List { max: 3, ..Default::default() })) };
        let mut wire = Vec::new();
        block_on(async {
            let mut framed = Framed::new(Cursor::new(&mut wire));
            framed.send(&request).await.expect("a small message");
            framed.send_body(&[7; BODY_LEN_MAX]).await.expect("a full body");
            assert!(matches!(framed.send_body(&[7; BODY_LEN_MAX + 1]).await, Err(FrameError::TooLong { .. })));
        });
        block_on(async {
            let mut framed = Framed::new(Cursor::new(wire));
            assert_eq!(framed.control::<Request>().await.expect("a request"), request);
            assert_eq!(framed.next().await.expect("a body"), Some(Frame::Body(vec![7; BODY_LEN_MAX].into())));
            assert_eq!(framed.next().await.expect("the end"), None);
        });
    }

    #[test]
    fn hostile_heads_are_typed_errors() {
        assert!(matches!(read(&[0, 0xff, 0xff, 0xff, 0xff]), Err(FrameError::TooLong { .. })));
        assert!(matches!(read(&[1, 0, 1, 0, 1]), Err(FrameError::TooLong { .. })));
        assert!(matches!(read(&[2, 0, 0, 0, 0]), Err(FrameError::UnknownKind(2))));
        assert!(matches!(read(&[0, 0, 0]), Err(FrameError::Ended)));
        assert!(matches!(read(&[1, 0, 0, 0, 9, 1]), Err(FrameError::Ended)));
        assert!(matches!(read(&[]), Ok(None)));
    }
}
