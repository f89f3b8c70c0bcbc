//! Delete under a paid deal: the client's release is kept, the shards' time is counted, then their rows are removed.
//!
//! The removal is written down before the first row goes, so that a crash finishes it; from that moment the shards are not counted.
//! Never: a shard removed that a commitment still names without a release that answers for it.
//! Limits: as many roots as one Delete has; releases are kept for [`EVIDENCE_MS`].

use std::collections::HashSet;
use std::sync::Arc;

use cairn_audit::{ReleaseTree, SignedRelease};
use cairn_proto::shard;
use cairn_types::{DealId, EvmSignature, NodeId, ShardRoot, UnixMs, UnixSecs};
use tracing::{debug, warn};

use super::{AccountError, Accounts, CLOCK_SKEW_MS, EVIDENCE_MS, Slot, finish, guard};
use crate::ledger::{Change, CommitmentRow, Ledger, LedgerError, ReleaseRow, Removed, Row, numbered, numbered_of};
use crate::store::Held;

/// Old releases removed with each new one, so that they go faster than they come.
const PRUNED_MAX: usize = 4;

impl Accounts {
    /// Removes shards of a deal of `client` and returns how many were there. Without an account no release is due.
    pub(crate) async fn delete(
        &self,
        client: NodeId,
        deal: DealId,
        roots: Vec<ShardRoot>,
        release: Option<shard::Release>,
    ) -> Result<u32, AccountError> {
        let (slot, accounts) = (self.slot_for(client, deal)?, self.clone());
        finish(async move {
            let _one_at_a_time = slot.changing.lock().await;
            if slot.with(|_| ()).is_none() {
                return Ok(accounts.0.store.delete(client, deal, &roots).await?);
            }
            if roots.is_empty() {
                return Ok(0);
            }
            let (released_at, signature) = accounts.check_release(&slot, &roots, release)?;
            accounts.remove(&slot, roots, released_at, Some(signature)).await
        })
        .await
    }

    fn check_release(
        &self,
        slot: &Slot,
        roots: &[ShardRoot],
        release: Option<shard::Release>,
    ) -> Result<(UnixMs, EvmSignature), AccountError> {
        let release = release.ok_or(AccountError::WrongRelease("is missing: this deal is paid"))?;
        let signature =
            EvmSignature::from_slice(&release.signature).ok_or(AccountError::WrongRelease("has no signature of 65 bytes"))?;
        if !roots.is_sorted_by(|a, b| a < b) {
            return Err(AccountError::WrongRelease("has roots that are not sorted and distinct"));
        }
        let released_at = UnixMs(release.released_at_ms);
        if released_at.since_ms(self.0.clock.now()) > CLOCK_SKEW_MS {
            return Err(AccountError::WrongRelease("is from the future: set the clock"));
        }
        let tree = ReleaseTree::new(roots.iter().copied()).map_err(|_| AccountError::WrongRelease("names too many shards"))?;
        let due = || AccountError::AgreementDue("nothing was agreed on this deal");
        let (channel, signer, committed_at, issued_at) = slot
            .with(|account| (account.agreement.channel, account.channel.signer, account.committed_at, account.issued_at))
            .ok_or_else(due)?;
        if released_at < committed_at || released_at.secs() < issued_at {
            return Err(AccountError::WrongRelease("is older than the last commitment"));
        }
        let signed = SignedRelease { release: tree.release(channel, released_at.secs()), signature };
        if !signed.is_by_one_of(&self.0.contracts.court_domain(), &[signer]) {
            return Err(AccountError::WrongRelease("is not signed by the channel's signer"));
        }
        Ok((released_at, signature))
    }

    /// Removes shards that were released, or that are not paid for. Called with the deal's turn to change.
    pub(crate) async fn remove(
        &self,
        slot: &Arc<Slot>,
        roots: Vec<ShardRoot>,
        released_at: UnixMs,
        signature: Option<EvmSignature>,
    ) -> Result<u32, AccountError> {
        let (store, deal, wanted) = (self.0.store.clone(), slot.deal, roots.clone());
        let held = self.0.store.blocking(move || store.held(deal, &wanted)).await??;
        let pruned = self.old_releases(deal)?;
        let place = self.0.ledger.place().await?;
        let (number, row, count, pending) = {
            let mut account = guard(&slot.account);
            let account = account.as_mut().ok_or(AccountError::AgreementDue("nothing was agreed on this deal"))?;
            let (removed, count) = account.let_go(&roots, &held, released_at)?;
            if removed.is_empty() {
                return Ok(0);
            }
            let (number, now) = (account.next_number, self.0.clock.now());
            account.next_number += 1;
            let kept_until = now.plus_ms(EVIDENCE_MS);
            let row = ReleaseRow { kept_until, channel: account.agreement.channel, released_at, signature, roots, removed };
            guard(&slot.removing).extend(row.removed.iter().map(|removed| row.roots[usize::from(removed.index)]));
            let mut change = Change::default();
            change.put(&numbered(&deal, number), &row);
            change.begin_removal(&deal, number);
            change.put_account(&deal, &account.row(&account.payee));
            pruned.iter().for_each(|number| change.delete::<ReleaseRow>(&numbered(&deal, *number)));
            (number, row, count, self.0.ledger.hand_over(place, change))
        };
        pending.durable().await?;
        if let Err(error) = self.finish_removal(slot, number, row).await {
            // It is released and counted; the rows go when the disk lets them.
            warn!(%deal, number, %error, "removal will be tried again");
        }
        Ok(count)
    }

