//! What a node may ask of a paying client: deals, audits, money; audit now, close a channel.
//!
//! Never: a secret in what is shown.

use cairn_market::estimate::{self, Estimate};
use cairn_market::journal::{Account as Place, Opening};
use cairn_market::price::MONTH_MS;
use cairn_market::{EgressPrice, StoragePrice};
use cairn_types::{Amount, NodeId, Redundancy, UnixMs};

use super::view::{self, AuditFilter, AuditView, DealView, JournalEntry, LedgerStatus, MonthSpending, OfferView};
use super::{Pay, PayError, channel, guard};
use crate::Client;
use crate::auditor::Pace;
use crate::ledger::LedgerError;

const AUDITS_SHOWN_MAX: usize = 1000;
const ENTRIES_SHOWN_MAX: usize = 10_000;

impl Client {
    pub(crate) fn pay(&self) -> Option<&Pay> {
        self.0.pay.as_ref()
    }

    /// Whether this client pays.
    pub fn is_paying(&self) -> bool {
        self.0.pay.is_some()
    }

    /// All paid deals, by provider.
    pub fn deals(&self) -> Vec<DealView> {
        let Some(pay) = self.pay() else { return Vec::new() };
        pay.accounts().iter().map(|account| view::deal(pay, account)).collect()
    }

