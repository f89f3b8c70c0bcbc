//! Opening: what the entries that are not kept any more came to, so that the rest goes on from the right balances.
//!
//! Never: an entry taken in twice, or out of order.

use std::collections::BTreeMap;

use super::{Account, Entry, JournalError, Turnover};

/// Turnovers of all entries before a number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opening {
    first: u64,
    accounts: BTreeMap<Account, Turnover>,
}

impl Opening {
    /// As its shell wrote it: the first entry that is kept, and what went through each account before.
    pub fn resume(first: u64, accounts: impl IntoIterator<Item = (Account, Turnover)>) -> Opening {
        Opening { first, accounts: accounts.into_iter().collect() }
    }

    /// Number of the first entry that is kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// What went through each account before.
    pub fn accounts(&self) -> impl Iterator<Item = (Account, Turnover)> + '_ {
        self.accounts.iter().map(|(account, turnover)| (*account, *turnover))
    }

    /// Takes the entry of this number in, after which it need not be kept. Any other than the first that is kept is not taken in.
    ///
    /// # Errors
    /// [`JournalError::Overflow`]; nothing is taken in.
    pub fn take_in(&mut self, number: u64, entry: &Entry) -> Result<bool, JournalError> {
        if number != self.first {
            return Ok(false);
        }
        let mut after = self.accounts.clone();
        for line in entry.lines() {
            let (is_debit, account, amount) = line.parts();
            let turnover = after.entry(account).or_default();
            let side = if is_debit { &mut turnover.debits } else { &mut turnover.credits };
            *side = side.plus(amount).ok_or(JournalError::Overflow(account))?;
        }
        (self.accounts, self.first) = (after, number + 1);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use cairn_types::{Amount, ChannelId, UnixMs};
    use proptest::prelude::*;

    use super::*;
    use crate::journal::Journal;

    proptest! {
        /// Rolled up at any moment: opening and kept entries together come to what the journal says.
        #[test]
        fn nothing_is_lost_by_rolling_up(moves in prop::collection::vec((0u8..3, 1u64..100, 0u64..50), 1..60), kept in 1usize..20) {
            let channel = |number: u8| Account::Receivable(ChannelId([number; 32]));
            let (mut journal, mut opening) = (Journal::new(), Opening::default());
            let mut rows: BTreeMap<u64, Entry> = BTreeMap::new();
            for (number, amount, at) in moves {
                let amount = Amount::from_base_units(amount.into());
                let entry = Entry::transfer(UnixMs(at), "voucher", Account::Outside, channel(number), amount).expect("balanced");
                let posted = journal.post(entry.growing(10)).expect("from outside");
                prop_assert!(posted.number >= opening.first(), "an entry grew that is not there any more");
                rows.insert(posted.number, posted.entry);
                while rows.len() > kept {
                    let (number, entry) = rows.pop_first().expect("more than are kept");
                    prop_assert_eq!(opening.take_in(number, &entry), Ok(true));
                    prop_assert_eq!(opening.take_in(number, &entry), Ok(false));
                    journal.settle_before(opening.first());
                }
                let mut sums = opening.clone();
                for (number, entry) in &rows {
                    prop_assert_eq!(sums.take_in(*number, entry), Ok(true));
                }
                prop_assert!(sums.accounts().eq(journal.accounts()));
                prop_assert_eq!(sums.first(), journal.len());
            }
        }
    }
}
