//! Delegate: audits and pays for clients that are silent, from what they told it, under their mandates.
//!
//! Never: a client that its operator did not name; a shard stored or deleted, or a channel opened, topped up or closed.
//! Limits: [`STREAMS_MAX`] streams of one client, the brief's own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_audit::Entry;
use cairn_proto::shard::{self, BriefTaken, Request, Response, request, response};
use cairn_proto::{BoxStream, Frame, FrameError, Framed, RefusalCode};
use cairn_types::{NodeId, UnixMs};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::ledger::{Batch, record};
use crate::pay::{Acting, Brief, Pay, PayError, get_entries};
use crate::{Client, DealView, Inner, LedgerError, Parts, Paying};

/// Streams of one client at a time.
const STREAMS_MAX: usize = 4;
/// A client may be silent so long on one stream.
const IDLE: Duration = Duration::from_secs(120);
/// A client must send the next bytes of a brief within this time.
const STALL: Duration = Duration::from_secs(30);
/// Bytes of audits in one answer.
const AUDITS_LEN_MAX: usize = 48 * 1024;

/// One client that a delegate acts for.
#[derive(Debug, Clone, Serialize)]
pub struct ActingView {
    /// The client.
    pub client: NodeId,
    /// Seconds since its last word, or since the start of this program.
    pub silent_s: u64,
    /// Seconds of silence after which the delegate acts.
    pub acts_after_s: u64,
    /// Whether it acts now.
    pub acting: bool,
    /// The deals that it was told of.
    pub deals: Vec<DealView>,
}

/// A delegate of some clients. Cheap to clone.
#[derive(Clone)]
pub struct Delegate(Arc<HashMap<NodeId, Served>>);

struct Served {
    client: Client,
    streams: Semaphore,
}

impl Delegate {
    /// Acts for `clients`, each with a ledger of its own below `dir`; `parts` and `paying` make what one of them needs. Call inside a
    /// runtime. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(
        clients: &[NodeId],
        dir: PathBuf,
        parts: impl Fn() -> Parts,
        paying: impl Fn(PathBuf) -> Paying,
    ) -> Result<Delegate, LedgerError> {
        let mut served = HashMap::new();
        for id in clients {
            let paying = Paying { acting: Some(*id), court: None, ..paying(dir.join(id.to_string())) };
            let client = Client::paid(parts(), paying)?;
            for (provider, present) in client.pay().map(Pay::presents).unwrap_or_default() {
                client.0.peers.present(provider, present);
            }
            served.insert(*id, Served { client, streams: Semaphore::new(STREAMS_MAX) });
        }
        Ok(Delegate(Arc::new(served)))
    }

    /// Hears a client on one stream until it ends, breaks a rule, or is idle for too long.
    pub async fn serve_stream(&self, peer: NodeId, stream: BoxStream) {
        let mut framed = Framed::new(stream);
        let Some(served) = self.0.get(&peer) else {
            let why = "this node is a delegate, and not yours: its operator names its clients";
            return refuse(&mut framed, RefusalCode::BadRequest, why.into()).await;
        };
        let Ok(_place) = served.streams.try_acquire() else {
            return refuse(&mut framed, RefusalCode::TooManyStreams, "too many streams".into()).await;
        };
        if let Err((code, message)) = hear(&served.client.0, &mut framed).await {
            tracing::warn!(client = %peer, message, "a client was not understood");
            refuse(&mut framed, code, message).await;
        }
    }

    /// The clients.
    pub fn list(&self) -> Vec<ActingView> {
        let mut views: Vec<ActingView> = self.0.values().filter_map(|served| view(&served.client)).collect();
        views.sort_unstable_by_key(|view| view.client);
        views
    }

    /// Ends audits under way and makes the ledgers survive a power cut. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn stop(&self) -> Result<(), LedgerError> {
        self.0.values().try_for_each(|served| {
            served.client.stop_audits();
            served.client.sync_ledger()
        })
    }
}

fn view(client: &Client) -> Option<ActingView> {
    let acting = client.pay()?.acting.as_ref()?;
    let (silent, after) = acting.silence();
    Some(ActingView {
        client: acting.client,
        silent_s: silent.as_secs(),
        acts_after_s: after.as_secs(),
        acting: acting.is_our_turn(),
        deals: client.deals(),
    })
}

type Wrong = (RefusalCode, String);

