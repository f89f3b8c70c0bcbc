//! The client: turns bytes into shards on strangers' disks and back.
//!
//! Never: success without enough signed receipts; a byte that was not authenticated; more memory than a few rows per transfer.
//! Limits: [`Config`].

mod auditor;
mod collect;
mod config;
mod court;
mod delegate;
mod delete;
mod download;
mod error;
mod find;
mod in_flight;
mod ledger;
mod pay;
mod peers;
mod repair;
mod session;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_market::Tier;
use cairn_proto::Transport;
use cairn_types::{BlobId, DataKeys, Rng};
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

pub use cairn_coding::{BlobKind, Label, Manifest, ManifestError, SegmentManifest, ShardPlace, WrappedKey};
pub use cairn_market::tier;
pub use cairn_types::{NodeId, Redundancy, SegmentId};
pub use collect::{CollectReport, Live};
pub use config::Config;
pub use court::{CourtRule, DisputeView};
pub use delegate::{ActingView, Delegate};
pub use download::BlobReader;
pub use error::{PeerError, ReadError, WriteError};
pub use find::FoundShard;
pub use ledger::LedgerError;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use ledger::fuzzing as ledger_fuzzing;
pub use pay::{
    AuditFilter, AuditView, DealView, FailureView, Grant, GrantView, JournalEntry, LedgerStatus, MonthSpending, OfferView,
    PayConfig, PayError, Paying, Quote, QuoteError, QuotedOffer,
};
pub use peers::ProviderStatus;
pub use repair::{RepairError, Repaired, SegmentHealth};
pub use upload::{BlobWriter, StoredBlob, WriterOptions};

/// What a client is made of.
pub struct Parts {
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// Keys that seal the account's data.
    pub keys: DataKeys,
    /// Random source, fit for keys.
    pub rng: Arc<dyn Rng>,
    /// Counts the starts of the catalog that this client writes for; stored beside each shard.
    pub writer_epoch: u64,
    /// Time-outs and bounds.
    pub config: Config,
}

/// An answer of all candidates is trusted this long: less than the shortest rest of one that gave none.
const ASKED_FOR: Duration = Duration::from_millis(500);
const CLAIMS_AT_ONCE: usize = 32;

/// One account's access to the network. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

pub(crate) struct Inner {
    pub keys: DataKeys,
    pub rng: Arc<dyn Rng>,
    pub writer_epoch: u64,
    pub config: Config,
    pub peers: peers::Peers,
    pub in_flight: in_flight::InFlight,
    /// Providers that do not answer.
    pub absent: repair::Absent,
    /// When the candidates were last asked for a word.
    asked: tokio::sync::Mutex<Option<Instant>>,
    pub uploads: Arc<Semaphore>,
    pub downloads: Arc<Semaphore>,
    /// Terms and money; without it only free providers are of use.
    pub pay: Option<pay::Pay>,
}

impl Client {
    /// A client over `parts.transport`. Opens no connection.
    pub fn new(parts: Parts) -> Client {
        Client(Arc::new(Inner::new(parts, None)))
    }

