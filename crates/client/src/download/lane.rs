//! Lane: consecutive cells of one shard on their way from its provider, on a task of its own.
//!
//! Never: more cells ahead than the reader granted; a parity cell that was not proven against the shard's root.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cairn_coding::{Layout, ShardPlace};
use cairn_proto::RefusalCode;
use cairn_proto::shard::{Read, request, response};
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::{self, Hash, PATH_LEN_MAX};
use tokio::sync::{Semaphore, mpsc};

use crate::Inner;
use crate::error::PeerError;
use crate::pay::{ReadMeter, note_read, settle_reads};
use crate::session::{Session, within};

/// A lane is taken up again so many times after a provider wanted to be paid first.
const DUES_MAX: usize = 3;

/// What a lane reads.
pub(crate) struct LaneSpec {
    pub inner: Arc<Inner>,
    pub layout: Layout,
    pub place: ShardPlace,
    pub shard: usize,
    pub rows: Range<u32>,
    /// Ask for and check proofs: needed wherever nothing else authenticates the bytes.
    pub proof: bool,
    /// Number of this lane among its reader's.
    pub lane: usize,
}

/// What a lane tells its reader.
pub(crate) struct LaneEvent {
    pub lane: usize,
    pub shard: usize,
    pub outcome: Result<(u32, Bytes), PeerError>,
}

/// Rows of `rows` in which `shard` has bytes: all but perhaps the last.
pub(crate) fn rows_with_bytes(layout: &Layout, shard: usize, rows: Range<u32>) -> Range<u32> {
    let mut end = rows.end;
    while end > rows.start && layout.cell_len(end - 1, shard) == 0 {
        end -= 1;
    }
    rows.start..end
}

/// Reads the cells in order and reports each; ends after the last one or the first failure. `credits` holds how many cells may be ahead.
pub(crate) async fn run(spec: LaneSpec, credits: Arc<Semaphore>, events: mpsc::Sender<LaneEvent>) {
    let (lane, shard, provider) = (spec.lane, spec.shard, spec.place.provider);
    if let Err(error) = transfer(&spec, &credits, &events).await {
        spec.inner.peers.failed(provider, &error);
        note_read(&spec.inner, provider, Some(&error));
        let _ = events.send(LaneEvent { lane, shard, outcome: Err(error) }).await; // the reader is gone
    }
}

async fn transfer(spec: &LaneSpec, credits: &Semaphore, events: &mpsc::Sender<LaneEvent>) -> Result<(), PeerError> {
    let mut rows = rows_with_bytes(&spec.layout, spec.shard, spec.rows.clone());
    for _ in 0..DUES_MAX {
        match read(spec, &mut rows, credits, events).await {
            Err(PeerError::Refused { code: RefusalCode::PaymentDue, message }) => {
                tracing::debug!(provider = %spec.place.provider, message, "reads are paid first");
                settle(spec).await;
            }
            done => return done,
        }
    }
    read(spec, &mut rows, credits, events).await
}

/// Reads the cells of `rows` and takes each off as it is reported.
///
/// What is paid for is asked for a few cells at a time, and only with credits for all of them: a provider counts what it hands to a stream,
/// and what lies there unread would fill its window while nobody pays for it.
async fn read(
    spec: &LaneSpec,
    rows: &mut Range<u32>,
    credits: &Semaphore,
    events: &mpsc::Sender<LaneEvent>,
) -> Result<(), PeerError> {
    let inner = &spec.inner;
    let at_once = inner.pay.as_ref().map_or(u32::MAX, |_| (inner.config.cells_ahead as u32 / 2).max(1));
    while rows.start < rows.end {
        let part = rows.start..rows.end.min(rows.start.saturating_add(at_once));
        let first = if inner.pay.is_some() { part.end - part.start } else { 0 };
        let mut granted = credits.acquire_many(first).await.map_err(|_| PeerError::GivenUp)?;
        let (mut session, mut meter) = begin(spec, &part).await?;
        for row in part {
            let credit = match granted.split(1) {
                Some(credit) => credit,
                None => credits.acquire().await.map_err(|_| PeerError::GivenUp)?,
            };
            let cell = within(inner.config.stall_timeout, cell(&mut session, &mut meter, spec, row)).await?;
            credit.forget();
            rows.start += 1;
            if events.send(LaneEvent { lane: spec.lane, shard: spec.shard, outcome: Ok((row, cell)) }).await.is_err() {
                return Ok(());
            }
        }
        inner.peers.put_back(spec.place.provider, session);
        note_read(inner, spec.place.provider, None);
    }
    Ok(())
}

