//! Follower: reads the blocks of a chain in order and tells what our contracts said, once each, when it is deep enough.
//!
//! The [`core`] decides; this shell asks the node and writes. A block, its events, what they confirm and the place to go on from are one
//! synced batch, so a crash repeats a question and never an event.
//! Never: tells an event before its depth; hides that one was taken back. Limits: [`BLOCKS_PER_ROUND`], [`core::REORG_MAX`].

pub mod core;
pub mod event;

use std::sync::Arc;

use alloy_primitives::B256;
use cairn_types::Address;
use prost::Message;
use rocksdb::WriteBatch;

use self::core::{Ask, BlockRef, Core, CoreError, Effect, REORG_MAX, Seen};
use crate::endpoint::{Endpoint, EndpointError};
use crate::genesis::Contracts;
use crate::node::Header;
use crate::store::{Store, StoreError, Table};
use crate::wire::evm;
use event::{EventRow, Notice, NoticeRow};

/// Blocks read in one round, so that a long way is walked in steps.
const BLOCKS_PER_ROUND: usize = 512;
/// Blocks whose logs are asked for at once, far behind the head.
const RANGE_BLOCKS_MAX: u64 = 2000;
/// Notices read at once.
const NOTICES_MAX: usize = 1000;
const NOTICE_ROW: &[u8] = b"notice";

/// Why following stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The node.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Our database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain's past does not fit ours.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A reader has heard more than this ledger knows: its database was put back to an older one.
    #[error("a reader has heard notice {heard}, this ledger knows {known}: its database is an older one")]
    Older {
        /// Heard.
        heard: u64,
        /// Known.
        known: u64,
    },
    /// The thread that writes is gone.
    #[error("the ledger stops")]
    Stopping,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything that the node has is read; height of the newest block, none on an empty chain.
    UpToDate(Option<u64>),
    /// There is more; ask for another round.
    More,
    /// The node is behind what was read from it before, at this height.
    Behind(u64),
}

#[derive(Clone, PartialEq, Message)]
struct BlockRow {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parent: Vec<u8>,
    #[prost(bool, tag = "3")]
    confirmed: bool,
}

/// The follower of one chain, for one wallet.
pub struct Follower {
    endpoint: Endpoint,
    store: Arc<Store>,
    contracts: Contracts,
    wallet: Address,
    confirmations: u64,
    core: Core,
    /// Blocks of one range; halved when the node finds it too much.
    range_blocks: u64,
}

