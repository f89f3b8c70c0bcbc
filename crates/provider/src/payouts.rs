//! Payouts: has vouchers redeemed when enough of them is there, daily, or at once when a channel closes or a delegate's mandate ends; but for
//! the last two, only when they bring many times what the chain asks for it.
//!
//! A payout is written down with its command before the chain is asked, and journalled by what the chain says was settled: whatever
//! a crash breaks off is asked for again under the same command. Never: one payout made twice, or an amount journalled twice.
//! Limits: [`ROW_VOUCHERS_MAX`] vouchers a command, one payout at a time.

use std::sync::Arc;

use cairn_market::channel::MANDATE_SECS_MIN;
use cairn_market::journal::{Account as Place, Entry, Line};
use cairn_market::settlement::{ChannelRecord, ChannelState, CommandId, SettlementError};
use cairn_market::voucher::SignedVoucher;
use cairn_types::{Amount, ChannelId, UnixMs};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::accounts::{AccountError, Accounts, Slot};
use crate::ledger::{Change, ChannelRow, LAST_PAYOUT, PayoutRow, ROW_ROOTS_MAX, ROW_VOUCHERS_MAX, guard};

/// A delegate's voucher is redeemed at the latest when its mandate has so many seconds left; half of the least it had when it was taken.
const MANDATE_LEFT_SECS: u64 = MANDATE_SECS_MIN / 2;

/// What a payout pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Payout {
    /// Channels looked at.
    pub channels: usize,
    /// Vouchers handed to the chain.
    pub vouchers: usize,
    /// Credits that arrived.
    pub redeemed: Amount,
}

/// When a voucher is redeemed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedeemFrom {
    /// From so many credits on.
    pub amount: Amount,
    /// What the chain asks for it now.
    pub cost: Amount,
}

