//! Meter: how long how many leaves lay at a provider in one term of a deal.
//!
//! The sum over shards of leaves · (end − start) is kept as *A · T − B*: leaves that still lie there times now, less the moments at which
//! they came, plus the moments at which others went. So both sides come to the same number in whatever order they learn of shards.
//! Format: `docs/formats/voucher.md` (metering). Never: a rounding, a clock. Limits: 2^128 − 1 leaf-milliseconds.

use cairn_types::UnixMs;
use serde::{Deserialize, Serialize};

/// Bytes of a meter in a ledger.
pub const METER_LEN: usize = 56;

/// Leaf-milliseconds of one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meter {
    added_leaves: u64,
    removed_leaves: u64,
    /// Σ leaves · start over all that came.
    starts: u128,
    /// Σ leaves · end over all that went.
    ends: u128,
    /// The latest moment of all.
    latest: UnixMs,
}

/// What cannot be metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// A sum beyond its type.
    #[error("{leaves} leaves at {moment:?} are more than a meter can count")]
    Overflow {
        /// The leaves.
        leaves: u64,
        /// The moment.
        moment: UnixMs,
    },
    /// A shard that went before it came.
    #[error("a shard that came at {start:?} cannot go at {end:?}")]
    EndsBeforeStart {
        /// When it came.
        start: UnixMs,
        /// When it went.
        end: UnixMs,
    },
    /// A moment before the last one recorded.
    #[error("the meter was changed at {latest:?}, so it cannot be read for {moment:?}")]
    TooEarly {
        /// The moment asked for.
        moment: UnixMs,
        /// The latest recorded.
        latest: UnixMs,
    },
    /// More went than came: something was not told yet.
    #[error("{removed} leaves went, but only {added} came")]
    MoreRemoved {
        /// Leaves that came.
        added: u64,
        /// Leaves that went.
        removed: u64,
    },
}

impl Meter {
    /// A meter of nothing.
    pub fn new() -> Meter {
        Meter::default()
    }

    /// A shard of `leaves` leaves came at `start`: its receipt's moment, or the term's beginning when it lay there before.
    ///
    /// # Errors
    /// [`MeterError::Overflow`]; the meter is as before.
    pub fn add(&mut self, leaves: u64, start: UnixMs) -> Result<(), MeterError> {
        let overflow = MeterError::Overflow { leaves, moment: start };
        let added_leaves = self.added_leaves.checked_add(leaves).ok_or(overflow)?;
        let starts = self.starts.checked_add(product(leaves, start)).ok_or(overflow)?;
        *self = Meter { added_leaves, starts, latest: self.latest.max(start), ..*self };
        Ok(())
    }

    /// A shard of `leaves` leaves that came (or comes to be told) at `start` went at `end`.
    ///
    /// # Errors
    /// [`MeterError::EndsBeforeStart`], [`MeterError::Overflow`]; the meter is as before.
    pub fn remove(&mut self, leaves: u64, start: UnixMs, end: UnixMs) -> Result<(), MeterError> {
        if end < start {
            return Err(MeterError::EndsBeforeStart { start, end });
        }
        let overflow = MeterError::Overflow { leaves, moment: end };
        let removed_leaves = self.removed_leaves.checked_add(leaves).ok_or(overflow)?;
        let ends = self.ends.checked_add(product(leaves, end)).ok_or(overflow)?;
        *self = Meter { removed_leaves, ends, latest: self.latest.max(end), ..*self };
        Ok(())
    }

    /// Leaf-milliseconds up to `now`.
    ///
    /// # Errors
    /// [`MeterError`] before the latest change, while more went than came, and beyond 128 bits.
    pub fn at(&self, now: UnixMs) -> Result<u128, MeterError> {
        if now < self.latest {
            return Err(MeterError::TooEarly { moment: now, latest: self.latest });
        }
        let leaves = self.leaves()?;
        let overflow = MeterError::Overflow { leaves, moment: now };
        let until_now = product(leaves, now).checked_add(self.ends).ok_or(overflow)?;
        until_now.checked_sub(self.starts).ok_or(overflow)
    }

    /// The earliest moment that it can be read for.
    pub fn latest(&self) -> UnixMs {
        self.latest
    }

    /// Its five numbers, big-endian, for a ledger's row.
    pub fn to_bytes(&self) -> [u8; METER_LEN] {
        let mut bytes = [0; METER_LEN];
        bytes[..8].copy_from_slice(&self.added_leaves.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.removed_leaves.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.starts.to_be_bytes());
        bytes[32..48].copy_from_slice(&self.ends.to_be_bytes());
        bytes[48..].copy_from_slice(&self.latest.0.to_be_bytes());
        bytes
    }