impl Follower {
    /// Goes on where the store says, or begins at block `first`. Blocks on the disk.
    pub(crate) fn open(
        endpoint: Endpoint,
        store: Arc<Store>,
        contracts: Contracts,
        wallet: Address,
        (first, confirmations): (u64, u64),
    ) -> Result<Follower, StoreError> {
        let damaged = |reason: &str| StoreError::Damaged { table: "blocks", reason: reason.into() };
        let mut recent = Vec::new();
        for row in store.scan::<BlockRow>(Table::Blocks, []) {
            let (key, row) = row?;
            let number = key.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| damaged("a row is not a number"))?;
            let hash = |bytes: &[u8]| B256::try_from(bytes).map_err(|_| damaged("a hash is not 32 bytes"));
            recent.push(BlockRef { number, hash: hash(&row.hash)?, parent: hash(&row.parent)?, confirmed: row.confirmed });
        }
        Ok(Follower {
            endpoint,
            store,
            contracts,
            wallet,
            confirmations,
            core: Core::new(first, confirmations, recent),
            range_blocks: RANGE_BLOCKS_MAX,
        })
    }

    /// Reads what is new. Call again after a pause, or at once when there is more.
    ///
    /// # Errors
    /// [`FollowError`]; nothing is lost, the next call goes on from the same place.
    pub async fn round(&mut self) -> Result<Progress, FollowError> {
        self.check_chain().await?;
        let head = self.endpoint.head_number().await?;
        let mut asked = self.core.first_question();
        for _ in 0..BLOCKS_PER_ROUND {
            if let Ask::Next(next) = asked
                && head.saturating_sub(next) > RANGE_BLOCKS_MAX + self.confirmations.max(REORG_MAX as u64)
            {
                self.read_range(next, next + self.range_blocks - 1).await?;
                asked = self.core.next_question();
                continue;
            }
            let (Ask::Newest(number) | Ask::Next(number)) = asked;
            let header = self.endpoint.header(number).await?;
            let seen = header.as_ref().map(seen);
            // A copy, so that what could not be written did not happen.
            let mut core = self.core.clone();
            let effect = core.apply(asked, seen)?;
            match &effect {
                Effect::Behind => return Ok(Progress::Behind(number)),
                Effect::UpToDate => return Ok(Progress::UpToDate(self.core.tip().map(|tip| tip.number))),
                Effect::Same => {}
                Effect::Appended { .. } => {
                    let events = match &header {
                        Some(header) => self.events(header).await?,
                        None => Vec::new(),
                    };
                    self.write(move |store, batch| stage_appended(store, batch, &effect, events)).await?;
                }
                Effect::RolledBack(block) => {
                    tracing::warn!(number = block.number, hash = %block.hash, "a block was taken back");
                    self.write(move |store, batch| stage_rolled_back(store, batch, &effect)).await?;
                }
            }
            let rolled_back = core.tip().map(|tip| tip.number) < self.core.tip().map(|tip| tip.number);
            self.core = core;
            asked = if rolled_back { self.core.first_question() } else { self.core.next_question() };
        }
        Ok(Progress::More)
    }

    /// What was told after notice `after` (0 for everything kept), at most `max` and [`NOTICES_MAX`].
    ///
    /// # Errors
    /// [`FollowError::Older`] when `after` was never told by this ledger.
    pub(crate) fn notices(
        store: &Store,
        contracts: &Contracts,
        wallet: Address,
        after: u64,
        max: usize,
    ) -> Result<Vec<Notice>, FollowError> {
        let known = store.number(NOTICE_ROW)?.unwrap_or_default();
        if after > known {
            return Err(FollowError::Older { heard: after, known });
        }
        let mut notices = Vec::new();
        for row in store.scan::<NoticeRow>(Table::Notices, after.saturating_add(1).to_be_bytes()).take(max.min(NOTICES_MAX)) {
            let (key, row) = row?;
            let wrong = |_| StoreError::Damaged { table: "notices", reason: "a row is not a number".into() };
            let seq = key.as_ref().try_into().map(u64::from_be_bytes).map_err(wrong)?;
            notices.extend(row.notice(seq, contracts, wallet));
        }
        Ok(notices)
    }

    /// Drops notices up to `seq`, which every reader has heard.
    pub(crate) fn forget_notices(store: &Store, seq: u64) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for row in store.scan::<NoticeRow>(Table::Notices, []).take(NOTICES_MAX) {
            let (key, _) = row?;
            if key.as_ref() > seq.to_be_bytes().as_slice() {
                break;
            }
            store.delete(&mut batch, Table::Notices, &key);
        }
        store.write(batch)
    }

    async fn check_chain(&self) -> Result<(), FollowError> {
        self.endpoint.check_chain().await?;
        let (found, store) = (self.endpoint.genesis().await?, self.store.clone());
        let read = tokio::task::spawn_blocking(move || store.genesis(found.0));
        let expected = read.await.map_err(|_| FollowError::Stopping)??.into();
        if expected == found { Ok(()) } else { Err(EndpointError::OtherGenesis { expected, found }.into()) }
    }

    fn watched(&self) -> [alloy_primitives::Address; 4] {
        [self.contracts.channels, self.contracts.providers, self.contracts.court, self.contracts.token].map(evm)
    }

    async fn events(&self, header: &Header) -> Result<Vec<EventRow>, FollowError> {
        let logs = self.endpoint.logs_of(header, &self.watched()).await?;
        let rows = logs.into_iter().filter_map(|log| EventRow::of(log, header.timestamp()));
        Ok(rows.filter(|row| row.event(&self.contracts, self.wallet).is_some()).collect())
    }

    async fn read_range(&mut self, from: u64, to: u64) -> Result<(), FollowError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let logs = match self.endpoint.logs_in(from, to, &self.watched()).await {
            Err(EndpointError::Refused { .. } | EndpointError::RateLimited(_)) if from < to => {
                self.range_blocks = (self.range_blocks / 2).max(1);
                return Ok(());
            }
            logs => logs?,
        };
        self.range_blocks = self.range_blocks.saturating_mul(2).min(RANGE_BLOCKS_MAX);
        let missing = || EndpointError::Wrong { method: METHOD.into(), reason: format!("block {to} is missing") };
        let end = self.endpoint.header(to).await?.ok_or_else(missing)?;
        let rows = logs.into_iter().filter_map(|log| EventRow::of(log, 0));
        let events: Vec<_> = rows.filter(|row| row.event(&self.contracts, self.wallet).is_some()).collect();
        let mut core = self.core.clone();
        let block = core.jump(seen(&end));
        self.write(move |store, batch| {
            for row in store.scan::<BlockRow>(Table::Blocks, []) {
                store.delete(batch, Table::Blocks, &row?.0);
            }
            for row in store.scan::<EventRow>(Table::Events, []) {
                store.delete(batch, Table::Events, &row?.0);
            }
            put_block(store, batch, &block);
            let mut seq = store.number(NOTICE_ROW)?.unwrap_or_default();
            for event in events {
                tell(store, batch, &mut seq, true, event);
            }
            store.put_number(batch, NOTICE_ROW, seq);
            Ok(())
        })
        .await?;
        self.core = core;
        Ok(())
    }

    async fn write<F>(&self, stage: F) -> Result<(), FollowError>
    where
        F: FnOnce(&Store, &mut WriteBatch) -> Result<(), StoreError> + Send + 'static,
    {
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut batch = WriteBatch::default();
            stage(&store, &mut batch)?;
            store.write(batch)
        });
        Ok(written.await.map_err(|_| FollowError::Stopping)??)
    }
}

