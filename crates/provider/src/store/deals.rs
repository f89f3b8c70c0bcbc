//! Deals: who may store how much until when. Kept in memory here and on every disk's index.
//!
//! A deal's id is a hash of provider, client and nonce, so the same nonce names the same deal even after its record was lost.
//! Never: a deal used by another client than its own. Limits: [`DealLimits`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use cairn_types::{DealId, NodeId, ShardRoot, UnixMs};
use sha2::{Digest, Sha256};

use super::disk::guard;
use super::error::StoreError;
use super::index::{DealRow, Usage};
use super::status::DealStatus;

/// How long a deal runs from when it was last opened.
pub const DEAL_VALID_MS: u64 = 365 * 24 * 3600 * 1000;

/// How many deals there may be.
#[derive(Debug, Clone, Copy)]
pub struct DealLimits {
    /// Of one client.
    pub per_client: usize,
    /// Of all clients.
    pub total: usize,
}

impl Default for DealLimits {
    fn default() -> Self {
        DealLimits { per_client: 16, total: 10_000 }
    }
}

/// What a client is told of its deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// Its id.
    pub id: DealId,
    /// Bytes granted.
    pub space_len: u64,
    /// From when on it takes no more shards.
    pub valid_until: UnixMs,
}

/// Id of the deal that `client` opens at `provider` with `nonce`.
pub fn deal_id(provider: NodeId, client: NodeId, nonce: &[u8; 16]) -> DealId {
    let hash = Sha256::new()
        .chain_update(b"cairn/deal/1\0")
        .chain_update(provider.as_bytes())
        .chain_update(client.as_bytes())
        .chain_update(nonce);
    DealId(hash.finalize().into())
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    row: DealRow,
    used: Usage,
    reserved_len: u64,
}

/// Who wants to know what a deal holds.
pub(crate) trait Watch: Send + Sync {
    /// A shard that was not there is durable; its writer is told after this returns. Called by the committers' threads.
    fn stored(&self, deal: DealId, root: ShardRoot, len: u64, stored_at: UnixMs);
}

/// All deals.
#[derive(Default)]
pub(crate) struct DealBook {
    deals: Mutex<HashMap<DealId, Entry>>,
    /// Set before the first shard arrives, or never.
    pub watch: OnceLock<Arc<dyn Watch>>,
}

/// What [`DealBook::admit`] decided on a deal that is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admission {
    /// An unused deal that makes room for the new one.
    pub evict: Option<DealId>,
}

impl DealBook {
    /// Adds or replaces a deal's record. `used` counts only when the deal was not there.
    pub fn put(&self, deal: DealId, row: DealRow, used: Usage) {
        guard(&self.deals).entry(deal).and_modify(|entry| entry.row = row).or_insert(Entry { row, used, reserved_len: 0 });
    }

    pub fn remove(&self, deal: &DealId) {
        guard(&self.deals).remove(deal);
    }

    /// The record of a deal, for its own client only.
    pub fn get(&self, deal: &DealId, client: NodeId) -> Result<DealRow, StoreError> {
        let deals = guard(&self.deals);
        let entry = deals.get(deal).filter(|entry| entry.row.client == client);
        entry.map(|entry| entry.row).ok_or(StoreError::UnknownDeal(*deal))
    }

    /// Bytes a deal has used or set aside.
    pub fn taken_len(&self, deal: &DealId) -> u64 {
        guard(&self.deals).get(deal).map_or(0, |entry| entry.used.len + entry.reserved_len)
    }

    /// Whether one more deal of `client` fits the limits.
    pub fn admit(&self, client: NodeId, limits: DealLimits) -> Result<Admission, StoreError> {
        let deals = guard(&self.deals);
        if deals.values().filter(|entry| entry.row.client == client).count() >= limits.per_client {
            return Err(StoreError::TooManyDeals(limits.per_client));
        }
        if deals.len() < limits.total {
            return Ok(Admission { evict: None });
        }
        let idle = deals.iter().filter(|(_, entry)| entry.used.shards == 0 && entry.reserved_len == 0);
        let oldest = idle.min_by_key(|(_, entry)| entry.row.valid_until).map(|(deal, _)| *deal);
        oldest.map(|deal| Admission { evict: Some(deal) }).ok_or(StoreError::TooManyDeals(limits.total))
    }

    /// Sets `need_len` bytes of a deal aside for a writer of this epoch.
    pub fn reserve(
        &self,
        deal: &DealId,
        (client, writer_epoch): (NodeId, u64),
        need_len: u64,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let mut deals = guard(&self.deals);
        let entry = deals.get_mut(deal).filter(|entry| entry.row.client == client).ok_or(StoreError::UnknownDeal(*deal))?;
        entry.row.check_writer(writer_epoch)?;
        if entry.row.valid_until <= now {
            return Err(StoreError::DealEnded(*deal));
        }
        let free_len = entry.row.space_len.saturating_sub(entry.used.len + entry.reserved_len);
        if need_len > free_len {
            return Err(StoreError::DealFull { deal: *deal, free_len, need_len });
        }
        entry.reserved_len += need_len;
        Ok(())
    }

    /// Gives up what [`DealBook::reserve`] set aside.
    pub fn release(&self, deal: &DealId, len: u64) {
        if let Some(entry) = guard(&self.deals).get_mut(deal) {
            entry.reserved_len = entry.reserved_len.saturating_sub(len);
        }
    }

    /// Replaces what one disk counted for a deal by what it counts now.
    pub fn recount(&self, deal: &DealId, before: Usage, after: Usage) {
        if let Some(entry) = guard(&self.deals).get_mut(deal) {
            entry.used.shards = (entry.used.shards + after.shards).saturating_sub(before.shards);
            entry.used.len = (entry.used.len + after.len).saturating_sub(before.len);
        }
    }

    pub fn status(&self) -> Vec<DealStatus> {
        let mut deals: Vec<DealStatus> = guard(&self.deals)
            .iter()
            .map(|(id, entry)| DealStatus {
                id: *id,
                client: entry.row.client,
                space_len: entry.row.space_len,
                used_len: entry.used.len,
                shards: entry.used.shards,
                valid_until: entry.row.valid_until,
            })
            .collect();
        deals.sort_unstable_by_key(|deal| deal.id);
        deals
    }
}