impl Accounts {
    /// Looks at the channels in use and redeems what is due, at once and then each poll time or when noticed, until `stopping`. Also
    /// finishes removals, and drops shards that are unpaid for too long.
    pub async fn run(&self, mut stopping: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.finish_removals().await {
                warn!(%error, "removals stay begun");
            }
            if let Err(error) = self.drop_unpaid().await {
                warn!(%error, "unpaid shards stay");
            }
            if let Err(error) = self.defend().await {
                warn!(%error, "disputes will be looked at again");
            }
            if let Err(error) = self.pay_out(false).await {
                warn!(%error, "payouts will be tried again");
            }
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(self.0.paid.poll_every) => {}
            }
        }
    }

    /// Something happened to a channel of ours on the chain: [`Accounts::run`] looks at once.
    pub fn notice(&self) {
        self.0.wake.notify_one();
    }

    /// Redeems every voucher now.
    ///
    /// # Errors
    /// [`AccountError`]; what was begun goes on later.
    pub async fn redeem_now(&self) -> Result<Payout, AccountError> {
        self.pay_out(true).await
    }

    async fn pay_out(&self, all: bool) -> Result<Payout, AccountError> {
        let accounts = self.clone();
        crate::accounts::finish(async move {
            let _one_at_a_time = accounts.0.payouts.lock().await;
            let mut payout = Payout::default();
            for (key, row) in accounts.0.ledger.rows::<PayoutRow>(&[], &[], usize::MAX)? {
                let number = key.try_into().map(u64::from_be_bytes).unwrap_or_default();
                accounts.redeem(number, row.vouchers, &mut payout).await?;
            }
            let due = accounts.due(all, &mut payout).await?;
            let (mandated, own): (Vec<_>, Vec<_>) = due.into_iter().partition(|signed| signed.mandate.is_some());
            // Under a mandate a voucher is redeemed by a call of its own.
            for vouchers in own.chunks(ROW_VOUCHERS_MAX).chain(mandated.chunks(1)) {
                let number = accounts.begin(vouchers).await?;
                accounts.redeem(number, vouchers.to_vec(), &mut payout).await?;
            }
            Ok(payout)
        })
        .await
    }

    /// Writes a payout down, under a number that no other ever has.
    async fn begin(&self, vouchers: &[SignedVoucher]) -> Result<u64, AccountError> {
        let number = self.0.ledger.next_payout()?;
        let mut change = Change::default();
        change.put(&number.to_be_bytes(), &PayoutRow { vouchers: vouchers.to_vec() });
        change.put_next_payout(number + 1);
        change.put(LAST_PAYOUT, &self.0.clock.now());
        self.0.ledger.write(change).await?;
        Ok(number)
    }

    /// From which amount on a voucher alone is redeemed, and what that costs.
    ///
    /// # Errors
    /// [`AccountError::Chain`].
    pub async fn redeem_from(&self) -> Result<RedeemFrom, AccountError> {
        let cost = self.redeem_cost(1).await?;
        let worth = cost.times(self.0.paid.redeem_times).unwrap_or(Amount::MAX);
        Ok(RedeemFrom { amount: self.0.paid.redeem_at.max(worth), cost })
    }

    async fn redeem_cost(&self, vouchers: usize) -> Result<Amount, AccountError> {
        self.0.paid.settlement.redeem_cost(vouchers).await.map_err(|error| AccountError::Chain(error.to_string()))
    }

    /// Of vouchers with what each would bring, those that are worth their part of the cost, if together they are worth the whole.
    async fn worth_it(&self, mut vouchers: Vec<(SignedVoucher, Amount)>) -> Result<Vec<SignedVoucher>, AccountError> {
        if vouchers.is_empty() {
            return Ok(Vec::new());
        }
        let times = |cost: Amount| cost.times(self.0.paid.redeem_times).unwrap_or(Amount::MAX);
        let (one, two) = (self.redeem_cost(1).await?, self.redeem_cost(2).await?);
        vouchers.retain(|(_, open)| *open >= times(two.minus_or_zero(one)));
        let together = Amount::sum(vouchers.iter().map(|(_, open)| *open)).unwrap_or(Amount::MAX);
        let cost = self.redeem_cost(vouchers.len().min(ROW_VOUCHERS_MAX)).await?;
        Ok(if together >= times(cost) { vouchers.into_iter().map(|(voucher, _)| voucher).collect() } else { Vec::new() })
    }

    /// Vouchers that are to be redeemed, after a look at every channel that is not over.
    async fn due(&self, all: bool, payout: &mut Payout) -> Result<Vec<SignedVoucher>, AccountError> {
        let now = self.0.clock.now();
        let last = self.0.ledger.row::<UnixMs>(LAST_PAYOUT)?.unwrap_or(self.0.opened_at);
        let daily = now.since_ms(last) >= self.0.paid.redeem_every.as_millis() as u64;
        let (mut at_once, mut if_worth) = (Vec::new(), Vec::new());
        for (key, row) in self.0.ledger.rows::<ChannelRow>(&[], &[], usize::MAX)? {
            let Some(id) = ChannelId::from_slice(&key).filter(|_| row.state != ChannelState::Closed) else { continue };
            payout.channels += 1;
            let Some(record) = self.channel(id).await? else { continue };
            let row = self.settle(id, row, record, payout).await?;
            let Some(signed) = row.signed(id) else { continue };
            let open = signed.voucher.cumulative.minus_or_zero(row.settled);
            let closing = matches!(row.state, ChannelState::Closing { .. });
            if open.is_zero() || row.state == ChannelState::Closed {
                continue;
            }
            let ends = signed.mandate.is_some_and(|signed| signed.mandate.valid_until <= now.secs().plus_secs(MANDATE_LEFT_SECS));
            if all || closing || ends {
                at_once.push(signed);
            } else if daily || open >= self.0.paid.redeem_at {
                if_worth.push((signed, open));
            }
        }
        at_once.extend(self.worth_it(if_worth).await?);
        Ok(at_once)
    }

    /// Has vouchers redeemed under the command of a number, and journals what came of it.
    async fn redeem(&self, number: u64, vouchers: Vec<SignedVoucher>, payout: &mut Payout) -> Result<(), AccountError> {
        let command = CommandId::of(&[b"cairn/redeem/1", self.0.key.id().as_bytes(), &number.to_be_bytes()]);
        match self.0.paid.settlement.redeem(command, &vouchers).await {
            Ok(()) => payout.vouchers += vouchers.len(),
            Err(SettlementError::Refused(reason)) => warn!(number, reason, "the chain refuses a payout"),
            Err(error) => return Err(AccountError::Chain(error.to_string())),
        }
        for signed in &vouchers {
            let id = signed.voucher.channel;
            let row = self.0.ledger.row::<ChannelRow>(id.as_bytes())?;
            if let (Some(row), Some(record)) = (row, self.channel(id).await?) {
                self.settle(id, row, record, payout).await?;
            }
        }
        let mut change = Change::default();
        change.delete::<PayoutRow>(&number.to_be_bytes());
        Ok(self.0.ledger.write(change).await?)
    }

    /// Journals what the chain has settled since, and keeps the channel as the chain has it.
    async fn settle(
        &self,
        id: ChannelId,
        row: ChannelRow,
        record: ChannelRecord,
        payout: &mut Payout,
    ) -> Result<ChannelRow, AccountError> {
        let Some(slot) = self.slot(&row.deal) else { return Ok(row) };
        let _one_at_a_time = slot.changing.lock().await;
        let _no_voucher = slot.paying.lock().await;
        let place = self.0.ledger.place().await?;
        let (after, pending) = {
            let mut account = guard(&slot.account);
            let mut current = account.as_mut().filter(|account| account.agreement.channel == id);
            let before = match &current {
                Some(account) => account.channel,
                None => self.0.ledger.row::<ChannelRow>(id.as_bytes())?.unwrap_or(row),
            };
            let settled = record.settled.max(before.settled);
            let deposit = record.deposit.max(before.deposit);
            let after = ChannelRow { settled, deposit, state: record.state, ..before };
            if after == before {
                return Ok(before);
            }
            if let Some(account) = &mut current {
                account.channel = after;
                account.payee.deposited(deposit);
                account.payee.closing(record.state != ChannelState::Open);
            }
            let arrived = settled.minus_or_zero(before.settled);
            payout.redeemed = payout.redeemed.plus(arrived).unwrap_or(Amount::MAX);
            let entry = self.settled_entry(id, arrived, after.state == ChannelState::Closed);
            let mut change = Change { entry, ..Change::default() };
            change.put_channel(&id, &after);
            (after, self.0.ledger.hand_over(place, change))
        };
        pending.durable().await?;
        slot.paid.send_modify(|changes| *changes += 1);
        info!(channel = %id, settled = %after.settled, state = ?after.state, "channel changed");
        Ok(after)
    }

    /// What arrived was receivable; what more than that arrived we had lost sight of. What a closed channel did not pay is lost.
    fn settled_entry(&self, id: ChannelId, arrived: Amount, closed: bool) -> Option<Entry> {
        let receivable = self.receivable(id);
        let known = arrived.min(receivable);
        let lost = if closed { receivable.minus_or_zero(known) } else { Amount::ZERO };
        let lines = [
            Line::Debit(Place::Wallet, arrived),
            Line::Credit(Place::Receivable(id), known),
            Line::Credit(Place::Outside, arrived.minus_or_zero(known)),
            Line::Debit(Place::Outside, lost),
            Line::Credit(Place::Receivable(id), lost),
        ];
        let moves = |line: &Line| !matches!(line, Line::Debit(_, Amount::ZERO) | Line::Credit(_, Amount::ZERO));
        Entry::new(self.0.clock.now(), "redeemed", lines.into_iter().filter(moves).collect()).ok()
    }

    /// Drops the shards of deals whose payment is overdue for too long, when no commitment names them any more.
    async fn drop_unpaid(&self) -> Result<(), AccountError> {
        let Some(drop_after) = self.0.paid.drop_after else { return Ok(()) };
        for slot in self.open_slots() {
            let _one_at_a_time = slot.changing.lock().await;
            while let Some(roots) = self.unpaid(&slot, drop_after.as_millis() as u64)? {
                info!(deal = %slot.deal, shards = roots.len(), "dropping shards that are unpaid for too long");
                if self.remove(&slot, roots, self.0.clock.now(), None).await? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Some shards that may be dropped.
    fn unpaid(&self, slot: &Arc<Slot>, drop_after_ms: u64) -> Result<Option<Vec<cairn_types::ShardRoot>>, AccountError> {
        let (now, opened_at) = (self.0.clock.now(), self.0.opened_at);
        let unpaid = |account: &mut crate::accounts::Account| {
            let is_late = account.is_overdue(now, opened_at)? && now >= account.due_at(opened_at).plus_ms(drop_after_ms);
            let is_free = now.secs() >= account.committed_until();
            let roots: Vec<_> = account.inventory.iter().take(ROW_ROOTS_MAX).map(|entry| entry.root()).collect();
            Ok((is_late && is_free && !roots.is_empty()).then_some(roots))
        };
        slot.with(unpaid).unwrap_or(Ok(None))
    }
}

#[cfg(test)]
impl Accounts {
    /// Begins a payout of all and stops before the chain is asked.
    pub(crate) async fn due_now(&self) -> usize {
        let due = self.due(true, &mut Payout::default()).await.expect("a good chain");
        let number = self.begin(&due).await.expect("a good ledger");
        assert_eq!(self.0.ledger.next_payout(), Ok(number + 1));
        due.len()
    }

    /// Goes on with what was begun.
    pub(crate) async fn redeem_begun(&self) -> Result<(), AccountError> {
        for (key, row) in self.0.ledger.rows::<PayoutRow>(&[], &[], usize::MAX)? {
            let number = key.try_into().map(u64::from_be_bytes).expect("eight bytes");
            self.redeem(number, row.vouchers, &mut Payout::default()).await?;
        }
        Ok(())
    }

    pub(crate) async fn drop_now(&self) {
        self.drop_unpaid().await.expect("a good ledger");
    }
}
