//! Lane: one shard on its way to one provider, on a task of its own.
//!
//! Never: a place without a receipt that was checked against what was sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_coding::ShardPlace;
use cairn_proto::shard::{self, Store, StoreEnd, request, response};
use cairn_proto::{BoxStream, Framed, Receipt};
use cairn_types::{DealId, NodeId, SegmentId, ShardRoot};
use futures::io::WriteHalf;
use tokio::sync::mpsc;

use crate::Inner;
use crate::error::PeerError;
use crate::pay::{Account, Ending, is_plausible};
use crate::session::{Session, answer, within};

/// What a lane is fed.
pub(crate) enum LaneInput {
    Cell(Bytes),
    End(LaneEnd),
}

/// What closes a shard.
#[derive(Debug, Clone)]
pub(crate) struct LaneEnd {
    pub root: ShardRoot,
    pub len: u64,
    pub label: Bytes,
}

/// What a lane knows from the start.
#[derive(Clone)]
pub(crate) struct LaneSpec {
    pub inner: Arc<Inner>,
    pub provider: NodeId,
    pub segment: SegmentId,
    pub len_max: u64,
}

/// Sends one shard; ends with its place once the provider's receipt was checked.
/// When the feeding side is dropped before `End`, the stream is broken off and the provider forgets the shard.
pub(crate) async fn run(spec: LaneSpec, backlog: Vec<Bytes>, input: mpsc::Receiver<LaneInput>) -> Result<ShardPlace, PeerError> {
    let peers = &spec.inner.peers;
    let result = transfer(&spec, backlog, input).await;
    match &result {
        Ok(_) => peers.stored(spec.provider),
        Err(error) => {
            peers.failed(spec.provider, error);
            if let (Some(pay), PeerError::Refused { code, .. }) = (&spec.inner.pay, error) {
                pay.refused(spec.provider, *code);
            }
        }
    }
    result
}

async fn transfer(spec: &LaneSpec, backlog: Vec<Bytes>, input: mpsc::Receiver<LaneInput>) -> Result<ShardPlace, PeerError> {
    let deal = spec.inner.peers.deal(spec.provider).await?;
    let account = match &spec.inner.pay {
        Some(pay) => pay.ready(&spec.inner, spec.provider, deal).await?,
        None => None,
    };
    let mut session = begin(spec, deal).await?;
    let (end, ending, receipt) = exchange(spec, &mut session, backlog, input, account).await?;
    let receipt = Receipt::verify(&receipt, spec.provider)?;
    if (receipt.deal, receipt.root, receipt.len, receipt.segment) != (deal, end.root, end.len, spec.segment) {
        return Err(PeerError::OtherReceipt);
    }
    if let (Some(pay), Some(ending)) = (&spec.inner.pay, ending) {
        if !is_plausible(receipt.stored_at, pay.now()) {
            return Err(PeerError::OtherReceipt);
        }
        ending.receipted(pay, receipt.stored_at)?;
    }
    spec.inner.peers.put_back(spec.provider, session);
    Ok(ShardPlace { root: end.root, provider: spec.provider, deal })
}

/// Sends the body and its end while listening: before the end, the provider speaks only to refuse.
async fn exchange(
    spec: &LaneSpec,
    session: &mut Session,
    backlog: Vec<Bytes>,
    input: mpsc::Receiver<LaneInput>,
    account: Option<Arc<Account>>,
) -> Result<(LaneEnd, Option<Ending>, shard::Receipt), PeerError> {
    let Session { read, write, .. } = session;
    let early = answer(read);
    let feeding = feed(spec, write, backlog, input, account);
    tokio::pin!(early, feeding);
    // The receipt may be here before the flush of what it answers has returned.
    let mut receipt = None;
    let sent = loop {
        tokio::select! {
            biased;
            answered = &mut early, if receipt.is_none() => match answered? {
                response::Kind::Receipt(answered) => receipt = Some(answered),
                _ => return Err(PeerError::Unexpected),
            },
            sent = &mut feeding => break sent,
        }
    };
    let (end, ending) = match sent {
        Ok(ended) => ended,
        Err(PeerError::GivenUp) => return Err(PeerError::GivenUp),
        // A refusal says more than the broken pipe that follows it.
        Err(broken) if receipt.is_some() => return Err(broken),
        Err(broken) => return Err(within(Duration::from_millis(500), early).await.err().filter(is_refusal).unwrap_or(broken)),
    };
    if let Some(receipt) = receipt {
        return Ok((end, ending, receipt));
    }
    match within(spec.inner.config.receipt_timeout, early).await? {
        response::Kind::Receipt(receipt) => Ok((end, ending, receipt)),
        _ => Err(PeerError::Unexpected),
    }
}

async fn feed(
    spec: &LaneSpec,
    write: &mut Framed<WriteHalf<BoxStream>>,
    backlog: Vec<Bytes>,
    mut input: mpsc::Receiver<LaneInput>,
    account: Option<Arc<Account>>,
) -> Result<(LaneEnd, Option<Ending>), PeerError> {
    let stall = spec.inner.config.stall_timeout;
    for cell in backlog {
        within(stall, async { Ok(write.send_body(&cell).await?) }).await?;
    }
    loop {
        match input.recv().await.ok_or(PeerError::GivenUp)? {
            LaneInput::Cell(cell) => within(stall, async { Ok(write.send_body(&cell).await?) }).await?,
            LaneInput::End(end) => {
                let message =
                    StoreEnd { root: Bytes::copy_from_slice(end.root.as_bytes()), len: end.len, label: end.label.clone() };
                let request = shard::Request { kind: Some(request::Kind::StoreEnd(message)) };
                let ending = match (&spec.inner.pay, account) {
                    (Some(pay), Some(account)) => Some(account.ending(pay, end.root, end.len).await?),
                    _ => None,
                };
                within(stall, async { Ok(write.send(&request).await?) }).await?;
                return Ok((end, ending));
            }
        }
    }
}

fn is_refusal(error: &PeerError) -> bool {
    matches!(error, PeerError::Refused { .. })
}

/// Opens a stream and announces the shard. An idle stream that proves dead is replaced by a new one.
async fn begin(spec: &LaneSpec, deal: DealId) -> Result<Session, PeerError> {
    let store = request::Kind::Store(Store {
        deal_id: Bytes::copy_from_slice(deal.as_bytes()),
        segment_id: Bytes::copy_from_slice(spec.segment.as_bytes()),
        writer_epoch: spec.inner.writer_epoch,
        len_max: spec.len_max,
    });
    let peers = &spec.inner.peers;
    let mut session = peers.session(spec.provider).await?;
    match within(spec.inner.config.call_timeout, session.send(store.clone())).await {
        Err(PeerError::Frame(_)) if session.reused => {
            peers.forget_idle(spec.provider);
            session = peers.fresh_session(spec.provider).await?;
            within(spec.inner.config.call_timeout, session.send(store)).await?;
        }
        sent => sent?,
    }
    Ok(session)
}
