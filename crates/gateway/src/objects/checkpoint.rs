//! Checkpoints: what the catalog holds, written to the network now and then, so that it can be recovered from the phrase.
//!
//! Records of objects are on the network with every PUT, in packs. What is deleted is not, nor are buckets, keys and settings: a checkpoint
//! says what there is at a moment, and recovery replays only the packs that began after it. There are two: of settings, which follow each
//! change within seconds, and of objects, whose length is that of all records. Format: `docs/formats/checkpoint.md`.
//! Never: a checkpoint that lacks what was acknowledged before it began. Limits: frames of [`FRAME_LEN_MAX`]; a page of
//! [`PAGE_LEN`] bytes in memory.

use std::sync::Arc;
use std::time::Duration;

use cairn_client::{BlobKind as NetworkKind, WriterOptions};
use cairn_types::BlobId;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Objects;
use super::core::{Network, write_error};
use super::error::ObjectError;
use super::pack::PackedObject;
use super::refs;
use crate::catalog::record::{
    BlobKind, BucketRecord, BudgetRecord, CheckpointRecord, ConfigRecord, Extent, KeyRecord, ObjectRecord, RECORD_LEN_MAX, decode,
};
use crate::catalog::table::{budget_row, key_of_object_row, parse_version_row};
use crate::catalog::{BucketId, Db, Table};

/// First bytes of every checkpoint; the last one is the format's version.
pub const MAGIC: [u8; 8] = *b"cairnck\x01";
/// A frame: the largest record and its names.
pub const FRAME_LEN_MAX: usize = RECORD_LEN_MAX + 4096;
/// Bytes of a length before a frame.
pub const PREFIX_LEN: usize = 4;
/// Bytes of records that are gathered before they are written.
const PAGE_LEN: usize = 1 << 20;
/// Between two looks for changes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A checkpoint that failed is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// What the last checkpoint of settings may hold up the end.
const LAST_FOR: Duration = Duration::from_secs(2);

/// Which half of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Buckets, their configurations and budgets, access keys.
    Settings,
    /// Objects and versions.
    Objects,
}

impl Part {
    /// Both.
    pub const ALL: [Part; 2] = [Part::Settings, Part::Objects];

    /// Its number in the head of a checkpoint.
    pub fn number(self) -> u32 {
        match self {
            Part::Settings => 1,
            Part::Objects => 2,
        }
    }

    fn row(self) -> Vec<u8> {
        match self {
            Part::Settings => b"checkpoint-settings".to_vec(),
            Part::Objects => b"checkpoint-objects".to_vec(),
        }
    }
}

/// One statement of a checkpoint.
#[derive(Clone, PartialEq, Message)]
pub struct Frame {
    /// What.
    #[prost(oneof = "Say", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub say: Option<Say>,
}

/// What a frame says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Say {
    /// The first frame.
    #[prost(message, tag = "1")]
    Head(Head),
    /// There is this bucket.
    #[prost(message, tag = "2")]
    Bucket(NamedBucket),
    /// A bucket has this configuration.
    #[prost(message, tag = "3")]
    Config(NamedConfig),
    /// There is this access key.
    #[prost(message, tag = "4")]
    Key(NamedKey),
    /// A bucket may cost so much.
    #[prost(message, tag = "5")]
    Budget(NamedBudget),
    /// There is this version of an object; its record has its entry.
    #[prost(message, boxed, tag = "6")]
    Object(Box<PackedObject>),
    /// The last frame: how many were between the first and this.
    #[prost(uint64, tag = "7")]
    End(u64),
}

/// Head of a checkpoint.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Head {
    /// [`Part::number`].
    #[prost(uint32, tag = "1")]
    pub part: u32,
    /// Packs of this epoch with a lower sequence, and of lower epochs, are in it.
    #[prost(uint64, tag = "2")]
    pub writer_epoch: u64,
    /// See `writer_epoch`.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// When it was begun.
    #[prost(uint64, tag = "4")]
    pub at_ms: u64,
}

/// A bucket and its name.
#[derive(Clone, PartialEq, Message)]
pub struct NamedBucket {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Record; its number is this catalog's own.
    #[prost(message, optional, tag = "2")]
    pub record: Option<BucketRecord>,
}

/// A configuration, its bucket and its name.
#[derive(Clone, PartialEq, Message)]
pub struct NamedConfig {
    /// Bucket.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// Name, such as `policy`.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Record.
    #[prost(message, optional, tag = "3")]
    pub record: Option<ConfigRecord>,
}

/// An access key and its id.
#[derive(Clone, PartialEq, Message)]
pub struct NamedKey {
    /// Access key id.
    #[prost(string, tag = "1")]
    pub access_key: String,
    /// Record.
    #[prost(message, optional, tag = "2")]
    pub record: Option<KeyRecord>,
}

