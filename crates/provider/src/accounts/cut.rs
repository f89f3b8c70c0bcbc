//! Commit: a consistent cut through a deal — inventory, totals and account of one moment — and the signature that stakes collateral on it.
//!
//! Never: a commitment while a shard of the deal is being released, or one that was not written down first.
//! Limits: [`COMMITMENTS_MAX`] kept for each deal; the oldest make room.

use cairn_audit::{Commitment, Totals};
use cairn_proto::Committed;
use cairn_types::{Amount, DealId, NodeId, UnixMs, UnixSecs};

use super::{AccountError, Accounts, CLOCK_SKEW_MS, EVIDENCE_MS, Slot, finish, guard};
use crate::ledger::{Change, CommitmentRow, numbered, numbered_of};

/// Commitments kept for one deal.
pub(crate) const COMMITMENTS_MAX: usize = 4096;
/// Old ones removed with each new one, so that they go faster than they come.
const PRUNED_MAX: usize = 4;
const GIB_LEN: u64 = 1 << 30;

impl Accounts {
    /// Commits to all that is stored under a deal of `client`, with the account as of `at` or of the last change after it.
    pub(crate) async fn commit(&self, client: NodeId, deal: DealId, at: UnixMs) -> Result<Committed, AccountError> {
        self.check_moment(at)?;
        let slot = self.open_slot(client, deal)?;
        let accounts = self.clone();
        finish(async move {
            let _one_at_a_time = slot.changing.lock().await;
            let pruned = accounts.old_commitments(&slot)?;
            let (issued_at, valid_until) = accounts.life().await;
            let place = accounts.0.ledger.place().await?;
            let (committed, pending) = {
                let mut account = guard(&slot.account);
                let account = account.as_mut().ok_or(AccountError::AgreementDue("nothing was agreed on this deal"))?;
                let told = account.told(at)?;
                let (totals, inventory_root) = (account.inventory.totals(), account.inventory.root());
                let at_risk = accounts.at_risk(account.agreement.terms.collateral_per_gib, totals)?;
                let channel = account.agreement.channel;
                let commitment =
                    Commitment { channel, inventory_root, leaf_count: totals.leaves, issued_at, valid_until, at_risk };
                let signed = commitment.sign(&accounts.0.contracts.court_domain(), &accounts.0.paid.signer);
                let (_, storage) = account.storage_at(told.at)?;
                account.payee.stored(storage);
                account.committed_at = account.committed_at.max(told.at);
                account.issued_at = account.issued_at.max(issued_at);
                account.committed = account.committed.max(account.owed_at(told.at)?);
                let number = account.next_number;
                account.next_number += 1;
                let mut change = Change::default();
                let kept_until = accounts.0.clock.now().plus_ms(EVIDENCE_MS);
                change.put(&numbered(&deal, number), &CommitmentRow { kept_until, signed, totals });
                pruned.iter().for_each(|number| change.delete::<CommitmentRow>(&numbered(&deal, *number)));
                change.put_account(&deal, &account.row(&account.payee));
                (Committed { signed, totals, account: told }, accounts.0.ledger.hand_over(place, change))
            };
            pending.durable().await?;
            Ok(committed)
        })
        .await
    }

    /// The life of a commitment made now: from a little before, but not from before our signer was registered. Asks the chain only
    /// while the registration is young.
    async fn life(&self) -> (UnixSecs, UnixSecs) {
        let now = self.0.clock.now().secs();
        let wanted = Commitment::life(now).0;
        let known = *guard(&self.0.binds_since);
        if known.is_none_or(|since| since > wanted) {
            let (owner, signer) = (self.0.terms.owner, self.0.terms.signer);
            for since in [wanted, now] {
                // Where the chain cannot be asked, the client finds out.
                if self.0.paid.settlement.signer_valid(owner, signer, since).await == Ok(true) {
                    let mut known = guard(&self.0.binds_since);
                    *known = Some(known.map_or(since, |known| known.min(since)));
                    break;
                }
            }
        }
        let since = guard(&self.0.binds_since).unwrap_or(wanted);
        Commitment::life_since(now, since)
    }

    /// The account of a deal of `client` as of `at`, or of the last change after it.
    pub(crate) fn account(&self, client: NodeId, deal: DealId, at: UnixMs) -> Result<cairn_proto::Account, AccountError> {
        self.check_moment(at)?;
        told(&*self.open_slot(client, deal)?, at)
    }

    fn check_moment(&self, at: UnixMs) -> Result<(), AccountError> {
        if at.since_ms(self.0.clock.now()) > CLOCK_SKEW_MS {
            return Err(AccountError::BadRequest("at_ms is in the future: set the clock"));
        }
        Ok(())
    }

    /// What the owner stakes on so much, begun GiB counted whole.
    fn at_risk(&self, collateral_per_gib: Amount, totals: Totals) -> Result<Amount, AccountError> {
        collateral_per_gib.times(totals.bytes.div_ceil(GIB_LEN)).ok_or(AccountError::BadRequest("more than can be counted"))
    }

    /// Numbers of commitments that need not be kept any longer, a few at a time.
    fn old_commitments(&self, slot: &Slot) -> Result<Vec<u64>, AccountError> {
        let (now, deal) = (self.0.clock.now(), slot.deal.as_bytes());
        let many = slot.with(|account| account.next_number >= COMMITMENTS_MAX as u64) == Some(true);
        let max = if many { COMMITMENTS_MAX } else { PRUNED_MAX };
        let rows = self.0.ledger.rows::<CommitmentRow>(deal, deal, max)?;
        let too_many = rows.len() == COMMITMENTS_MAX;
        let old = rows.into_iter().take(PRUNED_MAX).filter(|(_, row)| too_many || row.kept_until <= now);
        Ok(old.filter_map(|(key, _)| numbered_of(&key).map(|(_, number)| number)).collect())
    }
}

/// The account of a place as of `at`.
pub(super) fn told(slot: &Slot, at: UnixMs) -> Result<cairn_proto::Account, AccountError> {
    slot.with(|account| account.told(at)).unwrap_or(Err(AccountError::AgreementDue("nothing was agreed on this deal")))
}