/// The provider wants to be paid first: its count of reads is asked for and paid.
async fn settle(spec: &LaneSpec) {
    let pay = spec.inner.pay.as_ref();
    if let Some((pay, account)) = pay.and_then(|pay| Some((pay, pay.account_of(spec.place.provider, spec.place.deal)?)))
        && let Err(error) = settle_reads(&spec.inner, pay, &account).await
    {
        tracing::warn!(provider = %spec.place.provider, %error, "reads not paid");
    }
}

/// With payments, readers ask for proofs always: audits look the same. Rows begin and end with whole blocks.
fn wants_proof(spec: &LaneSpec) -> bool {
    spec.proof || spec.inner.pay.is_some()
}

/// Asks for the rows and reads the head of the answer. An idle stream that proves dead is replaced by a new one.
async fn begin(spec: &LaneSpec, rows: &Range<u32>) -> Result<(Session, Option<ReadMeter>), PeerError> {
    let LaneSpec { inner, layout, place, .. } = spec;
    let shard_len = layout.shard_len(spec.shard);
    let offset = layout.cell_offset(rows.start);
    let end = (layout.cell_offset(rows.end - 1) + FRAME_LEN as u64).min(shard_len);
    let read = request::Kind::Read(Read {
        deal_id: Bytes::copy_from_slice(place.deal.as_bytes()),
        root: Bytes::copy_from_slice(place.root.as_bytes()),
        offset,
        len: end - offset,
        proof: wants_proof(spec),
    });
    if let Some(pay) = &inner.pay {
        pay.account_for(inner, place.provider, place.deal).await;
    }
    let asked = Instant::now();
    let mut session = inner.peers.session(place.provider).await?;
    let count = || ReadMeter::start(inner, place.provider, place.deal, end - offset);
    let mut meter = count();
    let mut head = session.call(read.clone(), inner.config.stall_timeout).await;
    if session.reused && matches!(head, Err(PeerError::Frame(_))) {
        inner.peers.forget_idle(place.provider);
        session = inner.peers.fresh_session(place.provider).await?;
        meter = count();
        head = session.call(read, inner.config.stall_timeout).await;
    }
    match head? {
        response::Kind::ReadHead(head) if head.shard_len == shard_len => {
            inner.peers.answered(place.provider, asked.elapsed());
            Ok((session, meter))
        }
        _ => Err(PeerError::Unexpected),
    }
}

async fn cell(session: &mut Session, meter: &mut Option<ReadMeter>, spec: &LaneSpec, row: u32) -> Result<Bytes, PeerError> {
    let path = if wants_proof(spec) { Some(path(session).await?) } else { None };
    let cell = session.body().await?;
    if let Some(meter) = meter {
        meter.received(cell.len());
    }
    if cell.len() != spec.layout.cell_len(row, spec.shard) {
        return Err(PeerError::WrongBytes { row });
    }
    let Some(path) = path.filter(|_| spec.proof) else { return Ok(cell) };
    let (root, shard_len) = (spec.place.root, spec.layout.shard_len(spec.shard));
    let (cell, right) = crate::upload::blocking(move || {
        let right = merkle::verify_block(&root, shard_len, u64::from(row), &cell, &path);
        (cell, right)
    })
    .await;
    if right { Ok(cell) } else { Err(PeerError::WrongBytes { row }) }
}

pub(crate) async fn path(session: &mut Session) -> Result<Vec<Hash>, PeerError> {
    let response::Kind::BlockProof(proof) = session.answer().await? else { return Err(PeerError::Unexpected) };
    if proof.path.len() > PATH_LEN_MAX {
        return Err(PeerError::Unexpected);
    }
    proof.path.iter().map(|hash| Hash::try_from(&hash[..]).map_err(|_| PeerError::Unexpected)).collect()
}
