//! Probe: one block read as any reader reads it, and checked.

use std::sync::Arc;

use bytes::Bytes;
use cairn_audit::verdict::Outcome;
use cairn_audit::{Probe, ProbeFailure};
use cairn_proto::shard::{Read, request, response};
use cairn_proto::{FrameError, RefusalCode};
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::Hash;

use crate::Inner;
use crate::error::PeerError;
use crate::pay::{Account, ReadMeter};
use crate::session::within;

/// What came back for a block.
struct Block {
    shard_len: u64,
    data: Bytes,
    path: Vec<Hash>,
}

/// Reads the block of a probe and says how that went.
pub(super) async fn ask(inner: &Arc<Inner>, account: &Account, probe: &Probe) -> (Outcome, String) {
    let leaf = probe.leaves.first().copied().unwrap_or(0);
    let block = match read(inner, account, probe).await {
        Ok(block) => block,
        Err(error) => return (graded(&error, leaf, probe), error.to_string()),
    };
    let checked = {
        let probe = probe.clone();
        crate::upload::blocking(move || probe.check(block.shard_len, &block.data, &block.path)).await
    };
    match checked {
        Ok(()) => (Outcome::Good, String::new()),
        Err(reason) => (Outcome::Corrupt { leaf, reason }, reason.to_string()),
    }
}

/// Silence is not guilt, and a broken stream is silence.
fn graded(error: &PeerError, leaf: u64, probe: &Probe) -> Outcome {
    match error {
        PeerError::Refused { code: RefusalCode::NotFound | RefusalCode::UnknownDeal, .. } => Outcome::Gone,
        PeerError::Refused { code, .. } => Outcome::Refused { code: *code as u32 },
        PeerError::Unexpected => {
            Outcome::Corrupt { leaf, reason: ProbeFailure::BlockLen { expected: probe.block_len(), got: 0 } }
        }
        PeerError::TimedOut(_) => Outcome::Late,
        PeerError::Transport(_) | PeerError::Frame(_) => Outcome::Unreachable,
        PeerError::Receipt(_)
        | PeerError::OtherReceipt
        | PeerError::WrongBytes { .. }
        | PeerError::NoTerms(_)
        | PeerError::GivenUp => Outcome::Late,
    }
}

async fn read(inner: &Arc<Inner>, account: &Account, probe: &Probe) -> Result<Block, PeerError> {
    let len = probe.block_len() as u64;
    let read = request::Kind::Read(Read {
        deal_id: Bytes::copy_from_slice(account.deal.as_bytes()),
        root: Bytes::copy_from_slice(probe.shard.root().as_bytes()),
        offset: probe.block.saturating_mul(FRAME_LEN as u64),
        len,
        proof: true,
    });
    let mut session = inner.peers.session(account.node).await?;
    let mut meter = ReadMeter::start(inner, account.node, account.deal, len);
    let mut head = session.call(read.clone(), inner.config.stall_timeout).await;
    if session.reused && matches!(head, Err(PeerError::Frame(FrameError::Io(_) | FrameError::Ended))) {
        inner.peers.forget_idle(account.node);
        session = inner.peers.fresh_session(account.node).await?;
        meter = ReadMeter::start(inner, account.node, account.deal, len);
        head = session.call(read, inner.config.stall_timeout).await;
    }
    let response::Kind::ReadHead(head) = head? else { return Err(PeerError::Unexpected) };
    let (path, data) = within(inner.config.stall_timeout, async {
        let path = crate::download::lane::path(&mut session).await?;
        Ok((path, session.body().await?))
    })
    .await?;
    if let Some(meter) = &mut meter {
        meter.received(data.len());
    }
    inner.peers.put_back(account.node, session);
    Ok(Block { shard_len: head.shard_len, data, path })
}
