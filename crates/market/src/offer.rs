//! Offer: what a provider asks and promises, until when; and the guard against gouging.
//!
//! Format: `docs/formats/offer.md`; vectors: `tests/vectors/offer.json`. The encoding on the wire is the proto crate's.
//! Never: terms that change under the same hash. Limits: [`REGION_LEN_MAX`], [`OFFER_LIFE_SECS_MAX`], [`EPOCH_MS_MIN`] to [`EPOCH_MS_MAX`].

use cairn_types::eip712::{Word, keccak256};
use cairn_types::{Address, Amount, NodeId, UnixSecs};

use crate::price::{EgressPrice, StoragePrice};

/// Bytes of a region's name.
pub const REGION_LEN_MAX: usize = 32;
/// Life of an offer, in seconds.
pub const OFFER_LIFE_SECS_MAX: u64 = 48 * 60 * 60;
/// Shortest epoch.
pub const EPOCH_MS_MIN: u64 = 1000;
/// Longest epoch: an audit must come well within a commitment's life.
pub const EPOCH_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Offers that must be known before a price can be called gouging.
pub const KNOWN_MIN: usize = 3;

const TERMS_DOMAIN: &[u8] = b"cairn/terms/1\0";
const OFFER_DOMAIN: &[u8] = b"cairn/offer/1\0";

/// The lasting part of an offer; its hash is on chain (`Providers.offerHash`) and in every deal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The provider's node.
    pub node: NodeId,
    /// Who is paid, and whose collateral it is.
    pub owner: Address,
    /// Whose commitments count.
    pub signer: Address,
    /// The chain.
    pub chain_id: u64,
    /// The contract `Channels`.
    pub channels: Address,
    /// The contract `Court`.
    pub court: Address,
    /// The contract `Providers`.
    pub providers: Address,
    /// For storage.
    pub storage: StoragePrice,
    /// For reads.
    pub egress: EgressPrice,
    /// Collateral that commitments put at risk for each GiB.
    pub collateral_per_gib: Amount,
    /// Length of an epoch: one audit and one voucher.
    pub epoch_ms: u64,
    /// How long after an epoch's end an audit may still pass.
    pub grace_ms: u64,
    /// The operator's own word for where it is.
    pub region: String,
}

/// What a provider offers now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The lasting part.
    pub terms: Terms,
    /// Bytes that it still takes.
    pub free_len: u64,
    /// Until when, exclusive.
    pub valid_until: UnixSecs,
}

/// An offer that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// A region's name is too long.
    #[error("the region's name has {0} bytes, at most {REGION_LEN_MAX} are allowed")]
    RegionLen(usize),
    /// An epoch too short or too long.
    #[error("an epoch of {0} ms is not between {EPOCH_MS_MIN} and {EPOCH_MS_MAX} ms")]
    Epoch(u64),
    /// A grace longer than the epoch.
    #[error("a grace of {grace_ms} ms is longer than the epoch of {epoch_ms} ms")]
    Grace {
        /// The grace.
        grace_ms: u64,
        /// The epoch.
        epoch_ms: u64,
    },
    /// The address that nobody has.
    #[error("{0} is the zero address")]
    ZeroAddress(&'static str),
    /// Over.
    #[error("the offer expired at {valid_until:?}, now is {now:?}")]
    Expired {
        /// Until when.
        valid_until: UnixSecs,
        /// The reader's clock.
        now: UnixSecs,
    },
    /// Lives too long.
    #[error("the offer lives until {valid_until:?}, at most {OFFER_LIFE_SECS_MAX} s from {now:?} are allowed")]
    Life {
        /// Until when.
        valid_until: UnixSecs,
        /// The reader's clock.
        now: UnixSecs,
    },
}

impl Terms {
    /// `keccak256("cairn/terms/1" ‖ 0x00 ‖ fields)`, every field of fixed length but the last, which has its length before it.
    pub fn hash(&self) -> Word {
        let mut bytes = TERMS_DOMAIN.to_vec();
        bytes.extend_from_slice(self.node.as_bytes());
        bytes.extend_from_slice(self.owner.as_bytes());
        bytes.extend_from_slice(self.signer.as_bytes());
        bytes.extend_from_slice(&self.chain_id.to_be_bytes());
        bytes.extend_from_slice(self.channels.as_bytes());
        bytes.extend_from_slice(self.court.as_bytes());
        bytes.extend_from_slice(self.providers.as_bytes());
        for amount in [self.storage.amount(), self.egress.amount(), self.collateral_per_gib] {
            bytes.extend_from_slice(&amount.base_units().to_be_bytes());
        }
        bytes.extend_from_slice(&self.epoch_ms.to_be_bytes());
        bytes.extend_from_slice(&self.grace_ms.to_be_bytes());
        bytes.extend_from_slice(&(self.region.len() as u64).to_be_bytes());
        bytes.extend_from_slice(self.region.as_bytes());
        keccak256(bytes)
    }

