//! Book: what one provider is owed by our own count, and what of it was promised. Pure; the shell persists and sends.
//!
//! Never: a clock, a promise above our own count but for the reads that are under way.
//! Limits: [`PREPAY_LEN_MAX`] bytes ahead of what was received, [`BROKEN_LEN_MAX`] for each read that broke off.

use cairn_audit::{Entry, Inventory, InventoryError, Totals};
use cairn_market::channel::{Payer, PayerEffect, PromiseError, WINDOW_LEN};
use cairn_market::meter::MeterError;
use cairn_market::price::CostError;
use cairn_market::voucher::{SignedMandate, SignedVoucher};
use cairn_market::{Meter, Terms};
use cairn_proto::Agreement;
use cairn_types::{Amount, Domain, InventoryRoot, ShardRoot, UnixMs, WalletKey};

/// Bytes of reads at which a voucher is sent; a quarter of what a provider allows.
pub(crate) const PAY_LEN: u64 = WINDOW_LEN / 4;
/// Bytes of reads under way that are paid before they came. A provider that takes them for a payment of storage still serves a window, so
/// this and [`PAY_LEN`] and a chunk under way together are no more than a window.
pub(crate) const PREPAY_LEN_MAX: u64 = WINDOW_LEN / 2;
const _: () = assert!(PREPAY_LEN_MAX + 2 * PAY_LEN <= WINDOW_LEN);
/// Bytes that a provider may have sent of a read that broke off.
pub(crate) const BROKEN_LEN_MAX: u64 = 1 << 20;
/// The account that a restored ledger takes over may be so many epochs ahead of what our own signature proves.
pub(crate) const RESTORED_EPOCHS_MAX: u64 = 2;

/// What a book cannot count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The meter refuses.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// A cost beyond what an amount can hold.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// The inventory refuses.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// Nothing is promised.
    #[error(transparent)]
    Promise(#[from] PromiseError),
    /// A sum beyond what an amount can hold.
    #[error("what is owed is more than an amount can hold")]
    Overflow,
    /// A shard without a byte.
    #[error("shard {0} is empty")]
    Empty(ShardRoot),
    /// The provider counts more body bytes than it can have sent.
    #[error("the provider counts {asked} bytes of reads, by our own count it is {own} and at most {allowed} more broke off")]
    OverchargedReads {
        /// What the provider says.
        asked: u64,
        /// What we count.
        own: u64,
        /// What may have broken off.
        allowed: u64,
    },
}

/// How a provider's word compares with ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The same inventory, and no more time than we count.
    Same,
    /// Another inventory.
    OtherInventory { theirs: InventoryRoot },
    /// More time than we count.
    Overcharged { asked: u128, own: u128 },
}

/// How a provider's word compares with what a delegate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Briefed {
    /// As much, or more; the leaf-milliseconds that are paid.
    Enough { leaf_ms: u128 },
    /// So many bytes less.
    Less { bytes: u64 },
}

/// What one provider is owed.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    pub agreement: Agreement,
    pub payer: Payer,
    pub voucher: Option<SignedVoucher>,
    /// What vouchers are signed under, where we are a delegate.
    pub mandate: Option<SignedMandate>,
    pub storage: Amount,
    pub received_len: u64,
    pub lost_len: u64,
    pub broken: u32,
    /// A read broke off since the provider's count was last asked for. Not kept over a restart.
    pub ask: bool,
    /// Asked for in reads that are under way, and not received. Not kept over a restart.
    pub outstanding_len: u64,
    pub meter: Meter,
    pub adopted: u128,
    pub inventory: Inventory,
}

impl Book {
    /// An empty book of new terms. What is stored is added by [`Book::stored`].
    pub fn new(agreement: Agreement, deposit: Amount) -> Book {
        let payer = Payer::new(agreement.channel, deposit, agreement.carried);
        Book {
            payer,
            agreement,
            voucher: None,
            mandate: None,
            storage: Amount::ZERO,
            received_len: 0,
            lost_len: 0,
            broken: 0,
            ask: false,
            outstanding_len: 0,
            meter: Meter::new(),
            adopted: 0,
            inventory: Inventory::new(),
        }
    }

    pub fn terms(&self) -> &Terms {
        &self.agreement.terms
    }