    /// Removes the rows of a removal that was written down. Rows dated otherwise are of shards stored again since.
    pub(crate) async fn finish_removal(&self, slot: &Arc<Slot>, number: u64, row: ReleaseRow) -> Result<(), AccountError> {
        let bound_until = slot.with(|account| account.bound_until).unwrap_or(UnixSecs(0));
        if self.0.clock.now().secs() < bound_until {
            // A commitment on an earlier channel still names it: the bytes stay until that is over.
            debug!(deal = %slot.deal, number, "removal waits for the end of earlier commitments");
            return Ok(());
        }
        let root_of = |removed: &Removed| row.roots[usize::from(removed.index)];
        let dated: HashSet<(ShardRoot, UnixMs)> =
            row.removed.iter().map(|removed| (root_of(removed), removed.stored_at)).collect();
        self.0.store.remove_dated(slot.deal, dated).await?;
        let mut change = Change { lazy: true, ..Change::default() };
        change.end_removal(&slot.deal, number);
        self.0.ledger.write(change).await?;
        let mut removing = guard(&slot.removing);
        row.removed.iter().for_each(|removed| {
            removing.remove(&root_of(removed));
        });
        Ok(())
    }

    /// Finishes removals that a crash, a failed disk or an earlier commitment broke off.
    pub(crate) async fn finish_removals(&self) -> Result<(), AccountError> {
        for (deal, number) in self.0.ledger.pending()? {
            let (Some(slot), Some(row)) = (self.slot(&deal), self.0.ledger.row::<ReleaseRow>(&numbered(&deal, number))?) else {
                continue;
            };
            let _one_at_a_time = slot.changing.lock().await;
            if let Err(error) = self.finish_removal(&slot, number, row).await {
                warn!(%deal, number, %error, "removal will be tried again");
            }
        }
        Ok(())
    }

    /// Numbers of releases that need not be kept any longer, a few at a time.
    fn old_releases(&self, deal: DealId) -> Result<Vec<u64>, AccountError> {
        let (now, pending) = (self.0.clock.now(), self.0.ledger.pending()?);
        let rows = self.0.ledger.rows::<ReleaseRow>(deal.as_bytes(), deal.as_bytes(), PRUNED_MAX)?;
        let old = rows.into_iter().filter(|(_, row)| row.kept_until <= now);
        let numbers = old.filter_map(|(key, _)| numbered_of(&key).map(|(_, number)| number));
        Ok(numbers.filter(|number| !pending.contains(&(deal, *number))).collect())
    }
}

impl super::Account {
    /// Lets go of those of `roots` that are held and counted, and says how many that are. A second copy on another disk goes uncounted.
    fn let_go(&mut self, roots: &[ShardRoot], held: &[Held], released_at: UnixMs) -> Result<(Vec<Removed>, u32), AccountError> {
        let (mut removed, mut count, mut last) = (Vec::new(), 0, None);
        for shard in held {
            let Ok(index) = roots.binary_search(&shard.root) else { continue };
            let is_copy = last == Some(shard.root);
            if !is_copy && !self.released(*shard, released_at)? {
                continue;
            }
            count += u32::from(!is_copy);
            last = Some(shard.root);
            removed.push(Removed { index: index as u16, len: shard.len, stored_at: shard.stored_at });
        }
        Ok((removed, count))
    }
}

/// Number of the next removal or commitment of a deal.
pub(super) fn next_number(ledger: &Ledger, deal: &DealId) -> Result<u64, LedgerError> {
    let after = |number: u64| number.saturating_add(1);
    let releases = last_number::<ReleaseRow>(ledger, deal)?.map_or(0, after);
    Ok(last_number::<CommitmentRow>(ledger, deal)?.map_or(0, after).max(releases))
}

fn last_number<R: Row>(ledger: &Ledger, deal: &DealId) -> Result<Option<u64>, LedgerError> {
    Ok(ledger.last_key::<R>(deal.as_bytes())?.and_then(|key| numbered_of(&key)).map(|(_, number)| number))
}
