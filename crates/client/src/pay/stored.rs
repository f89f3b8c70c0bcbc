//! Stored: keeps the mirror of a provider's inventory in step with what is sent and receipted.
//!
//! Never: a shard that may be durable at the provider and that the ledger has not heard of.

use std::sync::Arc;

use cairn_types::{ShardRoot, UnixMs};
use tokio::sync::OwnedRwLockReadGuard;

use super::account::Account;
use super::{Pay, PayError};
use crate::ledger::{Batch, Held};

/// Clocks may differ by so much.
pub(crate) const SKEW_MS: u64 = 120_000;

/// The end of one Store: from before it is sent until its receipt is in the ledger. No Commit comes in between.
pub(crate) struct Ending {
    account: Arc<Account>,
    root: ShardRoot,
    len: u64,
    sent: UnixMs,
    _shared: OwnedRwLockReadGuard<()>,
}

impl Account {
    /// Before StoreEnd is sent.
    pub async fn ending(self: &Arc<Self>, pay: &Pay, root: ShardRoot, len: u64) -> Result<Ending, PayError> {
        let shared = self.gate.clone().read_owned().await;
        let sent = pay.now();
        let mut batch = Batch::default();
        batch.put_sent(self.deal, root, len, sent);
        pay.ledger.write(batch)?;
        Ok(Ending { account: self.clone(), root, len, sent, _shared: shared })
    }
}

impl Ending {
    /// The provider's receipt says that the shard is durable since `stored_at`.
    pub fn receipted(self, pay: &Pay, stored_at: UnixMs) -> Result<(), PayError> {
        let start = plausible(stored_at, self.sent);
        let now = pay.now();
        let first = jitter(pay, now);
        self.account.change(|inside, change| {
            let epoch_ms = inside.book.terms().epoch_ms;
            if let Some(start) = inside.book.stored(self.root, self.len, start)? {
                change.batch.put_shard(self.account.deal, self.root, Held { len: self.len, start });
            }
            change.batch.delete_sent(self.account.deal, self.root);
            inside.standing.next_audit.get_or_insert_with(|| now.plus_ms(first % first_within(pay, epoch_ms)));
            Ok(())
        })
    }
}

fn first_within(pay: &Pay, epoch_ms: u64) -> u64 {
    let most = u64::try_from(pay.config.first_audit.as_millis()).unwrap_or(u64::MAX);
    epoch_ms.min(most).max(1)
}

/// A number that a provider cannot foretell.
fn jitter(pay: &Pay, now: UnixMs) -> u64 {
    let word = pay.node.sign("cairn/first-audit/1", &now.0.to_be_bytes());
    u64::from_be_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]])
}

/// A provider's word on when it stored what was sent at `sent`: not much earlier.
pub(super) fn plausible(stored_at: UnixMs, sent: UnixMs) -> UnixMs {
    stored_at.max(UnixMs(sent.0.saturating_sub(SKEW_MS)))
}

/// Whether a receipt's moment can be: not far in the future.
pub(crate) fn is_plausible(stored_at: UnixMs, now: UnixMs) -> bool {
    stored_at.since_ms(now) <= SKEW_MS
}