    /// Reads what [`Meter::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; METER_LEN]) -> Meter {
        let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight of the bytes"));
        let wide = |at: usize| u128::from(long(at)) << 64 | u128::from(long(at + 8));
        Meter { added_leaves: long(0), removed_leaves: long(8), starts: wide(16), ends: wide(32), latest: UnixMs(long(48)) }
    }

    /// Leaves that lie there.
    ///
    /// # Errors
    /// [`MeterError::MoreRemoved`] while more went than came.
    pub fn leaves(&self) -> Result<u64, MeterError> {
        let error = MeterError::MoreRemoved { added: self.added_leaves, removed: self.removed_leaves };
        self.added_leaves.checked_sub(self.removed_leaves).ok_or(error)
    }
}

fn product(leaves: u64, moment: UnixMs) -> u128 {
    u128::from(leaves) * u128::from(moment.0) // 64 bits times 64 bits
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn time_counts_from_receipt_to_release() {
        let mut meter = Meter::new();
        meter.add(10, UnixMs(1000)).expect("small");
        meter.add(5, UnixMs(2000)).expect("small");
        assert_eq!((meter.at(UnixMs(3000)), meter.leaves()), (Ok(10 * 2000 + 5 * 1000), Ok(15)));
        meter.remove(10, UnixMs(1000), UnixMs(3500)).expect("small");
        assert_eq!((meter.at(UnixMs(4000)), meter.leaves()), (Ok(10 * 2500 + 5 * 2000), Ok(5)));
        assert_eq!(meter.at(UnixMs(3499)), Err(MeterError::TooEarly { moment: UnixMs(3499), latest: UnixMs(3500) }));
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let mut meter = Meter::new();
        meter.add(u64::MAX, UnixMs(5)).expect("fits");
        let before = meter;
        assert_eq!(meter.add(1, UnixMs(5)), Err(MeterError::Overflow { leaves: 1, moment: UnixMs(5) }));
        let error = MeterError::EndsBeforeStart { start: UnixMs(5), end: UnixMs(4) };
        assert_eq!(meter.remove(1, UnixMs(5), UnixMs(4)), Err(error));
        assert_eq!(meter, before);
        assert!(meter.at(UnixMs(u64::MAX)).is_ok());
        let mut early = Meter::new();
        early.remove(3, UnixMs(1), UnixMs(9)).expect("order does not matter");
        assert_eq!(early.at(UnixMs(9)), Err(MeterError::MoreRemoved { added: 0, removed: 3 }));
        early.add(3, UnixMs(1)).expect("small");
        assert_eq!(early.at(UnixMs(1 << 40)), Ok(24));
    }

    /// (leaves, start, end if it went)
    fn shards() -> impl Strategy<Value = Vec<(u64, u64, Option<u64>)>> {
        let wild = (any::<u64>(), any::<u64>(), any::<Option<u64>>());
        let usual = (1u64..70_000, 0u64..1 << 42, prop::option::of(0u64..1 << 42));
        prop::collection::vec(prop_oneof![4 => usual, 1 => wild], 0..30)
    }

    proptest! {
        #[test]
        fn a_meter_equals_the_naive_sum_in_any_order(shards in shards(), keys in prop::collection::vec(any::<u64>(), 60), later in 0u64..1 << 43) {
            let mut operations: Vec<(u64, Option<u64>, u64, u64)> = Vec::new();
            for (number, (leaves, start, end)) in shards.iter().enumerate() {
                operations.push((keys[2 * number], None, *leaves, *start));
                if let Some(end) = end {
                    operations.push((keys[2 * number + 1], Some(*end), *leaves, *start));
                }
            }
            let possible = shards.iter().all(|(_, start, end)| end.is_none_or(|end| end >= *start));
            let fits = shards.iter().try_fold(0u64, |sum, (leaves, ..)| sum.checked_add(*leaves)).is_some();
            let run = |operations: &[(u64, Option<u64>, u64, u64)]| {
                let mut meter = Meter::new();
                operations.iter().try_for_each(|(_, end, leaves, start)| match end {
                    None => meter.add(*leaves, UnixMs(*start)),
                    Some(end) => meter.remove(*leaves, UnixMs(*start), UnixMs(*end)),
                }).map(|()| meter)
            };
            let in_order = run(&operations);
            operations.sort_unstable();
            let shuffled = run(&operations);
            prop_assert_eq!(in_order.is_ok(), possible && fits);
            prop_assert_eq!(shuffled.is_ok(), possible && fits);
            if let (Ok(meter), Ok(shuffled)) = (in_order, shuffled) {
                prop_assert_eq!(meter, shuffled);
                prop_assert_eq!(Meter::from_bytes(&meter.to_bytes()), meter);
                let latest = shards.iter().map(|(_, start, end)| end.unwrap_or(*start)).max().unwrap_or(0);
                let now = latest.saturating_add(later);
                let naive: BigUint = shards.iter().map(|(leaves, start, end)| BigUint::from(*leaves) * (end.unwrap_or(now) - start)).sum();
                prop_assert_eq!(meter.at(UnixMs(now)).ok(), u128::try_from(naive).ok());
                if latest > 0 {
                    let early = MeterError::TooEarly { moment: UnixMs(latest - 1), latest: UnixMs(latest) };
                    prop_assert_eq!(meter.at(UnixMs(latest - 1)), Err(early));
                }
            }
        }
    }
}
