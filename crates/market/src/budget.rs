//! Budget: how much may be spent in a month, in all and for each bucket; and when a channel is topped up.
//!
//! Never: a charge that is counted in part. Limits: [`BUCKETS_MAX`] buckets with a cap of their own.

use std::collections::BTreeMap;

use cairn_types::{Amount, UnixMs};

use crate::price::MONTH_MS;

/// Buckets with a cap.
pub const BUCKETS_MAX: usize = 10_000;

/// What may be spent in a month of 30 days, counted from the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budget {
    month_max: Option<Amount>,
    bucket_max: BTreeMap<String, Amount>,
    month: u64,
    spent: Amount,
    spent_by_bucket: BTreeMap<String, Amount>,
}

/// A charge that the budget does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// The month's budget would be exceeded.
    #[error("{cost} more would exceed this month's budget of {max}: {spent} are spent")]
    Month {
        /// The charge.
        cost: Amount,
        /// Spent so far.
        spent: Amount,
        /// The budget.
        max: Amount,
    },
    /// The bucket's cap would be exceeded.
    #[error("{cost} more would exceed this month's cap of {max} for bucket {bucket:?}: {spent} are spent")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// The charge.
        cost: Amount,
        /// Spent so far.
        spent: Amount,
        /// The cap.
        max: Amount,
    },
    /// More than can be counted.
    #[error("{cost} more than the {spent} spent cannot be counted")]
    Overflow {
        /// The charge.
        cost: Amount,
        /// Spent so far.
        spent: Amount,
    },
    /// Too many caps.
    #[error("at most {BUCKETS_MAX} buckets can have a cap of their own")]
    TooManyBuckets,
}

impl Budget {
    /// A budget for the month; `None`: no limit.
    pub fn new(month_max: Option<Amount>) -> Budget {
        Budget { month_max, ..Budget::default() }
    }

    /// Goes on with what was spent in the month of `at`, as its shell wrote it.
    pub fn resume(&mut self, at: UnixMs, spent: Amount) {
        self.turn(at);
        self.spent = self.spent.max(spent);
    }

    /// Caps what one bucket may cost in a month; `None` takes the cap away.
    ///
    /// # Errors
    /// [`BudgetError::TooManyBuckets`].
    pub fn cap(&mut self, bucket: &str, max: Option<Amount>) -> Result<(), BudgetError> {
        let Some(max) = max else {
            self.bucket_max.remove(bucket);
            self.spent_by_bucket.remove(bucket);
            return Ok(());
        };
        if self.bucket_max.len() >= BUCKETS_MAX && !self.bucket_max.contains_key(bucket) {
            return Err(BudgetError::TooManyBuckets);
        }
        self.bucket_max.insert(bucket.to_owned(), max);
        Ok(())
    }

    /// Counts a cost, if month and bucket allow it.
    ///
    /// # Errors
    /// [`BudgetError`]; nothing is counted.
    pub fn charge(&mut self, now: UnixMs, bucket: Option<&str>, cost: Amount) -> Result<(), BudgetError> {
        self.turn(now);
        let spent = self.spent.plus(cost).ok_or(BudgetError::Overflow { cost, spent: self.spent })?;
        if let Some(max) = self.month_max.filter(|max| spent > *max) {
            return Err(BudgetError::Month { cost, spent: self.spent, max });
        }
        if let Some((bucket, max)) = bucket.and_then(|bucket| self.bucket_max.get_key_value(bucket)) {
            let before = self.spent_by_bucket.get(bucket).copied().unwrap_or_default();
            let after = before.plus(cost).ok_or(BudgetError::Overflow { cost, spent: before })?;
            if after > *max {
                return Err(BudgetError::Bucket { bucket: bucket.clone(), cost, spent: before, max: *max });
            }
            self.spent_by_bucket.insert(bucket.clone(), after);
        }
        self.spent = spent;
        Ok(())
    }

    /// What is left of the month; `None`: no limit.
    pub fn left(&self, now: UnixMs) -> Option<Amount> {
        self.month_max.map(|max| max.minus_or_zero(self.spent(now)))
    }

    /// What was spent this month.
    pub fn spent(&self, now: UnixMs) -> Amount {
        if month_of(now) > self.month { Amount::ZERO } else { self.spent }
    }

    /// Begins a new month. A clock that goes back begins none: what was spent stays spent.
    fn turn(&mut self, now: UnixMs) {
        if month_of(now) > self.month {
            self.month = month_of(now);
            self.spent = Amount::ZERO;
            self.spent_by_bucket.clear();
        }
    }
}

fn month_of(now: UnixMs) -> u64 {
    now.0 / MONTH_MS
}

/// When a channel is topped up, and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopUpRule {
    /// When less than so many epochs are covered.
    pub below_epochs: u64,
    /// By so much.
    pub by: Amount,
}

/// What to do about a channel's deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUp {
    /// Nothing: there is enough.
    Enough,
    /// Put in so much.
    Deposit(Amount),
    /// It is needed, but the budget of the month is spent.
    BudgetSpent {
        /// What the rule wants.
        wanted: Amount,
    },
}

