//! Advert exchange over `/cairn/advert/1`: both ends send what they have, so one exchange teaches both.
//!
//! Layout, each way: `len: u16 BE ‖ signed advert`, `len` 0 when the sender is no provider. See docs/formats/advert.md.
//! Never: an advert of somebody else. Limits: `ADVERT_LEN_MAX` bytes, [`DEADLINE`], [`ANSWERS_MAX`] at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_types::limits::ADVERT_LEN_MAX;
use cairn_types::{Clock, NodeId};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::adverts::{Verified, verify};
use crate::engine::{Command, Commands};
use crate::streams::{ADVERT, InboundStream, Links};

const DEADLINE: Duration = Duration::from_secs(5);
const ANSWERS_MAX: usize = 64;

/// What every exchange needs.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) links: Arc<Links>,
    pub(crate) clock: Arc<dyn Clock>,
    /// This node's signed advert; `None` when it is no provider.
    pub(crate) own: watch::Receiver<Option<Bytes>>,
    pub(crate) commands: Commands,
}

impl Exchange {
    /// Exchanges adverts with a connected peer and reports the outcome to the engine.
    pub(crate) async fn ask(self, node: NodeId) {
        let advert = timeout(DEADLINE, self.ask_now(node)).await.unwrap_or(None);
        self.report(node, advert, true).await;
    }

    async fn ask_now(&self, node: NodeId) -> Option<Verified> {
        let link = self.links.best(node)?;
        let mut stream = link.open(ADVERT).await.ok()?;
        let own = self.own.borrow().clone();
        let theirs = swap(&mut stream, own).await.ok()?;
        self.check(node, theirs)
    }

    /// Answers the exchanges that peers begin, until the network ends.
    pub(crate) async fn answer_all(self, mut inbound: mpsc::Receiver<(NodeId, InboundStream)>) {
        let answering = Arc::new(Semaphore::new(ANSWERS_MAX));
        while let Some((node, mut stream)) = inbound.recv().await {
            let Ok(permit) = answering.clone().acquire_owned().await else { return };
            let exchange = self.clone();
            tokio::spawn(async move {
                let own = exchange.own.borrow().clone();
                if let Ok(Ok(theirs)) = timeout(DEADLINE, swap(&mut stream, own)).await
                    && let Some(verified) = exchange.check(node, theirs)
                {
                    exchange.report(node, Some(verified), false).await;
                }
                drop(permit);
            });
        }
    }

    fn check(&self, node: NodeId, signed: Option<Vec<u8>>) -> Option<Verified> {
        match verify(&signed?, self.clock.now()) {
            Ok(verified) if verified.advert.node == node => Some(verified),
            Ok(verified) => {
                tracing::debug!(%node, names = %verified.advert.node, "advert refused: names another node");
                None
            }
            Err(error) => {
                tracing::debug!(%node, %error, "advert refused");
                None
            }
        }
    }

    async fn report(&self, node: NodeId, advert: Option<Verified>, asked: bool) {
        if let Some(commands) = self.commands.upgrade() {
            // The engine is gone only when the network shuts down; then nobody needs the advert.
            let _ = commands.send(Command::Exchanged { node, advert, asked }).await;
        }
    }
}

/// Sends our advert and reads theirs, both at once, so that neither end waits for the other to begin.
pub(crate) async fn swap<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, own: Option<Bytes>) -> io::Result<Option<Vec<u8>>> {
    let own = own.unwrap_or_default();
    let mut message = Vec::with_capacity(2 + own.len());
    message.extend_from_slice(&(own.len() as u16).to_be_bytes());
    message.extend_from_slice(&own);
    // Two bytes and an advert always fit the stream's window, so writing first cannot deadlock.
    stream.write_all(&message).await?;
    stream.flush().await?;
    let theirs = receive(stream).await?;
    stream.close().await?;
    Ok(theirs)
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0u8; 2];
    stream.read_exact(&mut len).await?;
    let len = usize::from(u16::from_be_bytes(len));
    if len == 0 {
        return Ok(None);
    }
    if len > ADVERT_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("advert of {len} bytes")));
    }
    let mut signed = vec![0u8; len];
    stream.read_exact(&mut signed).await?;
    Ok(Some(signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_allocated() {
        let cases: [(&[u8], bool); 6] = [
            (&[0, 0], true),
            (&[0, 3, 1, 2, 3], true),
            (&[], false),
            (&[0], false),
            (&[0, 3, 1], false),
            (&[0xff, 0xff, 1, 2, 3], false),
        ];
        for (wire, good) in cases {
            assert_eq!(block_on(receive(&mut Cursor::new(wire))).is_ok(), good, "{wire:?}");
        }
        let longest = [((ADVERT_LEN_MAX + 1) as u16).to_be_bytes().to_vec(), vec![1; ADVERT_LEN_MAX + 1]].concat();
        assert!(block_on(receive(&mut Cursor::new(longest))).is_err());
    }
}
