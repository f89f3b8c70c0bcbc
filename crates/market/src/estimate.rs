//! Estimate: what a file will cost before it is stored.
//!
//! Never: a promise; providers' prices and the padding of the last row make the bill differ a little. Limits: as for prices.

use cairn_types::limits::{FRAME_DATA_LEN, LEAF_LEN, TAG_LEN};
use cairn_types::{Amount, Redundancy};

use crate::price::{CostError, EgressPrice, MONTH_MS, StoragePrice};

/// What is stored for a file, and for how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Estimate {
    /// Bytes at all providers together.
    pub stored_len: u128,
    /// For a month.
    pub month: Amount,
}

/// Why there is no estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    /// Not a price for each shard.
    #[error("{given} prices were given, {needed} providers are needed")]
    Prices {
        /// Prices given.
        given: usize,
        /// Shards of a segment.
        needed: usize,
    },
    /// Too much.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// Too much together.
    #[error("the costs of all providers together are more than an amount can hold")]
    Sum,
}

/// Cost of storing `len` bytes for a month, a shard at each of these prices.
///
/// # Errors
/// [`EstimateError`].
pub fn month(len: u64, redundancy: Redundancy, prices: &[StoragePrice]) -> Result<Estimate, EstimateError> {
    if prices.len() != redundancy.total() {
        return Err(EstimateError::Prices { given: prices.len(), needed: redundancy.total() });
    }
    let shard_leaves = shard_len(len, redundancy).div_ceil(LEAF_LEN as u128);
    let costs: Vec<Amount> =
        prices.iter().map(|price| price.cost(shard_leaves * u128::from(MONTH_MS))).collect::<Result<_, _>>()?;
    let month = Amount::sum(costs).ok_or(EstimateError::Sum)?;
    Ok(Estimate { stored_len: shard_len(len, redundancy) * redundancy.total() as u128, month })
}

/// Cost of reading `len` bytes at this price.
///
/// # Errors
/// [`CostError`].
pub fn read(len: u64, price: EgressPrice) -> Result<Amount, CostError> {
    price.cost(u64::try_from(sealed_len(len)).unwrap_or(u64::MAX))
}

fn sealed_len(len: u64) -> u128 {
    u128::from(len) + u128::from(len.div_ceil(FRAME_DATA_LEN as u64)) * TAG_LEN as u128
}

/// Bytes of all shards of one column: a k-th of the sealed bytes.
fn shard_len(len: u64, redundancy: Redundancy) -> u128 {
    sealed_len(len).div_ceil(redundancy.data() as u128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::GIB_LEN;

    fn redundancy(data: usize, total: usize) -> Redundancy {
        Redundancy::new(data, total).expect("possible")
    }

    #[test]
    fn a_gib_costs_n_over_k_times_its_price() {
        let price = StoragePrice::per_gib_month(Amount::from_credits(2));
        let check = |data: usize, total: usize| month(GIB_LEN, redundancy(data, total), &vec![price; total]).expect("small");
        let stored = 1_073_741_824 + 16_389 * 16;
        assert_eq!(check(1, 1).stored_len, stored);
        assert_eq!(check(2, 4).stored_len, 2 * stored);
        let (low, high) = (Amount::from_credits(4), "4.01 CRD".parse().expect("an amount"));
        let cost = check(2, 4).month;
        assert!(low < cost && cost < high, "{cost}: twice the price and 0.03 % for tags");
        assert_eq!(month(0, redundancy(2, 4), &[price; 4]), Ok(Estimate { stored_len: 0, month: Amount::ZERO }));
    }

    #[test]
    fn every_provider_has_its_own_price() {
        let prices = [1, 2, 3, 4].map(|credits| StoragePrice::per_gib_month(Amount::from_credits(credits)));
        let each = prices.map(|price| month(GIB_LEN, redundancy(2, 4), &[price; 4]).expect("small").month);
        let sum = Amount::sum(each).expect("small").base_units();
        assert_eq!(month(GIB_LEN, redundancy(2, 4), &prices).map(|estimate| estimate.month.base_units()), Ok(sum / 4));
        assert_eq!(month(1, redundancy(2, 4), &prices[1..]), Err(EstimateError::Prices { given: 3, needed: 4 }));
    }

    #[test]
    fn the_largest_file_at_the_largest_price_is_an_error() {
        let price = StoragePrice::per_gib_month(Amount::MAX);
        assert!(matches!(month(u64::MAX, redundancy(1, 1), &[price]), Err(EstimateError::Cost(_))));
        assert_eq!(month(GIB_LEN / 2, redundancy(1, 4), &[price; 4]), Err(EstimateError::Sum));
        assert!(read(u64::MAX, EgressPrice::per_gib(Amount::MAX)).is_err());
        let read = read(FRAME_DATA_LEN as u64, EgressPrice::per_gib(Amount::from_base_units(1 << 30)));
        assert_eq!(read, Ok(Amount::from_base_units(65_536)), "a frame and its tag");
    }
}