fn seen(header: &Header) -> Seen {
    Seen { number: header.number(), hash: header.hash, parent: header.parent_hash }
}

fn event_key(number: u64, log_index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&log_index.to_be_bytes());
    key
}

fn put_block(store: &Store, batch: &mut WriteBatch, block: &BlockRef) {
    let row = BlockRow { hash: block.hash.to_vec(), parent: block.parent.to_vec(), confirmed: block.confirmed };
    store.put(batch, Table::Blocks, &block.number.to_be_bytes(), &row);
}

fn tell(store: &Store, batch: &mut WriteBatch, seq: &mut u64, happened: bool, event: EventRow) {
    *seq += 1;
    store.put(batch, Table::Notices, &seq.to_be_bytes(), &NoticeRow { happened, event: Some(event) });
}

/// Events of one block, in order.
fn events_of(store: &Store, number: u64) -> impl Iterator<Item = Result<(Box<[u8]>, EventRow), StoreError>> {
    let rows = store.scan::<EventRow>(Table::Events, event_key(number, 0));
    rows.take_while(move |row| row.as_ref().map_or(true, |(key, _)| key.starts_with(&number.to_be_bytes())))
}

fn stage_appended(store: &Store, batch: &mut WriteBatch, effect: &Effect, events: Vec<EventRow>) -> Result<(), StoreError> {
    let Effect::Appended { block, confirmed, forgotten } = effect else { return Ok(()) };
    let mut seq = store.number(NOTICE_ROW)?.unwrap_or_default();
    let new = block.number;
    for number in confirmed.iter().filter(|number| **number != new) {
        let row: Option<BlockRow> = store.record(Table::Blocks, &number.to_be_bytes())?;
        let Some(row) = row else { continue };
        store.put(batch, Table::Blocks, &number.to_be_bytes(), &BlockRow { confirmed: true, ..row });
        for event in events_of(store, *number) {
            tell(store, batch, &mut seq, true, event?.1);
        }
    }
    let at_once = confirmed.contains(&new);
    put_block(store, batch, &BlockRef { confirmed: at_once, ..*block });
    for event in events {
        store.put(batch, Table::Events, &event_key(new, event.log_index), &event);
        if at_once {
            tell(store, batch, &mut seq, true, event);
        }
    }
    if let Some(number) = forgotten {
        store.delete(batch, Table::Blocks, &number.to_be_bytes());
        for event in events_of(store, *number) {
            store.delete(batch, Table::Events, &event?.0);
        }
    }
    store.put_number(batch, NOTICE_ROW, seq);
    Ok(())
}

fn stage_rolled_back(store: &Store, batch: &mut WriteBatch, effect: &Effect) -> Result<(), StoreError> {
    let Effect::RolledBack(block) = effect else { return Ok(()) };
    let mut seq = store.number(NOTICE_ROW)?.unwrap_or_default();
    store.delete(batch, Table::Blocks, &block.number.to_be_bytes());
    for event in events_of(store, block.number) {
        let (key, event) = event?;
        store.delete(batch, Table::Events, &key);
        if block.confirmed {
            tell(store, batch, &mut seq, false, event);
        }
    }
    store.put_number(batch, NOTICE_ROW, seq);
    Ok(())
}
