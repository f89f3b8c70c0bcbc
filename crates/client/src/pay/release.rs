//! Release: deletes shards of a paid deal with the client's signed word that they may go.
//!
//! The wish is in the ledger before it is sent; when no answer comes, the next comparison of inventories says what became of it.
//! Never: a Delete beside a Commit. Limits: [`DELETE_ROOTS_MAX`] roots at once.

use bytes::Bytes;
use cairn_audit::ReleaseTree;
use cairn_proto::DELETE_ROOTS_MAX;
use cairn_proto::shard::{Delete, Release, request, response};
use cairn_types::{ShardRoot, UnixMs};

use super::account::Account;
use super::book::BookError;
use super::{Pay, PayError};
use crate::Inner;
use crate::error::PeerError;
use crate::ledger::Batch;

/// Deletes `roots`, at most [`DELETE_ROOTS_MAX`].
pub(crate) async fn delete(inner: &Inner, pay: &Pay, account: &Account, roots: Vec<ShardRoot>) -> Result<(), PayError> {
    let _shared = account.gate.read().await;
    ask(inner, pay, account, roots).await
}

/// As [`delete`], for a caller that has the gate.
pub(super) async fn ask(inner: &Inner, pay: &Pay, account: &Account, mut roots: Vec<ShardRoot>) -> Result<(), PayError> {
    roots.sort_unstable();
    roots.dedup();
    let Ok(tree) = ReleaseTree::new(roots.iter().take(DELETE_ROOTS_MAX).copied()) else { return Ok(()) };
    let mut batch = Batch::default();
    let mut at = account.with(|inside| pay.now().max(inside.standing.committed));
    let mut starts = Vec::new();
    for root in tree.shards() {
        if let Some(held) = pay.ledger.shard(account.deal, *root)? {
            at = at.max(held.start);
            starts.push((*root, held.start));
        }
    }
    for root in tree.shards() {
        batch.put_released(account.deal, *root, at);
    }
    pay.ledger.write(batch)?;
    let channel = account.with(|inside| inside.channel());
    let signed = tree.release(channel, at.secs()).sign(&pay.contracts.court_domain(), &pay.session);
    let delete = Delete {
        deal_id: Bytes::copy_from_slice(account.deal.as_bytes()),
        roots: tree.shards().iter().map(|root| Bytes::copy_from_slice(root.as_bytes())).collect(),
        release: Some(Release { released_at_ms: at.0, signature: Bytes::copy_from_slice(signed.signature.as_bytes()) }),
        writer_epoch: inner.writer_epoch,
    };
    match super::call(inner, account.node, request::Kind::Delete(delete)).await? {
        response::Kind::Deleted(_) => forget(account, tree.shards(), &starts, at),
        _ => Err(PeerError::Unexpected.into()),
    }
}

/// The provider deleted them: takes them out of mirror, meter and ledger.
fn forget(account: &Account, roots: &[ShardRoot], starts: &[(ShardRoot, UnixMs)], at: UnixMs) -> Result<(), PayError> {
    account.change(|inside, change| {
        for (root, start) in starts {
            inside.book.removed(*root, *start, at).map_err(|error: BookError| error)?;
            change.batch.delete_shard(account.deal, *root);
        }
        for root in roots {
            change.batch.delete_released(account.deal, *root);
            change.batch.delete_sent(account.deal, *root);
        }
        Ok(())
    })
}
