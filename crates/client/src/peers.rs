//! Peers: what the client remembers of each provider while it runs: idle streams, the deal, usual latency, failures.
//!
//! Never: written to disk; a deal is found again by its nonce. Limits: [`Config::idle_streams_max`] idle streams per provider.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_market::{Candidate, domain_of};
use cairn_proto::shard::{GetOffer, OpenDeal, Present, request, response};
use cairn_proto::{RefusalCode, Transport};
use cairn_types::{DataKeys, DealId, NodeId};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::config::Config;
use crate::error::PeerError;
use crate::session::Session;

/// A provider that keeps idle streams for two minutes is not asked on a stream older than this.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A provider that refused for lack of room is left alone this long.
const FULL_FOR: Duration = Duration::from_secs(30);
/// Doublings of [`Config::failed_rest`].
const FAILED_DOUBLINGS_MAX: u32 = 6;
/// A provider that is asked for a word gives it within this time.
const WORD_TIMEOUT: Duration = Duration::from_secs(2);
const ASKED_AT_ONCE: usize = 32;

/// What a client knows of one provider.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderStatus {
    /// The provider.
    pub node: NodeId,
    /// Whether it is given new shards now.
    pub usable: bool,
    /// Bytes it still takes, by its advert; zero without one.
    pub free_len: u64,
    /// Bytes it rents out, by its advert.
    pub total_len: u64,
    /// Operator's own word for the place.
    pub region: String,
    /// Who fails together with it.
    pub domain: String,
    /// Usual time to a first answer, in microseconds; zero when unknown.
    pub latency_us: u64,
    /// Reads started.
    pub reads: u64,
    /// Shards stored with a receipt.
    pub stores: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Last failure, for people.
    pub last_failure: Option<String>,
    /// Why its terms or its record keep it from new shards; nothing when they do not.
    pub barred: Option<String>,
}

#[derive(Default)]
struct Peer {
    idle: Vec<(Session, Instant)>,
    deal: Option<DealId>,
    latency_us: u64,
    reads: u64,
    stores: u64,
    failures: u64,
    failures_in_row: u32,
    last_failure: Option<String>,
    not_before: Option<Instant>,
}

pub(crate) struct Peers {
    transport: Arc<dyn Transport>,
    keys: DataKeys,
    config: Config,
    /// None below it writes under our deals once they were opened; 0: we do not write.
    writer_epoch: u64,
    /// A provider said that a later catalog of this account writes.
    superseded: AtomicBool,
    map: Mutex<HashMap<NodeId, Peer>>,
    /// What is presented on each new stream, where we are a delegate.
    presents: Mutex<HashMap<NodeId, Present>>,
}

impl Peers {
    pub fn new(transport: Arc<dyn Transport>, keys: DataKeys, config: Config, writer_epoch: u64) -> Self {
        let superseded = AtomicBool::new(false);
        Peers { transport, keys, config, writer_epoch, superseded, map: Mutex::default(), presents: Mutex::default() }
    }

    fn with<T>(&self, node: NodeId, act: impl FnOnce(&mut Peer) -> T) -> T {
        act(self.map.lock().unwrap_or_else(PoisonError::into_inner).entry(node).or_default())
    }

    /// A stream to `node`: an idle one if there is one.
    pub async fn session(&self, node: NodeId) -> Result<Session, PeerError> {
        let idle = self.with(node, |peer| {
            peer.idle.retain(|(_, since)| since.elapsed() < IDLE_MAX);
            peer.idle.pop()
        });
        match idle {
            Some((mut session, _)) => {
                session.reused = true;
                Ok(session)
            }
            None => self.fresh_session(node).await,
        }
    }

    /// A new stream to `node`. Idle ones are dropped: this is asked for when one of them proved dead.
    pub async fn fresh_session(&self, node: NodeId) -> Result<Session, PeerError> {
        let mut session = Session::new(self.transport.open(node).await?);
        let present = self.presents.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        if let Some(present) = present {
            match session.call(request::Kind::Present(present), self.config.call_timeout).await? {
                response::Kind::Presented(_) => {}
                _ => return Err(PeerError::Unexpected),
            }
        }
        Ok(session)
    }