    /// Audits, oldest first. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn audits(&self, filter: &AuditFilter) -> Result<Vec<AuditView>, LedgerError> {
        let Some(pay) = self.pay() else { return Ok(Vec::new()) };
        let max = if filter.max == 0 { AUDITS_SHOWN_MAX } else { filter.max.min(AUDITS_SHOWN_MAX) };
        let mut found = std::collections::VecDeque::new();
        let mut damaged = None;
        pay.ledger.audits(filter.since, |record| {
            match AuditView::of(&record) {
                Ok(audit) if filter.provider.is_some_and(|provider| provider != audit.provider) => {}
                Ok(audit) if filter.failed && audit.grade == "passed" => {}
                Ok(audit) => {
                    if found.len() == max {
                        found.pop_front();
                    }
                    found.push_back(audit);
                }
                Err(error) => damaged = Some(error),
            }
            damaged.is_none()
        })?;
        damaged.map_or(Ok(found.into()), Err)
    }

    /// Audits `provider` now and pays it when it passes.
    ///
    /// # Errors
    /// [`PayError`] when there is nothing to audit or the audit could not be made; an audit that did not pass is no error.
    pub async fn audit_now(&self, provider: NodeId) -> Result<AuditView, PayError> {
        let pay = self.pay().ok_or(PayError::NotPaid(provider))?;
        let account = pay.account(provider).ok_or(PayError::NotPaid(provider))?;
        let record = crate::auditor::audit(&self.0, &account, Pace::AtOnce).await?;
        Ok(AuditView::of(&record)?)
    }

    /// Entries of the journal from number `from` on, at most `max`. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn journal(&self, from: u64, max: usize) -> Result<Vec<JournalEntry>, LedgerError> {
        let Some(pay) = self.pay() else { return Ok(Vec::new()) };
        let entries = pay.ledger.entries(from, max.min(ENTRIES_SHOWN_MAX))?;
        Ok(entries.iter().map(|(number, entry)| JournalEntry::of(*number, entry)).collect())
    }

    /// What the entries came to that are not kept any more; nothing when it does not pay.
    pub fn journal_opening(&self) -> Opening {
        self.pay().map(|pay| pay.ledger.opening()).unwrap_or_default()
    }

    /// The client's money at a glance; `None` when it does not pay.
    pub fn money(&self) -> Option<LedgerStatus> {
        let pay = self.pay()?;
        let sum = |of: fn(Place) -> bool| {
            let accounts = pay.ledger.turnovers().into_iter().filter(|(place, _)| of(*place));
            Amount::sum(accounts.map(|(_, turnover)| turnover.debits.minus_or_zero(turnover.credits))).unwrap_or(Amount::MAX)
        };
        let now = pay.now();
        let (month_deposited, month_left) = {
            let spending = guard(&pay.spending);
            (spending.budget.spent(now), spending.budget.left(now))
        };
        Some(LedgerStatus {
            potential: Amount::sum(self.deals().iter().map(|deal| deal.potential)).unwrap_or(Amount::MAX),
            promised: sum(|place| matches!(place, Place::Promised(_))),
            redeemed: sum(|place| matches!(place, Place::Spent)),
            deposited: sum(|place| matches!(place, Place::Deposit(_))),
            month_deposited,
            month_left,
            conserved: pay.ledger.is_conserved().unwrap_or(false),
        })
    }

    /// What was promised in each month of 30 days, oldest first. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn spending(&self) -> Result<Vec<MonthSpending>, LedgerError> {
        let Some(pay) = self.pay() else { return Ok(Vec::new()) };
        let month = |(month, promised): (u64, Amount)| MonthSpending { start: UnixMs(month.saturating_mul(MONTH_MS)), promised };
        Ok(pay.ledger.promised_by_month()?.into_iter().map(month).collect())
    }

    /// The offers seen since the start.
    pub fn offers(&self) -> Vec<OfferView> {
        let Some(pay) = self.pay() else { return Vec::new() };
        let known = guard(&pay.known);
        let mut offers: Vec<OfferView> = known
            .values()
            .filter_map(|known| {
                let offer = known.offer.as_ref()?;
                Some(OfferView {
                    provider: offer.terms.node,
                    storage_price: offer.terms.storage.amount(),
                    egress_price: offer.terms.egress.amount(),
                    collateral_per_gib: offer.terms.collateral_per_gib,
                    free_len: offer.free_len,
                    region: offer.terms.region.clone(),
                    refused: known.refused.as_ref().map(|(_, why)| why.clone()),
                })
            })
            .collect();
        offers.sort_unstable_by_key(|offer| offer.provider);
        offers
    }

    /// What `len` bytes would cost for a month at the cheapest known offers, free providers included; `None` when fewer are known
    /// than a segment has shards.
    pub fn estimate(&self, len: u64) -> Option<Estimate> {
        let redundancy: Redundancy = self.tier()?.redundancy;
        let mut prices: Vec<StoragePrice> = self.prices().into_iter().map(|(storage, _)| storage).collect();
        prices.sort_unstable();
        estimate::month(len, redundancy, prices.get(..redundancy.total())?).ok()
    }

    /// What reading `len` bytes would cost at the middle one of the known offers.
    pub fn estimate_read(&self, len: u64) -> Option<Amount> {
        let mut prices: Vec<EgressPrice> = self.prices().into_iter().map(|(_, egress)| egress).collect();
        prices.sort_unstable();
        estimate::read(len, *prices.get(prices.len().checked_sub(1)? / 2)?).ok()
    }

    /// Prices of the providers whose terms are known; free ones ask nothing.
    fn prices(&self) -> Vec<(StoragePrice, EgressPrice)> {
        let Some(pay) = self.pay() else { return Vec::new() };
        let known = guard(&pay.known);
        let mut nodes: Vec<NodeId> = known.keys().copied().collect();
        nodes.extend(guard(&pay.accounts).keys());
        nodes.sort_unstable();
        nodes.dedup();
        let price = |node: NodeId| {
            let known = known.get(&node);
            if let Some(offer) = known.filter(|known| known.refused.is_none()).and_then(|known| known.offer.as_ref()) {
                return Some((offer.terms.storage, offer.terms.egress));
            }
            if known.is_some_and(|known| known.free_since.is_some()) {
                return Some(Default::default());
            }
            let account = guard(&pay.accounts).get(&node).cloned()?;
            Some(account.with(|inside| (inside.book.terms().storage, inside.book.terms().egress)))
        };
        nodes.into_iter().filter_map(price).collect()
    }

    /// Agrees with `provider` ahead of its first use; `false` when it is free.
    ///
    /// # Errors
    /// [`PayError`].
    pub async fn agree(&self, provider: NodeId) -> Result<bool, PayError> {
        let pay = self.pay().ok_or(PayError::NotPaid(provider))?;
        let deal = self.0.peers.deal(provider).await?;
        Ok(pay.ready(&self.0, provider, deal).await?.is_some())
    }

    /// Asks `provider` for its present terms and goes on under them, when the old ones are paid up. A client need not: agreed terms stay.
    ///
    /// # Errors
    /// [`PayError`].
    pub async fn renew(&self, provider: NodeId) -> Result<(), PayError> {
        let pay = self.pay().ok_or(PayError::NotPaid(provider))?;
        let account = pay.account(provider).ok_or(PayError::NotPaid(provider))?;
        account.with(|inside| inside.standing.renew = true);
        pay.ready(&self.0, provider, account.deal).await.map(|_| ())
    }

    /// Pays what is owed after a last audit, then begins to close the channel with `provider`. What is left can be withdrawn after
    /// the channel's grace.
    ///
    /// # Errors
    /// [`PayError`].
    pub async fn close_channel(&self, provider: NodeId) -> Result<(), PayError> {
        let pay = self.pay().ok_or(PayError::NotPaid(provider))?;
        let account = pay.account(provider).ok_or(PayError::NotPaid(provider))?;
        if let Err(error) = crate::auditor::audit(&self.0, &account, Pace::AtOnce).await {
            tracing::warn!(%provider, %error, "no last audit");
        }
        channel::close(pay, &account).await
    }

    /// Takes what is left of a channel back whose grace is over.
    ///
    /// # Errors
    /// [`PayError`].
    pub async fn withdraw(&self, provider: NodeId) -> Result<(), PayError> {
        let pay = self.pay().ok_or(PayError::NotPaid(provider))?;
        let account = pay.account(provider).ok_or(PayError::NotPaid(provider))?;
        channel::withdraw(pay, &account).await
    }

    /// Ends audits under way at their next read; they count as not made. Call before the shutdown.
    pub fn stop_audits(&self) {
        if let Some(pay) = self.pay() {
            pay.stop();
        }
    }

    /// Makes the ledger survive a power cut. Call at shutdown; blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn sync_ledger(&self) -> Result<(), LedgerError> {
        self.pay().map_or(Ok(()), Pay::sync)
    }

    /// Writes a consistent copy of the ledger into `path`, which must not exist. Blocks on the disk.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn copy_ledger(&self, path: &std::path::Path) -> Result<(), LedgerError> {
        let Some(pay) = self.pay() else { return Ok(()) };
        pay.sync()?;
        pay.ledger.copy_to(path)
    }
}