    /// Checks everything that does not depend on the time.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn check(&self) -> Result<(), OfferError> {
        if self.region.len() > REGION_LEN_MAX {
            return Err(OfferError::RegionLen(self.region.len()));
        }
        if !(EPOCH_MS_MIN..=EPOCH_MS_MAX).contains(&self.epoch_ms) {
            return Err(OfferError::Epoch(self.epoch_ms));
        }
        if self.grace_ms > self.epoch_ms {
            return Err(OfferError::Grace { grace_ms: self.grace_ms, epoch_ms: self.epoch_ms });
        }
        let addresses = [
            ("owner", self.owner),
            ("signer", self.signer),
            ("channels", self.channels),
            ("court", self.court),
            ("providers", self.providers),
        ];
        match addresses.iter().find(|(_, address)| *address == Address::ZERO) {
            Some((name, _)) => Err(OfferError::ZeroAddress(name)),
            None => Ok(()),
        }
    }
}

impl Offer {
    /// `keccak256("cairn/offer/1" ‖ 0x00 ‖ terms hash ‖ free_len ‖ valid_until)`.
    pub fn hash(&self) -> Word {
        let numbers = [self.free_len.to_be_bytes(), self.valid_until.0.to_be_bytes()];
        keccak256([OFFER_DOMAIN, &self.terms.hash(), numbers.as_flattened()].concat())
    }

    /// Checks everything, and that the offer is alive at `now`.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn check(&self, now: UnixSecs) -> Result<(), OfferError> {
        let valid_until = self.valid_until;
        self.terms.check()?;
        if now >= valid_until {
            return Err(OfferError::Expired { valid_until, now });
        }
        if valid_until.since_secs(now) > OFFER_LIFE_SECS_MAX {
            return Err(OfferError::Life { valid_until, now });
        }
        Ok(())
    }
}

/// A price far above what others ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} costs {price}, which is more than {times_max} times the {median} that providers usually ask")]
pub struct Gouging {
    /// Storage or reads.
    pub what: &'static str,
    /// The price asked.
    pub price: Amount,
    /// What the middle one of the known providers asks.
    pub median: Amount,
    /// How many times of it are accepted.
    pub times_max: u64,
}

