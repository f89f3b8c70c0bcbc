//! Find: what lies at providers under this account's deals, from the phrase alone: the names of deals are derived, labels are ours to open.
//!
//! Never: a label that is not this account's believed; what a label says of a shard is true only if the shard's bytes open as that.
//! Limits: a page of [`LIST_PAGE_MAX`] shards at a time.

use std::sync::Arc;

use bytes::Bytes;
use cairn_coding::{Label, ShardPlace};
use cairn_proto::shard::{List, ListEntry, request, response};
use cairn_types::limits::LIST_PAGE_MAX;
use cairn_types::{DealId, NodeId, SegmentId, ShardRoot, UnixMs};

use crate::error::PeerError;
use crate::{Client, Inner};

/// The shards of one deal, page by page, ascending by root.
pub(crate) struct Shards {
    node: NodeId,
    deal: DealId,
    after: Bytes,
    more: bool,
}

impl Shards {
    pub async fn of(inner: &Arc<Inner>, node: NodeId) -> Result<Shards, PeerError> {
        let deal = inner.peers.deal(node).await?;
        Ok(Shards { node, deal, after: Bytes::new(), more: true })
    }

    pub fn deal(&self) -> DealId {
        self.deal
    }

    /// The next page; `None` behind the last.
    pub async fn next(&mut self, inner: &Arc<Inner>) -> Result<Option<Vec<ListEntry>>, PeerError> {
        if !self.more {
            return Ok(None);
        }
        let deal_id = Bytes::copy_from_slice(self.deal.as_bytes());
        let list = List { deal_id, after: self.after.clone(), max: LIST_PAGE_MAX as u32 };
        let response::Kind::Listing(listing) = inner.peers.call(self.node, request::Kind::List(list)).await? else {
            return Err(PeerError::Unexpected);
        };
        match listing.entries.last() {
            Some(last) if listing.more && last.root > self.after => self.after = last.root.clone(),
            Some(_) if listing.more => return Err(PeerError::Unexpected), // a page that does not advance would loop for ever
            _ => self.more = false,
        }
        Ok(Some(listing.entries))
    }
}

/// A shard of this account, and what was written beside it.
#[derive(Debug, Clone)]
pub struct FoundShard {
    /// Its name and who has it.
    pub place: ShardPlace,
    /// Its segment's tag.
    pub segment: SegmentId,
    /// When the provider stored it, by the provider's word.
    pub stored_at: UnixMs,
    /// What its label says.
    pub label: Label,
}

impl Client {
    /// Providers that this client has heard of.
    pub fn known_providers(&self) -> Vec<NodeId> {
        self.0.peers.known()
    }

    /// All shards of this account at a provider whose labels open.
    ///
    /// # Errors
    /// [`PeerError`]: it does not answer, or not as it should.
    pub async fn find(&self, node: NodeId) -> Result<Vec<FoundShard>, PeerError> {
        let mut shards = Shards::of(&self.0, node).await?;
        let deal = shards.deal();
        let mut found = Vec::new();
        while let Some(entries) = shards.next(&self.0).await? {
            for entry in entries {
                let root = ShardRoot::from_slice(&entry.root).ok_or(PeerError::Unexpected)?;
                let segment = SegmentId::from_slice(&entry.segment_id).ok_or(PeerError::Unexpected)?;
                match Label::open(&entry.label, &self.0.keys) {
                    Ok(label) => found.push(FoundShard {
                        place: ShardPlace { root, provider: node, deal },
                        segment,
                        stored_at: UnixMs(entry.stored_at_ms),
                        label,
                    }),
                    Err(error) => tracing::debug!(provider = %node, shard = %root, %error, "a label that says nothing"),
                }
            }
        }
        Ok(found)
    }
}
