//! Pay, and what is done for pay: a voucher is durable before it is credited; reads are counted before they are sent.
//!
//! Never: more than a window of reads unpaid, or a read beyond the deposit. Limits: a read waits for a voucher up to the stall time.

use std::sync::Arc;
use std::time::Duration;

use cairn_market::channel::{Payee, Refusal, WINDOW_LEN};
use cairn_market::journal::{Account as Place, Entry};
use cairn_market::voucher::SignedVoucher;
use cairn_proto::shard;
use cairn_types::{Amount, ChannelId, DealId, NodeId, ShardRoot, UnixMs};
use tokio::time::Instant;

use super::account::Account;
use super::{AccountError, Accounts, Slot, cut, finish, guard};
use crate::ledger::Change;
use crate::store::StoreError;

/// Reads after which the count is written down again.
const KEEP_LEN: u64 = WINDOW_LEN / 4;

impl Accounts {
    /// Takes a voucher of `client`.
    pub(crate) async fn pay(&self, client: NodeId, deal: DealId, wire: shard::Pay) -> Result<cairn_proto::Account, AccountError> {
        let slot = self.open_slot(client, deal)?;
        let accounts = self.clone();
        finish(async move {
            let _one_at_a_time = slot.paying.lock().await;
            let signed = accounts.check_voucher(&slot, &wire).await?;
            accounts.take_voucher(&slot, signed).await?;
            cut::told(&slot, accounts.0.clock.now())
        })
        .await
    }

    async fn check_voucher(&self, slot: &Slot, wire: &shard::Pay) -> Result<SignedVoucher, AccountError> {
        match self.check_once(slot, wire) {
            Err(AccountError::WrongVoucher(Refusal::OverDeposit { .. })) => {
                self.look(slot).await?;
                self.check_once(slot, wire)
            }
            checked => checked,
        }
    }

    /// The signature is checked on a copy, so that nobody waits for the account meanwhile.
    fn check_once(&self, slot: &Slot, wire: &shard::Pay) -> Result<SignedVoucher, AccountError> {
        let (channel, payee) = slot
            .with(|account| (account.agreement.channel, account.payee))
            .ok_or(AccountError::AgreementDue("nothing was agreed on this deal"))?;
        let signed = cairn_proto::account::voucher(wire, channel)
            .map_err(|_| AccountError::BadRequest("a voucher has 16 bytes of amount and 65 of signature"))?;
        payee.check(&signed, &self.0.contracts.channels_domain())?;
        Payee::check_mandate(&signed, self.0.clock.now().secs())?;
        Ok(signed)
    }

    /// Makes a checked voucher durable, then credits it and wakes the reads that wait.
    async fn take_voucher(&self, slot: &Arc<Slot>, signed: SignedVoucher) -> Result<(), AccountError> {
        let (channel, cumulative) = (signed.voucher.channel, signed.voucher.cumulative);
        let (now, place) = (self.0.clock.now(), self.0.ledger.place().await?);
        let pending = {
            let mut account = guard(&slot.account);
            let Some(account) = account.as_mut().filter(|account| account.agreement.channel == channel) else {
                return Err(AccountError::AgreementDue("the deal has another channel now"));
            };
            let before = account.channel.voucher.map_or(Amount::ZERO, |(cumulative, _)| cumulative);
            (account.channel.voucher, account.channel.mandate) = (Some((cumulative, signed.signature)), signed.mandate);
            let mut credited = account.payee;
            credited.credit(cumulative);
            account.read_len_kept = credited.read_len();
            let entry = promised(now, channel, cumulative.minus_or_zero(before));
            // One entry an epoch, not one for each voucher.
            let entry = entry.map(|entry| entry.growing(account.agreement.terms.epoch_ms));
            let mut change = Change { entry, ..Change::default() };
            change.put_channel(&channel, &account.channel);
            change.put_account(&slot.deal, &account.row(&credited));
            self.0.ledger.hand_over(place, change)
        };
        pending.durable().await?;
        slot.with(|account| account.credit(cumulative, now));
        slot.paid.send_modify(|payments| *payments += 1);
        Ok(())
    }