impl TopUpRule {
    /// Decides for a channel with `remaining` that costs `epoch_cost` an epoch, within what is left of the budget (`None`: no limit).
    pub fn decide(&self, remaining: Amount, epoch_cost: Amount, budget_left: Option<Amount>) -> TopUp {
        let covered = epoch_cost.times(self.below_epochs).is_some_and(|need| remaining >= need);
        let deposit = budget_left.map_or(self.by, |left| left.min(self.by));
        match (covered || self.by.is_zero(), deposit.is_zero()) {
            (true, _) => TopUp::Enough,
            (false, false) => TopUp::Deposit(deposit),
            (false, true) => TopUp::BudgetSpent { wanted: self.by },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credits(credits: u64) -> Amount {
        Amount::from_credits(credits)
    }

    #[test]
    fn a_budget_goes_on_after_a_restart_and_not_into_the_next_month() {
        let mut budget = Budget::new(Some(Amount::from_base_units(10)));
        budget.resume(UnixMs(5 * MONTH_MS), Amount::from_base_units(7));
        assert_eq!(budget.left(UnixMs(5 * MONTH_MS + 1)), Some(Amount::from_base_units(3)));
        assert_eq!(budget.left(UnixMs(6 * MONTH_MS)), Some(Amount::from_base_units(10)));
    }

    #[test]
    fn a_month_has_one_budget_and_a_bucket_its_cap() {
        let mut budget = Budget::new(Some(credits(10)));
        budget.cap("photos", Some(credits(3))).expect("room");
        let now = UnixMs(5 * MONTH_MS + 7);
        assert_eq!(budget.charge(now, Some("photos"), credits(3)), Ok(()));
        let error = BudgetError::Bucket { bucket: "photos".into(), cost: credits(1), spent: credits(3), max: credits(3) };
        assert_eq!(budget.charge(now, Some("photos"), credits(1)), Err(error));
        assert_eq!(budget.charge(now, Some("other"), credits(6)), Ok(()));
        assert_eq!(budget.charge(now, None, credits(1)), Ok(()));
        let error = BudgetError::Month { cost: credits(1), spent: credits(10), max: credits(10) };
        assert_eq!(budget.charge(now, None, credits(1)), Err(error));
        assert_eq!((budget.left(now), budget.spent(now)), (Some(Amount::ZERO), credits(10)));
        let next = UnixMs(6 * MONTH_MS);
        assert_eq!(budget.left(next), Some(credits(10)));
        assert_eq!(budget.charge(next, Some("photos"), credits(2)), Ok(()));
        assert_eq!(budget.left(now), Some(credits(8)), "a clock that goes back gives nothing back");
        assert!(budget.charge(now, Some("photos"), credits(2)).is_err());
        budget.cap("photos", None).expect("no cap");
        assert_eq!(budget.charge(now, Some("photos"), credits(2)), Ok(()));
    }

    #[test]
    fn no_limit_is_no_limit_but_for_what_can_be_counted() {
        let mut budget = Budget::new(None);
        assert_eq!(budget.charge(UnixMs(0), None, Amount::MAX), Ok(()));
        assert_eq!(budget.left(UnixMs(0)), None);
        let error = BudgetError::Overflow { cost: credits(1), spent: Amount::MAX };
        assert_eq!(budget.charge(UnixMs(0), None, credits(1)), Err(error));
        for bucket in 0..BUCKETS_MAX {
            budget.cap(&bucket.to_string(), Some(credits(1))).expect("room");
        }
        assert_eq!(budget.cap("one more", Some(credits(1))), Err(BudgetError::TooManyBuckets));
        assert_eq!(budget.cap("0", Some(credits(2))), Ok(()));
    }

    #[test]
    fn a_channel_is_topped_up_before_it_runs_dry_and_within_the_budget() {
        let rule = TopUpRule { below_epochs: 5, by: credits(10) };
        let cases = [
            (5, 1, None, TopUp::Enough),
            (4, 1, None, TopUp::Deposit(credits(10))),
            (0, 0, None, TopUp::Enough),
            (4, 1, Some(3), TopUp::Deposit(credits(3))),
            (4, 1, Some(30), TopUp::Deposit(credits(10))),
            (4, 1, Some(0), TopUp::BudgetSpent { wanted: credits(10) }),
            (50, 1, Some(0), TopUp::Enough),
        ];
        for (remaining, cost, left, expected) in cases {
            let decided = rule.decide(credits(remaining), credits(cost), left.map(credits));
            assert_eq!(decided, expected, "{remaining} left at {cost} an epoch, budget {left:?}");
        }
        assert_eq!(
            rule.decide(Amount::MAX, Amount::MAX, None),
            TopUp::Deposit(credits(10)),
            "more than can be counted is not covered"
        );
        assert_eq!(TopUpRule { by: Amount::ZERO, ..rule }.decide(Amount::ZERO, credits(1), None), TopUp::Enough);
    }

    proptest! {
        #[test]
        fn a_budget_is_never_exceeded(max in 0u128..1000, cap in 0u128..1000, charges in prop::collection::vec((0u64..3, any::<bool>(), 0u128..300), 0..50)) {
            let mut budget = Budget::new(Some(Amount::from_base_units(max)));
            budget.cap("b", Some(Amount::from_base_units(cap))).expect("room");
            let (mut month, mut spent, mut in_bucket) = (0, 0u128, 0u128);
            for (later, bucket, cost) in charges {
                if later == 2 {
                    (month, spent, in_bucket) = (month + 1, 0, 0);
                }
                let ok = spent + cost <= max && (!bucket || in_bucket + cost <= cap);
                let charged = budget.charge(UnixMs(month * MONTH_MS), bucket.then_some("b"), Amount::from_base_units(cost));
                prop_assert_eq!(charged.is_ok(), ok);
                if ok {
                    spent += cost;
                    in_bucket += if bucket { cost } else { 0 };
                }
                prop_assert_eq!(budget.spent(UnixMs(month * MONTH_MS)), Amount::from_base_units(spent));
            }
        }
    }
}
