//! Channel: what each side of a payment channel may promise, accept and serve.
//!
//! Format: `docs/formats/voucher.md`. Both sides are pure: they check, change and say what the shell must do, in that order.
//! Never: a voucher spent or credited before it is persisted ([`PayerEffect::Persist`] and [`PayeeEffect::Persist`] come first);
//! service beyond the deposit, or beyond [`WINDOW_LEN`] bytes of unpaid reads. Limits: one live voucher for each channel.

use cairn_types::limits::FRAME_LEN;
use cairn_types::{Address, Amount, ChannelId, Domain, UnixSecs, WalletKey};

use crate::price::{CostError, EgressPrice};
use crate::voucher::{SignedVoucher, Voucher};

/// Bytes that a provider lets a client read before it wants a voucher; a payment counts for reads first, then for storage.
pub const WINDOW_LEN: u64 = 1 << 20;
const _: () = assert!(WINDOW_LEN >= FRAME_LEN as u64);

/// A payee takes a delegate's voucher while the mandate lasts so much longer, in seconds, so that there is time to redeem it.
pub const MANDATE_SECS_MIN: u64 = 3600;

/// What is owed on a channel altogether; a voucher's cumulative amount is its total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owed {
    /// From earlier terms.
    pub carried: Amount,
    /// Storage of this term.
    pub storage: Amount,
    /// Reads of this term.
    pub egress: Amount,
}

impl Owed {
    /// The sum, when it fits.
    pub fn total(&self) -> Option<Amount> {
        Amount::sum([self.carried, self.storage, self.egress])
    }
}

/// A promise that a payer does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PromiseError {
    /// Not more than was promised.
    #[error("{cumulative} is not more than the {promised} promised already")]
    NotMore {
        /// The amount wanted.
        cumulative: Amount,
        /// Promised so far.
        promised: Amount,
    },
    /// More than was put in.
    #[error("{cumulative} is more than the deposit of {deposit}: top up first")]
    OverDeposit {
        /// The amount wanted.
        cumulative: Amount,
        /// The deposit.
        deposit: Amount,
    },
    /// The other side asks for more than our own meter says.
    #[error("the provider asks for {asked} in all, by our own meter it is {owed}")]
    Overcharged {
        /// What the provider asks.
        asked: Amount,
        /// What we count.
        owed: Amount,
    },
    /// The channel closes.
    #[error("the channel is closing")]
    Closing,
}

/// What a payer's shell has to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayerEffect {
    /// Write it durably. Only then go on: a voucher forgotten after it was sent would be promised twice.
    Persist(SignedVoucher),
    /// Send it to the payee.
    Send(SignedVoucher),
}

/// A channel as its payer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payer {
    channel: ChannelId,
    deposit: Amount,
    promised: Amount,
    closing: bool,
}

impl Payer {
    /// A channel with what was promised on it so far: the persisted voucher's amount after a restart, never less.
    pub fn new(channel: ChannelId, deposit: Amount, promised: Amount) -> Payer {
        Payer { channel, deposit, promised, closing: false }
    }

    /// All that was promised.
    pub fn promised(&self) -> Amount {
        self.promised
    }

    /// What can still be promised.
    pub fn remaining(&self) -> Amount {
        self.deposit.minus_or_zero(self.promised)
    }

    /// The deposit is now this much; a lower one than known is an old view of the chain and changes nothing.
    pub fn deposited(&mut self, deposit: Amount) {
        self.deposit = self.deposit.max(deposit);
    }

    /// The channel closes: nothing more is promised. `false` takes it back (the payer cancelled).
    pub fn closing(&mut self, closing: bool) {
        self.closing = closing;
    }

    /// Checks a provider's bill against our own count; what is to be promised is never more than that.
    ///
    /// # Errors
    /// [`PromiseError::Overcharged`].
    pub fn agree(asked: Amount, owed: Amount) -> Result<Amount, PromiseError> {
        if asked > owed { Err(PromiseError::Overcharged { asked, owed }) } else { Ok(asked) }
    }

    /// Promises `cumulative` in all.
    ///
    /// # Errors
    /// [`PromiseError`]; nothing is promised.
    pub fn promise(&mut self, cumulative: Amount, channels: &Domain, key: &WalletKey) -> Result<[PayerEffect; 2], PromiseError> {
        if self.closing {
            return Err(PromiseError::Closing);
        }
        if cumulative <= self.promised {
            return Err(PromiseError::NotMore { cumulative, promised: self.promised });
        }
        if cumulative > self.deposit {
            return Err(PromiseError::OverDeposit { cumulative, deposit: self.deposit });
        }
        self.promised = cumulative;
        let signed = Voucher { channel: self.channel, cumulative }.sign(channels, key);
        Ok([PayerEffect::Persist(signed), PayerEffect::Send(signed)])
    }
}