    /// What is presented on streams to `node` from now on.
    pub fn present(&self, node: NodeId, present: Option<Present>) {
        let mut presents = self.presents.lock().unwrap_or_else(PoisonError::into_inner);
        match present {
            Some(present) => drop(presents.insert(node, present)),
            None => drop(presents.remove(&node)),
        }
        drop(presents);
        self.forget_idle(node);
    }

    /// Drops the idle streams to `node`.
    pub fn forget_idle(&self, node: NodeId) {
        let dropped = self.with(node, |peer| std::mem::take(&mut peer.idle));
        drop(dropped);
    }

    /// Gives a stream back that has no answer outstanding.
    pub fn put_back(&self, node: NodeId, session: Session) {
        self.with(node, |peer| {
            if peer.idle.len() < self.config.idle_streams_max {
                peer.idle.push((session, Instant::now()));
            }
        });
    }

    /// A small call on any stream; a dead idle stream is replaced once.
    pub async fn call(&self, node: NodeId, kind: request::Kind) -> Result<response::Kind, PeerError> {
        let mut session = self.session(node).await?;
        let mut answer = session.call(kind.clone(), self.config.call_timeout).await;
        if session.reused && matches!(answer, Err(PeerError::Frame(_))) {
            self.forget_idle(node);
            session = self.fresh_session(node).await?;
            answer = session.call(kind, self.config.call_timeout).await;
        }
        match &answer {
            Ok(_) => self.put_back(node, session),
            Err(error) => self.heed(node, error),
        }
        answer
    }

    /// Remembers when a provider says that a later catalog of this account has taken over.
    fn heed(&self, node: NodeId, error: &PeerError) {
        if matches!(error, PeerError::Refused { code: RefusalCode::StaleWriter, .. })
            && !self.superseded.swap(true, Ordering::Relaxed)
        {
            tracing::error!(provider = %node, %error, "a later catalog of this account writes: this one writes nothing more. Stop it, or recover anew");
        }
    }

    /// Whether a later catalog of this account has taken over.
    pub fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    /// The deal with `node`, opened at first use.
    pub async fn deal(&self, node: NodeId) -> Result<DealId, PeerError> {
        if let Some(deal) = self.with(node, |peer| peer.deal) {
            return Ok(deal);
        }
        let nonce = self.keys.deal_nonce(self.transport.local(), node);
        let open = OpenDeal {
            nonce: Bytes::copy_from_slice(&nonce),
            space_len: self.config.deal_space_len,
            writer_epoch: self.writer_epoch,
        };
        match self.call(node, request::Kind::OpenDeal(open)).await? {
            response::Kind::Deal(deal) => {
                let id = DealId::from_slice(&deal.deal_id).ok_or(PeerError::Unexpected)?;
                self.with(node, |peer| peer.deal = Some(id));
                Ok(id)
            }
            _ => Err(PeerError::Unexpected),
        }
    }

    pub fn answered(&self, node: NodeId, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
        self.with(node, |peer| {
            peer.latency_us = if peer.latency_us == 0 { us } else { (peer.latency_us.saturating_mul(7) + us) / 8 };
            peer.reads += 1;
            peer.failures_in_row = 0;
        });
    }

    pub fn stored(&self, node: NodeId) {
        self.with(node, |peer| {
            peer.stores += 1;
            peer.failures_in_row = 0;
            peer.not_before = None;
        });
    }

    pub fn failed(&self, node: NodeId, error: &PeerError) {
        if matches!(error, PeerError::GivenUp) {
            return;
        }
        self.heed(node, error);
        let dropped = self.with(node, |peer| {
            peer.failures += 1;
            peer.failures_in_row = peer.failures_in_row.saturating_add(1);
            peer.last_failure = Some(error.to_string());
            let pause = match error {
                PeerError::Refused { code, .. } if is_full(*code) => FULL_FOR,
                _ => self.config.failed_rest * 2u32.pow(peer.failures_in_row.min(FAILED_DOUBLINGS_MAX)),
            };
            peer.not_before = Some(Instant::now() + pause);
            if let PeerError::Refused {
                code: RefusalCode::UnknownDeal | RefusalCode::DealEnded | RefusalCode::DealFull, ..
            } = error
            {
                peer.deal = None;
            }
            std::mem::take(&mut peer.idle)
        });
        drop(dropped);
    }