    /// A shard lies there since `start`; the start that counts, or nothing when it lay there before.
    pub fn stored(&mut self, root: ShardRoot, len: u64, start: UnixMs) -> Result<Option<UnixMs>, BookError> {
        let entry = Entry::new(root, len).ok_or(BookError::Empty(root))?;
        let start = start.max(self.agreement.start);
        let mut meter = self.meter;
        meter.add(entry.leaf_count(), start)?;
        if !self.inventory.insert(entry)? {
            return Ok(None);
        }
        self.meter = meter;
        Ok(Some(start))
    }

    /// A shard that lay there since `start` went at `end`.
    pub fn removed(&mut self, root: ShardRoot, start: UnixMs, end: UnixMs) -> Result<(), BookError> {
        let Some(entry) = self.inventory.get(&root) else { return Ok(()) };
        self.meter.remove(entry.leaf_count(), start, end.max(start))?;
        self.inventory.remove(&root);
        Ok(())
    }

    /// Leaf-milliseconds up to `at`.
    pub fn leaf_ms(&self, at: UnixMs) -> Result<u128, BookError> {
        self.meter.at(at)?.checked_add(self.adopted).ok_or(BookError::Overflow)
    }

    /// Body bytes that count: received, and lost on the way.
    pub fn egress_len(&self) -> u64 {
        self.received_len.saturating_add(self.lost_len)
    }

    /// What `leaf_ms` and `egress_len` come to, earlier terms included.
    pub fn owed_for(&self, leaf_ms: u128, egress_len: u64) -> Result<Amount, BookError> {
        let storage = self.terms().storage.cost(leaf_ms)?;
        let egress = self.terms().egress.cost(egress_len)?;
        Amount::sum([self.agreement.carried, storage, egress]).ok_or(BookError::Overflow)
    }

    /// All that is owed at `at`.
    pub fn owed(&self, at: UnixMs) -> Result<Amount, BookError> {
        self.owed_for(self.leaf_ms(at)?, self.egress_len())
    }

    /// A read of `len` bytes is under way.
    pub fn asked(&mut self, len: u64) {
        self.outstanding_len = self.outstanding_len.saturating_add(len);
    }

    /// `len` bytes of a read came.
    pub fn received(&mut self, len: u64) {
        self.outstanding_len = self.outstanding_len.saturating_sub(len);
        self.received_len = self.received_len.saturating_add(len);
    }

    /// A read is over with `rest` bytes that never came.
    pub fn broke_off(&mut self, rest: u64) {
        self.outstanding_len = self.outstanding_len.saturating_sub(rest);
        self.broken = self.broken.saturating_add(u32::from(rest > 0));
        self.ask |= rest > 0;
    }

    /// Takes the provider's count of body bytes over, as far as it can be explained by reads that broke off. What is under way
    /// may be in its count already and comes to ours later, so it explains a difference first.
    pub fn take_over_reads(&mut self, asked: u64) -> Result<bool, BookError> {
        let own = self.egress_len();
        let lost = asked.saturating_sub(self.received_len).saturating_sub(self.outstanding_len);
        if lost <= self.lost_len {
            return Ok(false);
        }
        let allowed = BROKEN_LEN_MAX.saturating_mul(u64::from(self.broken) + 1);
        if lost - self.lost_len > allowed {
            return Err(BookError::OverchargedReads { asked, own, allowed });
        }
        (self.lost_len, self.broken) = (lost, 0);
        Ok(true)
    }

    /// The amount that a voucher for reads should come to, with some of what is under way; nothing while less than [`PAY_LEN`] of
    /// that is unpaid.
    pub fn reads_due(&self) -> Result<Option<Amount>, BookError> {
        let price = self.terms().egress;
        if price.amount().is_zero() {
            return Ok(None);
        }
        let base = self.agreement.carried.plus(self.storage).ok_or(BookError::Overflow)?;
        let ahead = self.outstanding_len.min(PREPAY_LEN_MAX);
        let egress = price.cost(self.egress_len().saturating_add(ahead))?;
        let unpaid = egress.minus_or_zero(self.payer.promised().minus_or_zero(base));
        if unpaid.is_zero() || unpaid < price.cost(PAY_LEN)? {
            return Ok(None);
        }
        Ok(Some(base.plus(egress).ok_or(BookError::Overflow)?))
    }

    /// Compares what the provider committed to at `at` with what we believe.
    pub fn compare(&self, at: UnixMs, theirs: InventoryRoot, totals: Totals, leaf_ms: u128) -> Result<Compared, BookError> {
        if theirs != self.inventory.root() || totals != self.inventory.totals() {
            return Ok(Compared::OtherInventory { theirs });
        }
        let own = self.leaf_ms(at)?;
        Ok(if leaf_ms > own { Compared::Overcharged { asked: leaf_ms, own } } else { Compared::Same })
    }

