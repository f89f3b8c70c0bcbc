//! Resync: compares the mirror with what the provider lists, shard by shard, and settles every difference.
//!
//! | listed | in the mirror | in the ledger besides | what it is |
//! |---|---|---|---|
//! | no | yes | a release without an answer | deleted then |
//! | no | yes | – | gone |
//! | yes | no | sent to its end, no receipt | an orphan: its time counts, and it is deleted |
//! | yes | no | – | adopted after a restart or a restored ledger if its label is ours; else it is none of ours and its time is not paid |
//!
//! Never: deletes a shard that a catalog may know; only orphans are, and no manifest names them. The rest is the collector's.
//! Limits: [`LISTED_MAX`] shards more than the mirror has.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cairn_audit::Entry;
use cairn_coding::Label;
use cairn_proto::DELETE_ROOTS_MAX;
use cairn_proto::shard::{List, ListEntry, request, response};
use cairn_types::limits::{LIST_PAGE_MAX, SHARD_LEN_MAX};
use cairn_types::{DealId, NodeId, ShardRoot, UnixMs};

use super::account::{Account, Change, Inside};
use super::stored::{SKEW_MS, is_plausible, plausible};
use super::{Pay, PayError, release};
use crate::Inner;
use crate::error::PeerError;
use crate::ledger::Held;

/// Shards that a provider may list beyond those in the mirror.
const LISTED_MAX: u64 = 1_000_000;
/// A Store that was sent to its end without a receipt can turn up for so long.
const SENT_KEPT_MS: u64 = 24 * 3600 * 1000;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Shards that should be there and are not.
    pub gone: Vec<Entry>,
    /// Shards whose receipt was lost; they were deleted.
    pub orphans: Vec<ShardRoot>,
    /// Shards taken over.
    pub adopted: u64,
    /// Shards that the provider lists and that are none of ours.
    pub unknown: u64,
}

/// A shard as its provider lists it.
#[derive(Clone, Copy)]
pub(super) struct Listed {
    pub len: u64,
    stored_at: UnixMs,
    ours: bool,
}

/// What lies at a provider when terms begin is metered from then on.
pub(super) async fn take_stock(inner: &Arc<Inner>, pay: &Pay, account: &Arc<Account>) -> Result<(), PayError> {
    let _alone = account.gate.write().await;
    account.with(|inside| inside.standing.adopt_from = Some(UnixMs(0)));
    resync(inner, pay, account).await?;
    Ok(())
}

/// Compares. The caller has the gate alone.
pub(crate) async fn resync(inner: &Arc<Inner>, pay: &Pay, account: &Account) -> Result<Found, PayError> {
    let most = account.with(|inside| inside.book.inventory.totals().entries);
    let listed = list(inner, account.node, account.deal, most).await?;
    let now = pay.now();
    let sent: BTreeMap<ShardRoot, (u64, UnixMs)> =
        pay.ledger.sent(account.deal)?.into_iter().map(|(root, len, at)| (root, (len, at))).collect();
    let released = pay.ledger.released(account.deal)?;
    let mut starts = BTreeMap::new();
    let missing: Vec<Entry> = account.with(|inside| {
        inside
            .book
            .inventory
            .iter()
            .filter(|entry| listed.get(&entry.root()).is_none_or(|at| at.len != entry.byte_len()))
            .collect()
    });
    for entry in &missing {
        if let Some(held) = pay.ledger.shard(account.deal, entry.root())? {
            starts.insert(entry.root(), held.start);
        }
    }
    let found = account.change(|inside, change| {
        let mut found = Found::default();
        let (deal, since) = (account.deal, inside.standing.audited);
        for (root, at) in &released {
            if let (Some(start), false) = (starts.remove(root), listed.contains_key(root)) {
                inside.book.removed(*root, start, *at)?;
                change.batch.delete_shard(deal, *root);
            }
            change.batch.delete_released(deal, *root);
        }
        for entry in missing.iter().filter(|entry| starts.contains_key(&entry.root())) {
            let start = starts[&entry.root()];
            inside.book.removed(entry.root(), start, since.max(start))?; // proven until then
            change.batch.delete_shard(deal, entry.root());
            found.gone.push(*entry);
        }
        take_in(inside, change, &listed, &sent, now, &mut found)?;
        for (root, (_, at)) in &sent {
            if listed.contains_key(root) || now.since_ms(*at) > SENT_KEPT_MS {
                change.batch.delete_sent(deal, *root);
            }
        }
        inside.standing.adopt_from = None;
        Ok(found)
    })?;
    for part in found.orphans.chunks(DELETE_ROOTS_MAX) {
        release::ask(inner, pay, account, part.to_vec()).await?;
    }
    Ok(found)
}

/// Shards that are listed and not in the mirror: they come in as far as they are ours.
fn take_in(
    inside: &mut Inside,
    change: &mut Change,
    listed: &BTreeMap<ShardRoot, Listed>,
    sent: &BTreeMap<ShardRoot, (u64, UnixMs)>,
    now: UnixMs,
    found: &mut Found,
) -> Result<(), PayError> {
    let (deal, adopt_from) = (inside.book.agreement.deal, inside.standing.adopt_from);
    let is_adopted = |at: &Listed| at.ours && adopt_from.is_some_and(|from| at.stored_at.plus_ms(SKEW_MS) >= from);
    for (root, at) in listed {
        if inside.book.inventory.contains(root) {
            continue;
        }
        if at.len > SHARD_LEN_MAX || at.len == 0 || !is_plausible(at.stored_at, now) {
            found.unknown += 1;
            continue;
        }
        let start = match sent.get(root) {
            Some((len, sent)) if *len == at.len => {
                found.orphans.push(*root);
                plausible(at.stored_at, *sent)
            }
            _ if is_adopted(at) => {
                found.adopted += 1;
                at.stored_at
            }
            _ => {
                found.unknown += 1;
                continue;
            }
        };
        if let Some(start) = inside.book.stored(*root, at.len, start)? {
            change.batch.put_shard(deal, *root, Held { len: at.len, start });
        }
    }
    Ok(())
}

/// All that a provider lists under a deal, [`LISTED_MAX`] shards more than are known at most.
pub(super) async fn list(
    inner: &Arc<Inner>,
    node: NodeId,
    deal: DealId,
    known: u64,
) -> Result<BTreeMap<ShardRoot, Listed>, PayError> {
    let most = known.saturating_add(LISTED_MAX);
    let (mut listed, mut after) = (BTreeMap::new(), Bytes::new());
    loop {
        let deal_id = Bytes::copy_from_slice(deal.as_bytes());
        let list = List { deal_id, after: after.clone(), max: LIST_PAGE_MAX as u32 };
        let response::Kind::Listing(page) = super::call(inner, node, request::Kind::List(list)).await? else {
            return Err(PeerError::Unexpected.into());
        };
        for entry in &page.entries {
            let root = ShardRoot::from_slice(&entry.root).ok_or(PeerError::Unexpected)?;
            listed.insert(root, seen(inner, entry));
        }
        if listed.len() as u64 > most {
            return Err(PeerError::Unexpected.into());
        }
        match page.entries.last() {
            Some(last) if page.more && last.root > after => after = last.root.clone(),
            Some(_) if page.more => return Err(PeerError::Unexpected.into()), // a page that does not advance
            _ => return Ok(listed),
        }
    }
}

fn seen(inner: &Inner, entry: &ListEntry) -> Listed {
    let ours = Label::open(&entry.label, &inner.keys).is_ok();
    Listed { len: entry.len, stored_at: UnixMs(entry.stored_at_ms), ours }
}