/// Refuses terms whose price is more than `times_max` times the median of those known. With fewer than [`KNOWN_MIN`] known there is
/// nothing to compare with, and nothing is refused.
///
/// # Errors
/// [`Gouging`] for the first price that is too high.
pub fn check_gouging(terms: &Terms, known: &[Terms], times_max: u64) -> Result<(), Gouging> {
    type Price = fn(&Terms) -> Amount;
    let prices: [(&'static str, Price); 2] =
        [("a GiB and month", |terms| terms.storage.amount()), ("a GiB read", |terms| terms.egress.amount())];
    for (what, price_of) in prices {
        let Some(median) = median(known.iter().map(price_of).collect()) else { continue };
        let price = price_of(terms);
        if median.times(times_max).is_some_and(|most| price > most) {
            return Err(Gouging { what, price, median, times_max });
        }
    }
    Ok(())
}

/// The middle one, the lower of two; `None` for too few.
fn median(mut prices: Vec<Amount>) -> Option<Amount> {
    prices.sort_unstable();
    if prices.len() < KNOWN_MIN { None } else { prices.get((prices.len() - 1) / 2).copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            node: NodeId([1; 32]),
            owner: Address([2; 20]),
            signer: Address([3; 20]),
            chain_id: 4,
            channels: Address([5; 20]),
            court: Address([6; 20]),
            providers: Address([7; 20]),
            storage: StoragePrice::per_gib_month(Amount::from_base_units(8)),
            egress: EgressPrice::per_gib(Amount::from_base_units(9)),
            collateral_per_gib: Amount::from_base_units(10),
            epoch_ms: 3_600_000,
            grace_ms: 600_000,
            region: "eu".into(),
        }
    }

    fn offer() -> Offer {
        Offer { terms: terms(), free_len: 1 << 40, valid_until: UnixSecs(10_000) }
    }

    #[test]
    fn every_field_is_in_the_hash() {
        let changed = [
            Terms { node: NodeId([0; 32]), ..terms() },
            Terms { owner: Address([0; 20]), ..terms() },
            Terms { signer: Address([0; 20]), ..terms() },
            Terms { chain_id: 0, ..terms() },
            Terms { channels: Address([0; 20]), ..terms() },
            Terms { court: Address([0; 20]), ..terms() },
            Terms { providers: Address([0; 20]), ..terms() },
            Terms { storage: StoragePrice::default(), ..terms() },
            Terms { egress: EgressPrice::default(), ..terms() },
            Terms { collateral_per_gib: Amount::ZERO, ..terms() },
            Terms { epoch_ms: 0, ..terms() },
            Terms { grace_ms: 0, ..terms() },
            Terms { region: "eu ".into(), ..terms() },
        ];
        let mut hashes: Vec<Word> = changed.iter().map(Terms::hash).chain([terms().hash()]).collect();
        for terms in changed {
            hashes.push(Offer { terms, ..offer() }.hash());
        }
        hashes.push(offer().hash());
        hashes.push(Offer { free_len: 0, ..offer() }.hash());
        hashes.push(Offer { valid_until: UnixSecs(0), ..offer() }.hash());
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn offers_out_of_bounds_are_refused() {
        let check = |terms: Terms| terms.check().err();
        assert_eq!(check(terms()), None);
        assert_eq!(check(Terms { region: "x".repeat(33), ..terms() }), Some(OfferError::RegionLen(33)));
        for epoch_ms in [0, EPOCH_MS_MIN - 1, EPOCH_MS_MAX + 1, u64::MAX] {
            assert_eq!(check(Terms { epoch_ms, ..terms() }), Some(OfferError::Epoch(epoch_ms)));
        }
        let grace = OfferError::Grace { grace_ms: 3_600_001, epoch_ms: 3_600_000 };
        assert_eq!(check(Terms { grace_ms: 3_600_001, ..terms() }), Some(grace));
        assert_eq!(check(Terms { owner: Address::ZERO, ..terms() }), Some(OfferError::ZeroAddress("owner")));
        assert_eq!(check(Terms { providers: Address::ZERO, ..terms() }), Some(OfferError::ZeroAddress("providers")));
    }

    #[test]
    fn an_offer_is_alive_for_two_days_at_most() {
        let valid_until = UnixSecs(10_000_000);
        let check = |now: u64| Offer { valid_until, ..offer() }.check(UnixSecs(now));
        assert_eq!(check(10_000_000 - 1), Ok(()));
        assert_eq!(check(10_000_000 - OFFER_LIFE_SECS_MAX), Ok(()));
        let now = UnixSecs(10_000_000 - OFFER_LIFE_SECS_MAX - 1);
        assert_eq!(check(now.0), Err(OfferError::Life { valid_until, now }));
        for now in [10_000_000, u64::MAX].map(UnixSecs) {
            assert_eq!(check(now.0), Err(OfferError::Expired { valid_until, now }));
        }
        let bad = Offer { terms: Terms { epoch_ms: 0, ..terms() }, valid_until, ..offer() };
        assert_eq!(bad.check(UnixSecs(9_999_999)), Err(OfferError::Epoch(0)));
    }

    #[test]
    fn a_price_far_above_the_others_is_refused() {
        let at = |storage: u128, egress: u128| Terms {
            storage: StoragePrice::per_gib_month(Amount::from_base_units(storage)),
            egress: EgressPrice::per_gib(Amount::from_base_units(egress)),
            ..terms()
        };
        let known = [at(10, 100), at(20, 200), at(30, 300), at(u128::MAX, u128::MAX)];
        let check = |terms: Terms, known: &[Terms]| {
            check_gouging(&terms, known, 3).map_err(|error| (error.what, error.median.base_units()))
        };
        assert_eq!(check(at(60, 600), &known), Ok(()));
        assert_eq!(check(at(61, 600), &known), Err(("a GiB and month", 20)));
        assert_eq!(check(at(60, 601), &known), Err(("a GiB read", 200)));
        assert_eq!(check(at(91, 900), &known[1..]), Err(("a GiB and month", 30)));
        assert_eq!(check(at(u128::MAX, u128::MAX), &known[..2]), Ok(()), "two are too few to compare with");
        let free = [at(0, 0), at(0, 0), at(0, 0)];
        assert_eq!(check(at(1, 0), &free), Err(("a GiB and month", 0)), "where others give, one asks");
        let dear = [at(u128::MAX, 1), at(u128::MAX, 1), at(u128::MAX, 1)];
        assert_eq!(check(at(u128::MAX, 3), &dear), Ok(()), "three times the largest amount is beyond any price");
    }
}