    /// An audit passed with so much time; the voucher's amount.
    pub fn audited(&mut self, leaf_ms: u128) -> Result<Amount, BookError> {
        let storage = self.terms().storage.cost(leaf_ms)?;
        self.storage = self.storage.max(storage);
        let egress = self.terms().egress.cost(self.egress_len())?;
        Amount::sum([self.agreement.carried, self.storage, egress]).ok_or(BookError::Overflow)
    }

    /// Promises `cumulative` in all; the voucher is to be persisted, then sent.
    pub fn promise(&mut self, cumulative: Amount, channels: &Domain, key: &WalletKey) -> Result<SignedVoucher, BookError> {
        let [PayerEffect::Persist(signed) | PayerEffect::Send(signed), _] = self.payer.promise(cumulative, channels, key)?;
        let signed = SignedVoucher { mandate: self.mandate, ..signed };
        self.voucher = Some(signed);
        Ok(signed)
    }

    /// As [`Book::compare`], for a delegate, whose client may have stored more since it last wrote: the provider must have committed to no
    /// less than the delegate knows of, and is paid for no more than that. Whether what is known is there, the probes show.
    pub fn compare_brief(&self, at: UnixMs, totals: Totals, leaf_ms: u128) -> Result<Briefed, BookError> {
        let own = self.leaf_ms(at)?;
        Ok(match self.inventory.totals().bytes.saturating_sub(totals.bytes) {
            0 => Briefed::Enough { leaf_ms: leaf_ms.min(own) },
            bytes => Briefed::Less { bytes },
        })
    }

    /// A voucher of ours came back, above the one we know: this ledger is older than our last promise. What was promised stays promised.
    pub fn lift(&mut self, signed: &SignedVoucher, deposit: Amount) {
        let cumulative = signed.voucher.cumulative;
        if cumulative > self.payer.promised() {
            self.payer = Payer::new(self.agreement.channel, deposit.max(cumulative), cumulative);
            self.voucher = Some(*signed);
        }
    }

    /// After [`Book::lift`] of a voucher that somebody else signed under our mandate, or that our client signed: takes the provider's count of
    /// reads over as far as that voucher pays for them besides the storage that we know to be paid. `false`: it does not, and our count stays.
    pub fn take_over_paid_reads(&mut self, egress_len: u64) -> Result<bool, BookError> {
        let slack = self.terms().egress.cost(BROKEN_LEN_MAX + WINDOW_LEN)?;
        let most = self.payer.promised().plus(slack).ok_or(BookError::Overflow)?;
        let egress = self.terms().egress.cost(egress_len)?;
        let owed = Amount::sum([self.agreement.carried, self.storage, egress]).ok_or(BookError::Overflow)?;
        if owed > most {
            return Ok(false);
        }
        self.received_len = self.received_len.max(egress_len.saturating_sub(self.lost_len));
        Ok(true)
    }

    /// After [`Book::lift`]: takes the provider's account over when our own signature proves nearly all of it. `false`: it is
    /// further ahead than the time since the last audit can explain, and our own count stays.
    pub fn take_over(&mut self, at: UnixMs, leaf_ms: u128, egress_len: u64) -> Result<bool, BookError> {
        let epochs = u128::from(self.terms().epoch_ms) * u128::from(RESTORED_EPOCHS_MAX);
        let slack_ms = epochs.checked_mul(u128::from(self.inventory.totals().leaves)).ok_or(BookError::Overflow)?;
        let slack = Amount::sum([
            self.terms().storage.cost(slack_ms)?,
            self.terms().egress.cost(BROKEN_LEN_MAX + WINDOW_LEN)?,
            Amount::from_base_units(2), // both costs are rounded down
        ]);
        let most = slack.and_then(|slack| slack.plus(self.payer.promised())).ok_or(BookError::Overflow)?;
        if self.owed_for(leaf_ms, egress_len)? > most {
            return Ok(false);
        }
        self.adopted = self.adopted.saturating_add(leaf_ms.saturating_sub(self.leaf_ms(at)?));
        self.received_len = self.received_len.max(egress_len.saturating_sub(self.lost_len));
        self.broken = 0;
        Ok(true)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
