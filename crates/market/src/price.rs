//! Price: what storage over time and bytes read cost, exactly.
//!
//! Format: `docs/formats/voucher.md` (metering). Every cost is of the total of a deal's term, rounded down once.
//! Never: floating point, a sum of roundings, or an overflow that wraps. Limits: costs up to 2^128 − 1 base units.

use cairn_types::Amount;
use serde::{Deserialize, Serialize};

/// A month, as prices mean it: 30 days of 24 hours.
pub const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Leaves of a GiB.
pub const GIB_LEAVES: u64 = 1 << 20;
/// Bytes of a GiB.
pub const GIB_LEN: u64 = 1 << 30;

const GIB_MONTH_LEAF_MS: u64 = GIB_LEAVES * MONTH_MS;

/// Base units for a GiB stored for a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoragePrice(Amount);

/// Base units for a GiB read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EgressPrice(Amount);

/// A cost beyond what an amount can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{quantity} {unit} at {price} for each {per} cost more than an amount can hold")]
pub struct CostError {
    /// How much.
    pub quantity: u128,
    /// Of what.
    pub unit: &'static str,
    /// At which price.
    pub price: Amount,
    /// For how much of it.
    pub per: &'static str,
}

impl StoragePrice {
    /// A price for a GiB and a month.
    pub const fn per_gib_month(price: Amount) -> StoragePrice {
        StoragePrice(price)
    }

    /// The price of a GiB and a month.
    pub const fn amount(self) -> Amount {
        self.0
    }

    /// Cost of `leaf_ms` leaf-milliseconds: `floor(leaf_ms · price / (2^20 · month))`.
    ///
    /// # Errors
    /// [`CostError`] when it does not fit.
    pub fn cost(self, leaf_ms: u128) -> Result<Amount, CostError> {
        mul_div(leaf_ms, self.0.base_units(), GIB_MONTH_LEAF_MS).map(Amount::from_base_units).ok_or(CostError {
            quantity: leaf_ms,
            unit: "leaf-milliseconds",
            price: self.0,
            per: "GiB and month",
        })
    }
}

impl EgressPrice {
    /// A price for a GiB.
    pub const fn per_gib(price: Amount) -> EgressPrice {
        EgressPrice(price)
    }

    /// The price of a GiB.
    pub const fn amount(self) -> Amount {
        self.0
    }

    /// Cost of reading `bytes` bytes: `floor(bytes · price / 2^30)`.
    ///
    /// # Errors
    /// [`CostError`] when it does not fit.
    pub fn cost(self, bytes: u64) -> Result<Amount, CostError> {
        let quantity = u128::from(bytes);
        mul_div(quantity, self.0.base_units(), GIB_LEN).map(Amount::from_base_units).ok_or(CostError {
            quantity,
            unit: "bytes",
            price: self.0,
            per: "GiB",
        })
    }
}

/// `floor(a · b / divisor)` through 256 bits; `None` when it does not fit, or for a divisor of zero.
pub fn mul_div(a: u128, b: u128, divisor: u64) -> Option<u128> {
    if divisor == 0 {
        return None;
    }
    let (mut rest, mut quotient) = (0u128, [0u64; 4]);
    for (digit, limb) in quotient.iter_mut().zip(wide_product(a, b)) {
        let dividend = rest << 64 | u128::from(limb); // rest < divisor < 2^64
        *digit = (dividend / u128::from(divisor)) as u64;
        rest = dividend % u128::from(divisor);
    }
    let [0, 0, high, low] = quotient else { return None };
    Some(u128::from(high) << 64 | u128::from(low))
}

/// The 256-bit product, in 64-bit limbs, the most significant first.
fn wide_product(a: u128, b: u128) -> [u64; 4] {
    let halves = |x: u128| (x >> 64, x & u128::from(u64::MAX));
    let ((a1, a0), (b1, b0)) = (halves(a), halves(b));
    let (low, middle, other, high) = (a0 * b0, a1 * b0, a0 * b1, a1 * b1); // (2^64 − 1)^2 < 2^128
    let second = (low >> 64) + (middle & u128::from(u64::MAX)) + (other & u128::from(u64::MAX));
    let upper = high + (middle >> 64) + (other >> 64) + (second >> 64); // the whole product is below 2^256
    [(upper >> 64) as u64, upper as u64, second as u64, low as u64]
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    fn naive(a: u128, b: u128, divisor: u64) -> Option<u128> {
        (BigUint::from(a) * BigUint::from(b) / BigUint::from(divisor)).try_into().ok()
    }

    #[test]
    fn prices_mean_what_they_say() {
        let price = StoragePrice::per_gib_month(Amount::CREDIT);
        let month = u128::from(GIB_LEAVES) * u128::from(MONTH_MS);
        assert_eq!(price.cost(month), Ok(Amount::CREDIT));
        assert_eq!(price.cost(0), Ok(Amount::ZERO));
        assert_eq!(price.cost(month / 2), Ok("0.5 CRD".parse().expect("an amount")));
        assert_eq!(StoragePrice::per_gib_month(Amount::from_base_units(1)).cost(month - 1), Ok(Amount::ZERO), "rounded down");
        assert!(price.cost(u128::MAX >> 9).is_ok() && price.cost(u128::MAX).is_err(), "10^18 / (2^20 · month) is about 2^8.5");
        assert!(StoragePrice::per_gib_month(Amount::MAX).cost(month).is_ok());
        let error = StoragePrice::per_gib_month(Amount::MAX).cost(month * 2).expect_err("beyond 128 bits");
        assert_eq!((error.quantity, error.price), (month * 2, Amount::MAX));
        let read = EgressPrice::per_gib(Amount::from_credits(3));
        assert_eq!(read.cost(GIB_LEN), Ok(Amount::from_credits(3)));
        assert_eq!(read.cost(GIB_LEN / 3).map(|cost| cost.base_units()), Ok(999_999_999_068_677_425));
        assert!(EgressPrice::per_gib(Amount::MAX).cost(GIB_LEN + 1).is_err());
    }

    #[test]
    fn the_edges_of_the_arithmetic_hold() {
        let edges = [0, 1, 2, u128::from(u64::MAX), 1 << 64, u128::MAX / 2, u128::MAX - 1, u128::MAX];
        for a in edges {
            for b in edges {
                for divisor in [1, 2, 1 << 30, GIB_MONTH_LEAF_MS, u64::MAX] {
                    assert_eq!(mul_div(a, b, divisor), naive(a, b, divisor), "{a} · {b} / {divisor}");
                }
            }
        }
        assert_eq!(mul_div(1, 1, 0), None);
    }

    proptest! {
        #[test]
        fn the_arithmetic_equals_that_of_big_numbers(a: u128, b: u128, shift in 0u32..128, divisor in 1u64..) {
            for (a, b) in [(a, b), (a >> shift, b), (a >> shift, b >> (127 - shift))] {
                prop_assert_eq!(mul_div(a, b, divisor), naive(a, b, divisor));
                prop_assert_eq!(mul_div(a, b, GIB_MONTH_LEAF_MS), naive(a, b, GIB_MONTH_LEAF_MS));
            }
        }
    }
}