    /// A client that pays providers which ask for pay, and audits them. Call inside a runtime: a task of it syncs the ledger and audits
    /// until the last clone is dropped. Blocks on the disk; opens no connection.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn paid(parts: Parts, paying: Paying) -> Result<Client, LedgerError> {
        let inner = Arc::new(Inner::new(parts, Some(pay::Pay::open(paying)?)));
        tokio::spawn(auditor::run(Arc::downgrade(&inner)));
        tokio::spawn(pay::giving::run(Arc::downgrade(&inner)));
        Ok(Client(inner))
    }
    /// Starts a data blob of unknown length.
    ///
    /// # Errors
    /// [`WriteError::NotEnoughProviders`], [`WriteError::Superseded`].
    pub fn writer(&self) -> Result<BlobWriter, WriteError> {
        self.writer_with(WriterOptions::default())
    }

    /// Starts a blob.
    ///
    /// # Errors
    /// [`WriteError::NotEnoughProviders`], [`WriteError::Superseded`].
    pub fn writer_with(&self, options: WriterOptions) -> Result<BlobWriter, WriteError> {
        BlobWriter::start(self.0.clone(), options)
    }

    /// Reads `range` of a blob; the range is cut to the blob's length. Fetching starts with the first call of `next`.
    pub fn read(&self, manifest: Arc<Manifest>, range: Range<u64>) -> BlobReader {
        BlobReader::new(self.0.clone(), manifest, range)
    }

    /// Deletes a blob's shards and returns the places that could not be cleared; call again later with those.
    pub async fn delete(&self, manifest: &Manifest) -> Vec<ShardPlace> {
        let places = manifest.segments.iter().flat_map(|segment| segment.shards.iter().flatten().cloned()).collect();
        delete::places(&self.0, places).await
    }

    /// As [`Client::delete`], for places named one by one.
    pub async fn delete_places(&self, places: Vec<ShardPlace>) -> Vec<ShardPlace> {
        delete::places(&self.0, places).await
    }

    /// Deletes shards under this client's deals that lie at no `live` place and whose segment is not being written. Those of a catalog
    /// before `born_epoch` are left alone.
    pub async fn collect(&self, born_epoch: u64, live: &Live<'_>) -> CollectReport {
        collect::run(&self.0, born_epoch, live).await
    }

    /// What this client knows of each provider.
    pub fn providers(&self) -> Vec<ProviderStatus> {
        let mut status = self.0.peers.status();
        if let Some(pay) = &self.0.pay {
            for provider in &mut status {
                provider.barred = pay.barred(provider.node);
                provider.usable &= provider.barred.is_none();
            }
        }
        status
    }

    /// Whether a provider said that a later catalog of this account has taken over; then nothing is written, repaired or collected.
    pub fn is_superseded(&self) -> bool {
        self.0.peers.is_superseded()
    }

    /// Opens the deal with every provider that is known, so that none of them takes anything from an earlier catalog of this account any more,
    /// and this one learns whether there is a later one. Those that do not answer are asked at their first use.
    pub async fn claim(&self) {
        let nodes = self.0.peers.known();
        let asked = stream::iter(nodes).map(|node| async move {
            if let Err(error) = self.0.peers.deal(node).await {
                tracing::debug!(provider = %node, %error, "deal not opened yet");
            }
        });
        asked.buffer_unordered(CLAIMS_AT_ONCE).collect::<()>().await;
    }

    /// The tier that a new blob would get now; `None` with too few providers.
    pub fn tier(&self) -> Option<Tier> {
        self.0.tier(self.0.candidates().len())
    }
}

impl Inner {
    fn new(parts: Parts, pay: Option<pay::Pay>) -> Inner {
        let Parts { transport, keys, rng, writer_epoch, config } = parts;
        Inner {
            uploads: Arc::new(Semaphore::new(config.uploads_max)),
            downloads: Arc::new(Semaphore::new(config.downloads_max)),
            peers: peers::Peers::new(transport, keys.clone(), config.clone(), writer_epoch),
            in_flight: in_flight::InFlight::default(),
            absent: repair::Absent::default(),
            asked: tokio::sync::Mutex::default(),
            keys,
            rng,
            writer_epoch,
            config,
            pay,
        }
    }

    /// Providers that may be given shards now.
    pub(crate) fn candidates(&self) -> Vec<cairn_market::Candidate> {
        let mut candidates = self.peers.candidates();
        if let Some(pay) = &self.pay {
            candidates.retain(|candidate| pay.barred(candidate.node).is_none());
        }
        candidates
    }

    /// The tier for a blob that is begun now. It never comes from a count that nobody checked: when providers rest after failures, so that
    /// the others may have died with them, and the tier hangs on how many are left, those are asked first.
    ///
    /// # Errors
    /// [`WriteError::NotEnoughProviders`], [`WriteError::Superseded`].
    pub(crate) async fn tier_now(&self) -> Result<Tier, WriteError> {
        let (candidates, resting) = self.peers.accepting();
        let whole = self.tier(candidates.len() + resting);
        let unsure = resting > 0
            && (whole != self.tier(candidates.len()) || whole.is_some_and(|tier| candidates.len() <= tier.redundancy.total()));
        if unsure {
            let mut asked = self.asked.lock().await;
            if asked.is_none_or(|last| last.elapsed() >= ASKED_FOR) {
                self.peers.ask(self.candidates().into_iter().map(|candidate| candidate.node)).await;
                *asked = Some(Instant::now());
            }
        }
        if self.peers.is_superseded() {
            return Err(WriteError::Superseded);
        }
        let have = self.candidates().len();
        self.tier(have).ok_or_else(|| WriteError::NotEnoughProviders { have, need: upload::needed(self) })
    }

    pub(crate) fn tier(&self, providers: usize) -> Option<Tier> {
        match self.config.redundancy {
            Some(redundancy) => Some(Tier::fixed(redundancy)).filter(|tier| providers >= tier.receipts_min),
            None => Tier::for_providers(providers),
        }
    }

    pub(crate) fn draw_blob_id(&self) -> BlobId {
        BlobId(cairn_types::port::draw(&*self.rng))
    }
}