/// A voucher or a read that a payee does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// For another channel.
    #[error("the voucher is for channel {got}, not for {expected}")]
    OtherChannel {
        /// This channel.
        expected: ChannelId,
        /// The voucher's.
        got: ChannelId,
    },
    /// Not more than was accepted.
    #[error("a voucher over {cumulative} is not more than the {accepted} accepted already")]
    Stale {
        /// The voucher's amount.
        cumulative: Amount,
        /// Accepted so far.
        accepted: Amount,
    },
    /// More than was put in, so that the rest could never be redeemed.
    #[error("a total of {cumulative} is more than the deposit of {deposit}")]
    OverDeposit {
        /// The amount.
        cumulative: Amount,
        /// The deposit.
        deposit: Amount,
    },
    /// Signed by somebody else. A payer that is a contract can take its signature back, so only the session signer's counts.
    #[error("the voucher is not signed by {expected} but by {got:?}")]
    WrongSigner {
        /// The channel's signer.
        expected: Address,
        /// Who signed, if anybody.
        got: Option<Address>,
    },
    /// Too much was read unpaid.
    #[error("{unpaid} would be unpaid, {window} are allowed: a voucher is due")]
    Unpaid {
        /// Unpaid after this read.
        unpaid: Amount,
        /// Allowed.
        window: Amount,
    },
    /// What its delegate signed under is over, or so nearly that it may be when the voucher is redeemed.
    #[error("the mandate of the voucher's signer ends at {} s: it must last {MANDATE_SECS_MIN} s more", .valid_until.0)]
    MandateOver {
        /// When it ends.
        valid_until: UnixSecs,
    },
    /// The channel closes.
    #[error("the channel is closing")]
    Closing,
    /// More than can be counted.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// More than can be counted.
    #[error("what is owed is more than an amount can hold")]
    Overflow,
}

/// What a payee's shell has to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "two of them on a stack, and no voucher behind a pointer")]
pub enum PayeeEffect {
    /// Write it durably. Only then go on: a voucher forgotten after it was answered is money lost.
    Persist(SignedVoucher),
    /// Tell the payer that so much in all is accepted, and serve on.
    Credit {
        /// Accepted in all.
        accepted: Amount,
    },
}

/// A channel as its payee sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payee {
    channel: ChannelId,
    signer: Address,
    deposit: Amount,
    accepted: Amount,
    owed: Owed,
    /// The part of what was accepted that paid for storage; the rest paid for reads.
    storage_paid: Amount,
    read_len: u64,
    price: EgressPrice,
    closing: bool,
}

impl Payee {
    /// A channel with what was accepted on it so far, and what earlier terms came to.
    pub fn new(
        channel: ChannelId,
        signer: Address,
        deposit: Amount,
        price: EgressPrice,
        accepted: Amount,
        carried: Amount,
    ) -> Payee {
        let owed = Owed { carried, ..Owed::default() };
        Payee { channel, signer, deposit, accepted, owed, storage_paid: Amount::ZERO, read_len: 0, price, closing: false }
    }

    /// The same channel after a restart: what this term's storage had come to, which part of it was paid, and what was read.
    ///
    /// # Errors
    /// [`CostError`] when the reads cost more than can be counted.
    pub fn resumed(mut self, storage: Amount, storage_paid: Amount, read_len: u64) -> Result<Payee, CostError> {
        self.owed = Owed { storage, egress: self.price.cost(read_len)?, ..self.owed };
        (self.storage_paid, self.read_len) = (storage_paid, read_len);
        Ok(self)
    }

    /// The part of what was accepted that paid for storage.
    pub fn storage_paid(&self) -> Amount {
        self.storage_paid
    }

    /// Bytes read in this term.
    pub fn read_len(&self) -> u64 {
        self.read_len
    }

    /// The deposit as far as it is known.
    pub fn deposit(&self) -> Amount {
        self.deposit
    }

    /// Whether the channel closes.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// All that was accepted.
    pub fn accepted(&self) -> Amount {
        self.accepted
    }

    /// What is owed.
    pub fn owed(&self) -> Owed {
        self.owed
    }