fn wrong(error: impl Into<PayError>) -> Wrong {
    match error.into() {
        PayError::Ledger(error @ LedgerError::Disk(_)) => {
            tracing::error!(%error, "a brief was not kept");
            (RefusalCode::DiskError, "the delegate's disk failed".to_owned())
        }
        error => (RefusalCode::WrongDelegation, error.to_string()),
    }
}

fn broken(error: FrameError) -> Wrong {
    (RefusalCode::BadRequest, error.to_string())
}

/// The words of one client, one after another.
async fn hear(inner: &Arc<Inner>, framed: &mut Framed<BoxStream>) -> Result<(), Wrong> {
    loop {
        let request = match tokio::time::timeout(IDLE, framed.control::<Request>()).await {
            Ok(Ok(request)) => request,
            Err(_) | Ok(Err(FrameError::Io(_) | FrameError::Ended)) => return Ok(()),
            Ok(Err(error)) => return Err(broken(error)),
        };
        let Some(request::Kind::Brief(brief)) = request.kind else {
            return Err((RefusalCode::BadRequest, "this node is a delegate: it stores and serves nothing".into()));
        };
        let audits = take(inner, brief, framed).await?;
        let answer = Response { kind: Some(response::Kind::BriefTaken(BriefTaken { audits })) };
        match tokio::time::timeout(STALL, framed.send(&answer)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Ok(()),
        }
    }
}

async fn take(inner: &Arc<Inner>, brief: shard::Brief, framed: &mut Framed<BoxStream>) -> Result<Vec<Bytes>, Wrong> {
    let Some((pay, acting)) = inner.pay.as_ref().and_then(|pay| Some((pay, pay.acting.as_ref()?))) else {
        return Err((RefusalCode::BadRequest, "not a delegate".into()));
    };
    let silent = Duration::from_millis(brief.silent_ms).clamp(Duration::from_secs(1), Duration::from_secs(3600));
    let Some(deal) = brief.deal else {
        heard(pay, acting, silent).map_err(wrong)?;
        for gone in pay.forget_deals_but(&brief.deals).map_err(wrong)? {
            inner.peers.present(gone, None);
        }
        return audits(pay, UnixMs(brief.audits_after_ms)).map_err(wrong);
    };
    let checked = Brief::check(pay, deal).map_err(wrong)?;
    let entries = entries(framed, checked.entry_count()).await?;
    heard(pay, acting, silent).map_err(wrong)?;
    let (provider, present) = checked.take(pay, entries).await.map_err(wrong)?;
    inner.peers.present(provider, present);
    Ok(Vec::new())
}

fn heard(pay: &Pay, acting: &Acting, silent: Duration) -> Result<(), LedgerError> {
    if acting.heard(silent) {
        let mut batch = Batch::default();
        batch.put_silence(silent);
        pay.ledger.write(batch)?;
    }
    Ok(())
}

/// The shards of a brief, in body frames.
async fn entries(framed: &mut Framed<BoxStream>, count: u64) -> Result<Vec<Entry>, Wrong> {
    let mut entries = Vec::new();
    while (entries.len() as u64) < count {
        let frame = tokio::time::timeout(STALL, framed.next()).await.map_err(|_| broken(FrameError::Ended))?;
        let Some(Frame::Body(body)) = frame.map_err(broken)? else { return Err(broken(FrameError::Unexpected("body"))) };
        get_entries(&body, &mut entries, count).map_err(wrong)?;
    }
    Ok(entries)
}

/// Audits that began after a moment, oldest first, as many as fit. Audits of one moment go together.
fn audits(pay: &Pay, after: UnixMs) -> Result<Vec<Bytes>, LedgerError> {
    let (mut audits, mut len, mut last) = (Vec::new(), 0, after.0);
    pay.ledger.audits(after.plus_ms(1), |audit| {
        let bytes = Bytes::from(record::encode(&audit));
        if len + bytes.len() > AUDITS_LEN_MAX && audit.at_ms != last {
            return false;
        }
        (len, last) = (len + bytes.len(), audit.at_ms);
        audits.push(bytes);
        len <= AUDITS_LEN_MAX
    })?;
    Ok(audits)
}

async fn refuse(framed: &mut Framed<BoxStream>, code: RefusalCode, message: String) {
    let told = async {
        let _ = framed.send(&cairn_proto::refusal(code, message)).await;
        let _ = framed.close().await;
    };
    let _ = tokio::time::timeout(STALL, told).await;
}