    /// Whether a new shard of `client` may come under a deal.
    pub(crate) async fn check_store(&self, client: NodeId, deal: DealId) -> Result<(), AccountError> {
        let slot = self.open_slot(client, deal)?;
        self.0.ledger.check()?;
        let now = self.0.clock.now();
        if slot.with(|account| account.owed_at(now)).transpose()? >= slot.with(|account| account.payee.deposit()) {
            self.look(&slot).await?;
        }
        let check = |account: &mut Account| {
            if account.payee.is_closing() {
                return Err(AccountError::AgreementDue("the channel is closing: agree on another"));
            }
            let (owed, accepted) = (account.owed_at(now)?, account.payee.accepted());
            if account.is_overdue(now, self.0.opened_at)? || owed >= account.payee.deposit() {
                return Err(AccountError::PaymentDue { owed, accepted });
            }
            Ok(())
        };
        slot.with(check).unwrap_or(Err(AccountError::AgreementDue("nothing was agreed on this deal")))
    }

    /// Whether a shard that arrived may be kept: not while an earlier one of its name is being removed.
    pub(crate) fn check_root(&self, deal: DealId, root: &ShardRoot) -> Result<(), AccountError> {
        let is_removing = self.slot(&deal).is_some_and(|slot| guard(&slot.removing).contains(root));
        if is_removing {
            return Err(StoreError::ReadOnly(format!("shard {root} is being removed")).into());
        }
        Ok(())
    }

    /// Counts a read of `len` bytes of a paid deal before they are sent, and waits up to `stall` for a voucher where one is due.
    pub(crate) async fn read(&self, slot: &Slot, len: u64, stall: Duration) -> Result<(), AccountError> {
        let (deadline, mut looked) = (Instant::now() + stall, false);
        let mut paid = slot.paid.subscribe();
        loop {
            paid.borrow_and_update();
            match self.serve(slot, len) {
                Err(AccountError::WrongVoucher(Refusal::OverDeposit { .. })) if !looked => {
                    looked = true;
                    self.look(slot).await?;
                }
                Err(AccountError::WrongVoucher(Refusal::Unpaid { .. } | Refusal::OverDeposit { .. })) => {
                    // Its sender lives in the slot, so only the time can end the wait early.
                    if !matches!(tokio::time::timeout_at(deadline, paid.changed()).await, Ok(Ok(()))) {
                        return Err(slot
                            .with(|account| due(account))
                            .unwrap_or(AccountError::AgreementDue("nothing was agreed")));
                    }
                    looked = false;
                }
                Err(AccountError::WrongVoucher(Refusal::Closing)) => {
                    return Err(AccountError::AgreementDue("the channel is closing: agree on another"));
                }
                served => return served,
            }
        }
    }

    fn serve(&self, slot: &Slot, len: u64) -> Result<(), AccountError> {
        let mut account = guard(&slot.account);
        let Some(account) = account.as_mut() else { return Ok(()) };
        account.payee.serve(len)?;
        let read_len = account.payee.read_len();
        if read_len - account.read_len_kept.min(read_len) >= KEEP_LEN
            && let Some(place) = self.0.ledger.place_now()
        {
            account.read_len_kept = read_len;
            let mut change = Change { lazy: true, ..Change::default() };
            change.put_account(&slot.deal, &account.row(&account.payee));
            drop(self.0.ledger.hand_over(place, change));
        }
        Ok(())
    }
}

fn due(account: &Account) -> AccountError {
    AccountError::PaymentDue { owed: account.payee.owed().total().unwrap_or(Amount::MAX), accepted: account.payee.accepted() }
}

fn promised(at: UnixMs, channel: ChannelId, amount: Amount) -> Option<Entry> {
    Entry::transfer(at, "voucher", Place::Outside, Place::Receivable(channel), amount).ok()
}