    /// Owed and not promised yet.
    pub fn unpaid(&self) -> Amount {
        self.owed.total().unwrap_or(Amount::MAX).minus_or_zero(self.accepted)
    }

    /// The deposit is now this much; a lower one than known is an old view of the chain and changes nothing.
    pub fn deposited(&mut self, deposit: Amount) {
        self.deposit = self.deposit.max(deposit);
    }

    /// The channel closes (or does not, when the payer cancelled): nothing is served, vouchers are still taken.
    pub fn closing(&mut self, closing: bool) {
        self.closing = closing;
    }

    /// Storage of this term costs so much by now. Never less than before.
    pub fn stored(&mut self, storage: Amount) {
        self.owed.storage = self.owed.storage.max(storage);
    }

    /// Whether a voucher of the session signer, or of somebody with its mandate, can be taken.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, signed: &SignedVoucher, channels: &Domain) -> Result<(), Refusal> {
        let Voucher { channel, cumulative } = signed.voucher;
        if channel != self.channel {
            return Err(Refusal::OtherChannel { expected: self.channel, got: channel });
        }
        if cumulative <= self.accepted {
            return Err(Refusal::Stale { cumulative, accepted: self.accepted });
        }
        if cumulative > self.deposit {
            return Err(Refusal::OverDeposit { cumulative, deposit: self.deposit });
        }
        let got = signed.giver(channels);
        if got != Some(self.signer) {
            return Err(Refusal::WrongSigner { expected: self.signer, got });
        }
        Ok(())
    }

    /// Whether the mandate under which a voucher was signed, if any, lasts long enough.
    ///
    /// # Errors
    /// [`Refusal::MandateOver`].
    pub fn check_mandate(signed: &SignedVoucher, now: UnixSecs) -> Result<(), Refusal> {
        match signed.mandate.map(|signed| signed.mandate.valid_until) {
            Some(valid_until) if valid_until < now.plus_secs(MANDATE_SECS_MIN) => Err(Refusal::MandateOver { valid_until }),
            _ => Ok(()),
        }
    }

    /// Credits a voucher that was checked and is durable; one that was overtaken meanwhile changes nothing.
    pub fn credit(&mut self, cumulative: Amount) {
        self.accepted = self.accepted.max(cumulative);
        let beyond_reads = self.accepted.minus_or_zero(self.owed.carried).minus_or_zero(self.owed.egress);
        self.storage_paid = self.storage_paid.max(beyond_reads.min(self.owed.storage));
    }

    /// Takes a voucher of the session signer.
    ///
    /// # Errors
    /// [`Refusal`]; nothing changes.
    pub fn accept(&mut self, signed: &SignedVoucher, channels: &Domain) -> Result<[PayeeEffect; 2], Refusal> {
        self.check(signed, channels)?;
        let accepted = signed.voucher.cumulative;
        self.credit(accepted);
        Ok([PayeeEffect::Persist(*signed), PayeeEffect::Credit { accepted }])
    }

    /// Counts a read of `len` bytes before it is served: within the deposit, and within the window of unpaid reads. When no read is
    /// unpaid, one frame is always within the window. Unpaid storage does not stop reads: audits are reads, and come before its payment.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is counted.
    pub fn serve(&mut self, len: u64) -> Result<(), Refusal> {
        if self.closing {
            return Err(Refusal::Closing);
        }
        let read_len = self.read_len.checked_add(len).ok_or(Refusal::Overflow)?;
        let owed = Owed { egress: self.price.cost(read_len)?, ..self.owed };
        let cumulative = owed.total().ok_or(Refusal::Overflow)?;
        if cumulative > self.deposit {
            return Err(Refusal::OverDeposit { cumulative, deposit: self.deposit });
        }
        let (unpaid, window) = (self.unpaid_reads(&owed), self.price.cost(WINDOW_LEN)?);
        let first_frame = self.unpaid_reads(&self.owed).is_zero() && len <= FRAME_LEN as u64;
        if unpaid > window && !first_frame {
            return Err(Refusal::Unpaid { unpaid, window });
        }
        (self.owed, self.read_len) = (owed, read_len);
        Ok(())
    }

    fn unpaid_reads(&self, owed: &Owed) -> Amount {
        let paid = self.accepted.minus_or_zero(self.storage_paid);
        owed.carried.plus(owed.egress).unwrap_or(Amount::MAX).minus_or_zero(paid)
    }
}

#[cfg(test)]
mod tests;