/// A budget and its bucket.
#[derive(Clone, PartialEq, Message)]
pub struct NamedBudget {
    /// Bucket.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// As [`BudgetRecord::month_max`].
    #[prost(bytes = "vec", tag = "2")]
    pub month_max: Vec<u8>,
}

fn push(bytes: &mut Vec<u8>, say: Say) {
    let frame = Frame { say: Some(say) };
    bytes.extend_from_slice(&(frame.encoded_len() as u32).to_be_bytes());
    frame.encode(bytes).expect("a Vec grows");
}

/// A page of frames, how many they are, and where the next page begins.
struct Page {
    bytes: Vec<u8>,
    count: u64,
    next: Option<Place>,
}

/// Where a walk through the objects is: which bucket, which table, which row.
#[derive(Clone, Default)]
struct Place {
    bucket: Vec<u8>,
    versions: bool,
    from: Vec<u8>,
}

fn settings(db: &Db) -> Result<Page, ObjectError> {
    let mut page = Page { bytes: Vec::new(), count: 0, next: None };
    let mut add = |say: Say| {
        page.count += 1;
        push(&mut page.bytes, say);
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for row in db.scan(Table::Buckets, Vec::new(), &[]) {
        let (name, value) = row?;
        let (name, record): (String, BucketRecord) = (text(&name), decode(&value)?);
        let id = BucketId(record.id);
        add(Say::Bucket(NamedBucket { name: name.clone(), record: Some(BucketRecord { id: 0, ..record }) }));
        let prefix = id.0.to_be_bytes();
        for row in db.scan(Table::Configs, prefix.to_vec(), &prefix) {
            let (row, value) = row?;
            let config = NamedConfig { bucket: name.clone(), name: text(&row[prefix.len()..]), record: Some(decode(&value)?) };
            add(Say::Config(config));
        }
        if let Some(budget) = db.record::<BudgetRecord>(Table::Budgets, &budget_row(id))? {
            add(Say::Budget(NamedBudget { bucket: name, month_max: budget.month_max }));
        }
    }
    for row in db.scan(Table::Keys, Vec::new(), &[]) {
        let (access_key, value) = row?;
        add(Say::Key(NamedKey { access_key: text(&access_key), record: Some(decode(&value)?) }));
    }
    Ok(page)
}

/// A page of objects. Buckets and rows that come or go meanwhile are as they are when the walk meets them.
fn objects(db: &Db, mut at: Place) -> Result<Page, ObjectError> {
    let mut page = Page { bytes: Vec::new(), count: 0, next: None };
    loop {
        let Some(found) = db.scan(Table::Buckets, at.bucket.clone(), &[]).next().transpose()? else { return Ok(page) };
        let (name, value) = found;
        if *name != *at.bucket {
            at = Place { bucket: name.to_vec(), ..Place::default() };
        }
        let (bucket, record): (String, BucketRecord) = (String::from_utf8_lossy(&name).into_owned(), decode(&value)?);
        let prefix = record.id.to_be_bytes();
        let table = if at.versions { Table::Versions } else { Table::Objects };
        let from = if at.from.is_empty() { prefix.to_vec() } else { at.from.clone() };
        for row in db.scan(table, from, &prefix) {
            let (row, value) = row?;
            let key = if at.versions {
                parse_version_row(&row).map(|(key, _)| key)
            } else {
                key_of_object_row(&row).map(str::to_owned)
            };
            let key = key.ok_or_else(|| ObjectError::Internal("a damaged row of an object".into()))?;
            let record: ObjectRecord = decode(&value)?;
            push(&mut page.bytes, Say::Object(Box::new(PackedObject { bucket: bucket.clone(), key, record: Some(record) })));
            page.count += 1;
            if page.bytes.len() >= PAGE_LEN {
                let from = [&row[..], &[0]].concat();
                page.next = Some(Place { from, ..at });
                return Ok(page);
            }
        }
        at = match at.versions {
            false => Place { versions: true, from: Vec::new(), ..at },
            // The first name there can be after this one.
            true => Place { bucket: [&at.bucket[..], &[0]].concat(), ..Place::default() },
        };
    }
}

/// A walk through a part of the catalog, page by page.
struct Walk {
    part: Part,
    next: Option<Place>,
    hasher: Sha256,
    count: u64,
}

impl Walk {
    fn new(part: Part) -> Walk {
        Walk { part, next: Some(Place::default()), hasher: Sha256::new(), count: 0 }
    }

    /// The frames of the next page; `None` behind the last.
    async fn page(&mut self, network: &Network) -> Result<Option<Vec<u8>>, ObjectError> {
        let (Some(at), part) = (self.next.take(), self.part) else { return Ok(None) };
        let found = network.catalog.read(move |db| if part == Part::Settings { settings(db) } else { objects(db, at) }).await?;
        self.hasher.update(&found.bytes);
        (self.count, self.next) = (self.count + found.count, found.next);
        Ok(Some(found.bytes))
    }

    /// SHA-256 of all frames.
    fn hash(self) -> [u8; 32] {
        self.hasher.finalize().into()
    }
}

/// Writes a checkpoint of `part`, if it would say something else than the latest one. Whether it did.
pub(super) async fn write(network: &Arc<Network>, part: Part) -> Result<bool, ObjectError> {
    let _turn = network.checkpoint_turn.lock().await;
    let latest: Option<CheckpointRecord> = network.catalog.read(move |db| Ok(db.record(Table::Meta, &part.row())?)).await?;
    let mut looking = Walk::new(part);
    while looking.page(network).await?.is_some() {}
    let hash = looking.hash();
    if latest.as_ref().is_some_and(|latest| latest.hash == hash) {
        return Ok(false);
    }
    let sequence = network.horizon().await;
    let at = network.now();
    let options = WriterOptions { kind: NetworkKind::Checkpoint, sequence, len_hint: None };
    let mut writer = network.client.writer_with(options).map_err(write_error)?;
    let head = Head { part: part.number(), writer_epoch: network.catalog.writer_epoch(), sequence, at_ms: at.0 };
    let mut bytes = MAGIC.to_vec();
    push(&mut bytes, Say::Head(head));
    writer.write(bytes.into()).await.map_err(write_error)?;
    let mut walk = Walk::new(part);
    while let Some(page) = walk.page(network).await? {
        writer.write(page.into()).await.map_err(write_error)?;
    }
    let (count, mut bytes) = (walk.count, Vec::new());
    push(&mut bytes, Say::End(count));
    writer.write(bytes.into()).await.map_err(write_error)?;
    let stored = writer.finish().await.map_err(write_error)?;
    let hash = walk.hash();
    let manifest = cairn_client::Manifest::clone(&stored);
    let changing = network.catalog.change(move |txn| {
        let extent = Extent { blob: manifest.blob, offset: 0, len: manifest.plain_len() };
        refs::insert(txn, &manifest, BlobKind::Checkpoint);
        refs::retain(txn, &extent)?;
        if let Some(before) = txn.record::<CheckpointRecord>(Table::Meta, &part.row())? {
            let blob =
                BlobId::from_slice(&before.blob).ok_or_else(|| ObjectError::Internal("a damaged checkpoint row".into()))?;
            refs::release(txn, &Extent { blob, offset: 0, len: before.len }, at)?;
        }
        let record = CheckpointRecord { blob: extent.blob.0.to_vec(), len: extent.len, at_ms: at.0, hash: hash.to_vec() };
        txn.put_record(Table::Meta, part.row(), &record);
        Ok(extent.len)
    });
    let len = changing.await?;
    drop(stored); // the catalog knows it by now, or the collector may have it
    network.wake_trash();
    tracing::info!(?part, len, count, "checkpoint written");
    Ok(true)
}

/// When a part is looked at next.
struct Turn {
    part: Part,
    every: Duration,
    /// Changes of the catalog at the last look.
    seen: Option<u64>,
    due: Instant,
}

/// Writes checkpoints when there is something new to say, until `stop`.
pub(super) async fn run(network: Arc<Network>, every: Duration, stop: CancellationToken) {
    let turn = |part, every| Turn { part, every, seen: None, due: Instant::now() + every };
    let mut turns = [turn(Part::Settings, LOOK_EVERY), turn(Part::Objects, every)];
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        for turn in &mut turns {
            let (changes, now) = (network.catalog.commit_stats().changes, Instant::now());
            if now < turn.due || turn.seen == Some(changes) {
                continue;
            }
            match stop.run_until_cancelled(write(&network, turn.part)).await {
                None => return,
                Some(Ok(_)) => (turn.seen, turn.due) = (Some(changes), now + turn.every),
                Some(Err(error)) => {
                    tracing::warn!(%error, part = ?turn.part, "no checkpoint could be written; it will be tried again");
                    turn.due = Instant::now() + RETRY_AFTER;
                }
            }
        }
    }
}

/// The last checkpoint of settings before the store stops.
pub(super) async fn last_settings(network: &Arc<Network>) {
    match tokio::time::timeout(LAST_FOR, write(network, Part::Settings)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the last settings are on this machine alone"),
        Err(_) => tracing::warn!("the last settings are on this machine alone: the providers were too slow"),
    }
}

impl Objects {
    /// Writes checkpoints of both parts now, where there is something new to say. Which were written.
    ///
    /// # Errors
    /// [`ObjectError::NotEnoughProviders`], [`ObjectError::Unavailable`]; the checkpoint before stays the latest.
    pub async fn checkpoint_now(&self) -> Result<Vec<Part>, ObjectError> {
        self.core.check_running()?;
        let mut written = Vec::new();
        for part in Part::ALL {
            if write(&self.core.network, part).await? {
                written.push(part);
            }
        }
        Ok(written)
    }
}
