//! Account: what one paid deal holds, has cost, and has paid. A pure state; its shell keeps it.
//!
//! Storage is metered from the later of receipt and agreement to the release, reads by the bytes handed to streams.
//! Never: a clock. Limits: those of an inventory and a meter.

use cairn_audit::{Entry, Inventory};
use cairn_market::channel::Payee;
use cairn_market::meter::{Meter, MeterError};
use cairn_market::settlement::ChannelState;
use cairn_market::voucher::SignedVoucher;
use cairn_proto::Agreement;
use cairn_types::limits::COMMITMENT_LIFE_SECS_MAX;
use cairn_types::{Amount, UnixMs, UnixSecs};

use super::AccountError;
use crate::ledger::{AccountRow, AgreementRow, ChannelRow};
use crate::store::Held;

/// What one deal holds, has cost, and has paid.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub agreement: Agreement,
    pub signed: AgreementRow,
    pub channel: ChannelRow,
    pub payee: Payee,
    pub inventory: Inventory,
    /// Shards that lie here, and those that came and went.
    pub meter: Meter,
    /// Those that came and went.
    pub gone: Meter,
    pub covered_at: UnixMs,
    pub committed_at: UnixMs,
    pub issued_at: UnixSecs,
    pub committed: Amount,
    /// Commitments on an earlier channel bind until then, and a release on this one is no defence against them.
    pub bound_until: UnixSecs,
    /// Reads counted in the row that was kept last.
    pub read_len_kept: u64,
    /// Number of the next removal or commitment.
    pub next_number: u64,
}

impl Account {
    /// The account as its rows say, over the shards that are here.
    ///
    /// # Errors
    /// [`AccountError::BadRequest`] for more than can be counted.
    pub fn resumed(
        agreement: Agreement,
        signed: AgreementRow,
        channel: ChannelRow,
        row: AccountRow,
        held: &[Held],
    ) -> Result<Account, AccountError> {
        let accepted = channel.voucher.map_or(Amount::ZERO, |(cumulative, _)| cumulative);
        let fresh =
            Payee::new(agreement.channel, channel.signer, channel.deposit, agreement.terms.egress, accepted, agreement.carried);
        let uncountable = |_| AccountError::BadRequest("more than can be counted");
        let payee = fresh.resumed(row.storage, row.storage_paid, row.read_len).map_err(uncountable)?;
        let entries = held.iter().filter_map(|held| Entry::new(held.root, held.len));
        let inventory =
            Inventory::from_entries(entries).map_err(|_| AccountError::BadRequest("shards that no inventory takes"))?;
        let mut account = Account {
            payee,
            inventory,
            meter: row.gone,
            gone: row.gone,
            covered_at: row.covered_at.max(agreement.start),
            committed_at: row.committed_at,
            issued_at: row.issued_at,
            committed: row.committed,
            bound_until: row.bound_until,
            read_len_kept: row.read_len,
            next_number: 0,
            agreement,
            signed,
            channel,
        };
        account.payee.closing(channel.state != ChannelState::Open);
        for held in held {
            let leaves = cairn_types::merkle::leaf_count(held.len);
            account.meter.add(leaves, account.start_of(held.stored_at)).map_err(uncounted)?;
        }
        Ok(account)
    }

    /// What the ledger keeps of it, with the payments as `payee` has them.
    pub fn row(&self, payee: &Payee) -> AccountRow {
        AccountRow {
            storage: payee.owed().storage,
            storage_paid: payee.storage_paid(),
            read_len: payee.read_len(),
            gone: self.gone,
            covered_at: self.covered_at,
            committed_at: self.committed_at,
            issued_at: self.issued_at,
            committed: self.committed,
            bound_until: self.bound_until,
        }
    }

    /// From when on a shard is metered.
    pub fn start_of(&self, stored_at: UnixMs) -> UnixMs {
        stored_at.max(self.agreement.start)
    }