    pub fn latency(&self, node: NodeId) -> Duration {
        Duration::from_micros(self.with(node, |peer| peer.latency_us))
    }

    /// Providers that may be given shards now.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.accepting().0
    }

    /// Providers that take shards by their adverts: those that may be given some now, and how many rest after a failure.
    pub fn accepting(&self) -> (Vec<Candidate>, usize) {
        let now = Instant::now();
        let adverts = self.transport.providers();
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let mut resting = 0;
        let mut candidates = Vec::new();
        for advert in adverts.into_iter().filter(|advert| advert.accepting && advert.node != self.transport.local()) {
            let peer = map.get(&advert.node);
            if peer.and_then(|peer| peer.not_before).is_some_and(|until| until > now) {
                resting += 1;
                continue;
            }
            candidates.push(Candidate {
                domain: domain_of(advert.node, &advert.operator, &advert.addresses),
                free_len: advert.free_len,
                latency_us: peer.map_or(0, |peer| peer.latency_us),
                node: advert.node,
            });
        }
        (candidates, resting)
    }

    /// Asks providers for a word, [`ASKED_AT_ONCE`] at a time; who gives none within [`WORD_TIMEOUT`] rests as after any failure.
    pub async fn ask(&self, nodes: impl IntoIterator<Item = NodeId>) {
        let asked = stream::iter(nodes).map(|node| async move {
            let word = self.call(node, request::Kind::GetOffer(GetOffer {}));
            let failure = match tokio::time::timeout(WORD_TIMEOUT, word).await {
                Ok(Ok(_) | Err(PeerError::Refused { .. })) => return, // a refusal is a word too
                Ok(Err(error)) => error,
                Err(_) => PeerError::TimedOut(WORD_TIMEOUT.as_millis()),
            };
            self.failed(node, &failure);
        });
        asked.buffer_unordered(ASKED_AT_ONCE).collect::<()>().await;
    }

    /// All providers with an advert or a past.
    pub fn known(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.transport.providers().into_iter().map(|advert| advert.node).collect();
        nodes.extend(self.map.lock().unwrap_or_else(PoisonError::into_inner).keys());
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    pub fn status(&self) -> Vec<ProviderStatus> {
        let now = Instant::now();
        let adverts: HashMap<NodeId, _> = self.transport.providers().into_iter().map(|advert| (advert.node, advert)).collect();
        let nodes = self.known();
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |node: NodeId| {
            let (advert, peer) = (adverts.get(&node), map.get(&node));
            let rested = peer.and_then(|peer| peer.not_before).is_none_or(|until| until <= now);
            ProviderStatus {
                node,
                usable: rested && advert.is_some_and(|advert| advert.accepting),
                free_len: advert.map_or(0, |advert| advert.free_len),
                total_len: advert.map_or(0, |advert| advert.total_len),
                region: advert.map(|advert| advert.region.clone()).unwrap_or_default(),
                domain: advert.map(|advert| domain_of(node, &advert.operator, &advert.addresses)).unwrap_or_default(),
                latency_us: peer.map_or(0, |peer| peer.latency_us),
                reads: peer.map_or(0, |peer| peer.reads),
                stores: peer.map_or(0, |peer| peer.stores),
                failures: peer.map_or(0, |peer| peer.failures),
                last_failure: peer.and_then(|peer| peer.last_failure.clone()),
                barred: None,
            }
        };
        nodes.into_iter().map(status).collect()
    }
}

fn is_full(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::OverQuota | RefusalCode::DiskReserve | RefusalCode::DealFull | RefusalCode::ReadOnly | RefusalCode::Stopping
    )
}
