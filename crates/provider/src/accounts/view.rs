//! What the node and its CLI are shown of the accounts.
//!
//! Never: a key. Limits: one pass over the accounts; a page of the journal is as long as the caller says.

use cairn_audit::Totals;
use cairn_market::Terms;
use cairn_market::journal::{Account as Place, Entry, Opening};
use cairn_market::settlement::ChannelState;
use cairn_types::{Amount, ChannelId, DealId, NodeId, UnixMs};

use super::account::Account;
use super::{AccountError, Accounts, LedgerError};
use crate::ledger::ChannelRow;

/// Where the credits of one deal, or of all, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Metered, and no voucher over it yet.
    pub potential: Amount,
    /// Promised by vouchers, not redeemed yet.
    pub accrued: Amount,
    /// Redeemed to the wallet.
    pub redeemed: Amount,
}

/// One paid deal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DealAccount {
    /// The deal.
    pub deal: DealId,
    /// Whose it is.
    pub client: NodeId,
    /// Out of which channel it is paid.
    pub channel: ChannelId,
    /// That channel's state, as last seen.
    pub state: ChannelState,
    /// That channel's deposit, as last seen.
    pub deposit: Amount,
    /// The terms.
    pub terms: Terms,
    /// From when on they hold.
    pub start: UnixMs,
    /// What is stored.
    pub totals: Totals,
    /// Leaf-milliseconds up to now.
    pub leaf_ms: u128,
    /// Bytes read.
    pub egress_len: u64,
    /// Owed in all on the channel up to now.
    pub owed: Amount,
    /// Moment of the last commitment.
    pub committed_at: UnixMs,
    /// Whether new shards are refused until something is paid.
    pub overdue: bool,
    /// Where the credits of the present channel are.
    pub sums: Sums,
}

impl Accounts {
    /// All paid deals, by id.
    ///
    /// # Errors
    /// [`AccountError`] when something is more than can be counted.
    pub fn list(&self) -> Result<Vec<DealAccount>, AccountError> {
        let (now, opened_at) = (self.0.clock.now(), self.0.opened_at);
        let slots = self.open_slots();
        let shown = slots.iter().filter_map(|slot| slot.with(|account| show(slot.deal, account, now, opened_at)));
        let mut deals = shown.collect::<Result<Vec<_>, _>>()?;
        deals.sort_unstable_by_key(|deal| deal.deal);
        Ok(deals)
    }

    /// All channels together, earlier ones too. Blocking.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn sums(&self) -> Result<Sums, AccountError> {
        let uncountable = || AccountError::BadRequest("more than can be counted");
        let deals = self.list()?;
        let potential = Amount::sum(deals.iter().map(|deal| deal.sums.potential)).ok_or_else(uncountable)?;
        let rows = self.0.ledger.rows::<ChannelRow>(&[], &[], usize::MAX)?;
        let receivable = |id: &[u8]| ChannelId::from_slice(id).map_or(Amount::ZERO, |id| self.receivable(id));
        let accrued = Amount::sum(rows.iter().map(|(id, _)| receivable(id))).ok_or_else(uncountable)?;
        Ok(Sums { potential, accrued, redeemed: self.0.ledger.turnover(Place::Wallet).debits })
    }

    /// Up to `max` entries of the journal from number `from` on, ascending. Blocking.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn journal(&self, from: u64, max: usize) -> Result<Vec<(u64, Entry)>, LedgerError> {
        self.0.ledger.journal(from, max)
    }

    /// What the entries came to that are not kept any more.
    pub fn journal_opening(&self) -> Opening {
        self.0.ledger.opening()
    }

    /// Whether the journal's accounts hold what came in less what went out.
    pub fn is_conserved(&self) -> bool {
        self.0.ledger.is_conserved()
    }

    /// Promised on a channel and not redeemed, by the journal.
    pub(crate) fn receivable(&self, channel: ChannelId) -> Amount {
        let turnover = self.0.ledger.turnover(Place::Receivable(channel));
        turnover.debits.minus_or_zero(turnover.credits)
    }
}

fn show(deal: DealId, account: &mut Account, now: UnixMs, opened_at: UnixMs) -> Result<DealAccount, AccountError> {
    let (leaf_ms, _) = account.storage_at(now)?;
    let (owed, accepted) = (account.owed_at(now)?, account.payee.accepted());
    let settled = account.channel.settled;
    Ok(DealAccount {
        deal,
        client: account.agreement.client,
        channel: account.agreement.channel,
        state: account.channel.state,
        deposit: account.payee.deposit(),
        terms: account.agreement.terms.clone(),
        start: account.agreement.start,
        totals: account.inventory.totals(),
        leaf_ms,
        egress_len: account.payee.read_len(),
        owed,
        committed_at: account.committed_at,
        overdue: account.is_overdue(now, opened_at)?,
        sums: Sums { potential: owed.minus_or_zero(accepted), accrued: accepted.minus_or_zero(settled), redeemed: settled },
    })
}