    /// A shard became durable. Stored again it is the same shard, as old as it was.
    pub fn stored(&mut self, held: Held) -> Result<(), AccountError> {
        let entry = Entry::new(held.root, held.len).ok_or(AccountError::BadRequest("an empty shard"))?;
        let start = self.start_of(held.stored_at);
        let new = self.inventory.insert(entry).map_err(|_| AccountError::BadRequest("a shard that no inventory takes"))?;
        if new { self.meter.add(entry.leaf_count(), start).map_err(uncounted) } else { Ok(()) }
    }

    /// Lets a shard go that was here; `false` when it was not. It is paid for at least until it came.
    pub fn released(&mut self, held: Held, released_at: UnixMs) -> Result<bool, AccountError> {
        let Some(entry) = self.inventory.get(&held.root) else { return Ok(false) };
        let (start, leaves) = (self.start_of(held.stored_at), entry.leaf_count());
        let end = released_at.max(start);
        let mut gone = self.gone;
        gone.add(leaves, start).and_then(|()| gone.remove(leaves, start, end)).map_err(uncounted)?;
        self.meter.remove(leaves, start, end).map_err(uncounted)?;
        self.gone = gone;
        self.inventory.remove(&held.root);
        Ok(true)
    }

    /// The moment nearest to `at` for which it can be told what is owed: the meter does not go back before its last change.
    pub fn moment(&self, at: UnixMs) -> UnixMs {
        at.max(self.meter.latest()).max(self.agreement.start)
    }

    /// Leaf-milliseconds up to a moment, and what storage costs up to then.
    pub fn storage_at(&self, at: UnixMs) -> Result<(u128, Amount), AccountError> {
        let leaf_ms = self.meter.at(self.moment(at)).map_err(uncounted)?;
        let uncountable = |_| AccountError::BadRequest("more than can be counted");
        Ok((leaf_ms, self.agreement.terms.storage.cost(leaf_ms).map_err(uncountable)?))
    }

    /// Owed in all up to a moment.
    pub fn owed_at(&self, at: UnixMs) -> Result<Amount, AccountError> {
        let (_, storage) = self.storage_at(at)?;
        let owed = cairn_market::channel::Owed { storage, ..self.payee.owed() };
        owed.total().ok_or(AccountError::BadRequest("more than can be counted"))
    }

    /// The account as the client is told of it.
    pub fn told(&self, at: UnixMs) -> Result<cairn_proto::Account, AccountError> {
        let at = self.moment(at);
        let (leaf_ms, _) = self.storage_at(at)?;
        Ok(cairn_proto::Account { at, leaf_ms, egress_len: self.payee.read_len(), voucher: self.voucher() })
    }

    /// The best voucher.
    pub fn voucher(&self) -> Option<SignedVoucher> {
        self.channel.signed(self.agreement.channel)
    }

    /// From when on no shard is taken, as long as something is unpaid: two epochs after all was paid, because payments come once an
    /// epoch at a moment of the client's choice, and the grace. Time before `opened_at` was the provider's own.
    pub fn due_at(&self, opened_at: UnixMs) -> UnixMs {
        let terms = &self.agreement.terms;
        let epochs = terms.epoch_ms.saturating_mul(2).saturating_add(terms.grace_ms);
        self.covered_at.max(opened_at).plus_ms(epochs)
    }

    /// Whether payment is overdue; where nothing is unpaid, the time begins anew.
    pub fn is_overdue(&mut self, now: UnixMs, opened_at: UnixMs) -> Result<bool, AccountError> {
        if self.owed_at(now)? <= self.payee.accepted() {
            self.covered_at = self.covered_at.max(now);
            return Ok(false);
        }
        Ok(now >= self.due_at(opened_at))
    }

    /// Credits a durable voucher.
    pub fn credit(&mut self, cumulative: Amount, now: UnixMs) {
        self.payee.credit(cumulative);
        if self.payee.accepted() >= self.committed {
            self.covered_at = self.covered_at.max(self.committed_at.min(now));
        }
    }

    /// Until when its commitments bind it.
    pub fn committed_until(&self) -> UnixSecs {
        if self.issued_at == UnixSecs(0) {
            return self.bound_until;
        }
        self.issued_at.plus_secs(COMMITMENT_LIFE_SECS_MAX).max(self.bound_until)
    }
}

fn uncounted(_: MeterError) -> AccountError {
    AccountError::BadRequest("more than a meter can count")
}
