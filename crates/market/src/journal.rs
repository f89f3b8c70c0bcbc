//! Journal: where every credit came from and went, in double entry.
//!
//! A debit brings credits into an account, a credit takes them out. Every entry's debits equal its credits, so nothing appears or
//! vanishes: the sum over all accounts but [`Account::Outside`] is what came from outside less what went there.
//! Small movements of one kind, such as vouchers, may grow into one entry; old entries may be rolled up into an [`Opening`]. Neither changes
//! any sum. Never: an entry posted in part, or an account below zero. Limits: [`LINES_MAX`] lines an entry, [`MEMO_LEN_MAX`] bytes a memo.

mod opening;

use std::collections::{BTreeMap, BTreeSet};

use cairn_types::{Amount, ChannelId, UnixMs};
pub use opening::Opening;
use serde::{Deserialize, Serialize};

/// Lines of one entry.
pub const LINES_MAX: usize = 16;
/// Bytes of a memo.
pub const MEMO_LEN_MAX: usize = 200;

/// A place where credits can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Account {
    /// The rest of the world; the only account that may be below zero.
    Outside,
    /// Our wallet.
    Wallet,
    /// Our deposit in a channel that we pay into, not promised yet.
    Deposit(ChannelId),
    /// Promised on a channel that we pay into, not redeemed yet.
    Promised(ChannelId),
    /// Promised to us on a channel, not redeemed yet.
    Receivable(ChannelId),
    /// Our collateral.
    Collateral,
    /// Paid for storage and reads: spent.
    Spent,
    /// Earned by storage and reads.
    Earned,
    /// Fees of the chain.
    Fees,
    /// Slashed or burned.
    Burned,
}

/// One side of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// Into the account.
    Debit(Account, Amount),
    /// Out of the account.
    Credit(Account, Amount),
}

/// A movement of credits between accounts; whatever exists is balanced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    at: UnixMs,
    memo: String,
    lines: Vec<Line>,
    /// What comes within this time and is like it is added to it; not kept.
    #[serde(skip)]
    grows_ms: u64,
}

/// An entry that cannot be posted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Too few or too many lines.
    #[error("an entry has 2 to {LINES_MAX} lines, not {0}")]
    Lines(usize),
    /// A memo too long.
    #[error("a memo has at most {MEMO_LEN_MAX} bytes, not {0}")]
    MemoLen(usize),
    /// A line of nothing.
    #[error("a line of {0:?} moves nothing")]
    Nothing(Account),
    /// Not balanced.
    #[error("debits of {debits} are not credits of {credits}")]
    Unbalanced {
        /// Sum of the debits.
        debits: Amount,
        /// Sum of the credits.
        credits: Amount,
    },
    /// More than can be counted.
    #[error("the entry moves more than an amount can hold through {0:?}")]
    Overflow(Account),
    /// Not enough in the account.
    #[error("{account:?} holds {balance}, {missing} too little")]
    Overdrawn {
        /// The account.
        account: Account,
        /// What it holds.
        balance: Amount,
        /// What is missing.
        missing: Amount,
    },
}

impl Account {
    /// The channel that it is about.
    pub fn channel(self) -> Option<ChannelId> {
        match self {
            Account::Deposit(channel) | Account::Promised(channel) | Account::Receivable(channel) => Some(channel),
            Account::Outside
            | Account::Wallet
            | Account::Collateral
            | Account::Spent
            | Account::Earned
            | Account::Fees
            | Account::Burned => None,
        }
    }
}

impl Line {
    fn parts(self) -> (bool, Account, Amount) {
        match self {
            Line::Debit(account, amount) => (true, account, amount),
            Line::Credit(account, amount) => (false, account, amount),
        }
    }
}

impl Entry {
    /// An entry whose debits equal its credits.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn new(at: UnixMs, memo: impl Into<String>, lines: Vec<Line>) -> Result<Entry, JournalError> {
        let memo = memo.into();
        if !(2..=LINES_MAX).contains(&lines.len()) {
            return Err(JournalError::Lines(lines.len()));
        }
        if memo.len() > MEMO_LEN_MAX {
            return Err(JournalError::MemoLen(memo.len()));
        }
        let (mut debits, mut credits) = (Amount::ZERO, Amount::ZERO);
        for line in &lines {
            let (Line::Debit(account, amount) | Line::Credit(account, amount)) = *line;
            if amount.is_zero() {
                return Err(JournalError::Nothing(account));
            }
            let sum = if matches!(line, Line::Debit(..)) { &mut debits } else { &mut credits };
            *sum = sum.plus(amount).ok_or(JournalError::Overflow(account))?;
        }
        if debits != credits {
            return Err(JournalError::Unbalanced { debits, credits });
        }
        Ok(Entry { at, memo, lines, grows_ms: 0 })
    }

    /// The usual entry: `amount` from one account to another.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn transfer(
        at: UnixMs,
        memo: impl Into<String>,
        from: Account,
        to: Account,
        amount: Amount,
    ) -> Result<Entry, JournalError> {
        Entry::new(at, memo, vec![Line::Debit(to, amount), Line::Credit(from, amount)])
    }

    /// The same, and an entry of this kind that was posted less than `within_ms` before takes it in, if nothing else happened to its channel
    /// in between.
    pub fn growing(self, within_ms: u64) -> Entry {
        Entry { grows_ms: within_ms, ..self }
    }

    /// This entry with the amounts of another of the same memo and accounts.
    fn with(&self, more: &Entry) -> Option<Entry> {
        if self.memo != more.memo || self.lines.len() != more.lines.len() {
            return None;
        }
        let added = self.lines.iter().zip(&more.lines).map(|(own, more)| {
            let ((is_debit, account, amount), (more_is_debit, more_account, more)) = (own.parts(), more.parts());
            let sum = amount.plus(more).filter(|_| is_debit == more_is_debit && account == more_account)?;
            Some(if is_debit { Line::Debit(account, sum) } else { Line::Credit(account, sum) })
        });
        Some(Entry { lines: added.collect::<Option<_>>()?, ..self.clone() })
    }

    /// Channels that it moves something in or out of.
    fn channels(&self) -> BTreeSet<ChannelId> {
        self.lines.iter().filter_map(|line| line.parts().1.channel()).collect()
    }

    /// When.
    pub fn at(&self) -> UnixMs {
        self.at
    }

    /// What for.
    pub fn memo(&self) -> &str {
        &self.memo
    }

    /// Its lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// All that ever went into and out of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Turnover {
    /// Into.
    pub debits: Amount,
    /// Out of.
    pub credits: Amount,
}

/// An entry as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Posted {
    /// Its number, from 0 on.
    pub number: u64,
    /// The entry.
    pub entry: Entry,
    /// What each of its accounts holds after it; [`Account::Outside`] is left out.
    pub balances: Vec<(Account, Amount)>,
}

/// The accounts after all entries so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    accounts: BTreeMap<Account, Turnover>,
    entries: u64,
    /// The latest entry of a channel, when it may still grow. Not kept over a restart.
    growing: BTreeMap<ChannelId, (u64, Entry)>,
}

impl Journal {
    /// A journal without entries.
    pub fn new() -> Journal {
        Journal::default()
    }

    /// A journal as its shell wrote it: what went through each account, and how many entries there are.
    pub fn resume(accounts: impl IntoIterator<Item = (Account, Turnover)>, entries: u64) -> Journal {
        Journal { accounts: accounts.into_iter().collect(), entries, growing: BTreeMap::new() }
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Posts an entry; the shell writes what comes back, in place of what it has under that number.
    ///
    /// # Errors
    /// [`JournalError`]; nothing is posted.
    pub fn post(&mut self, entry: Entry) -> Result<Posted, JournalError> {
        let mut changed: BTreeMap<Account, Turnover> = BTreeMap::new();
        for line in entry.lines() {
            let (Line::Debit(account, amount) | Line::Credit(account, amount)) = *line;
            let turnover = changed.entry(account).or_insert_with(|| self.turnover(account));
            let side = if matches!(line, Line::Debit(..)) { &mut turnover.debits } else { &mut turnover.credits };
            *side = side.plus(amount).ok_or(JournalError::Overflow(account))?;
        }
        let mut balances = Vec::with_capacity(changed.len());
        for (&account, turnover) in changed.iter().filter(|(account, _)| **account != Account::Outside) {
            let missing = turnover.credits.minus_or_zero(turnover.debits);
            if !missing.is_zero() {
                return Err(JournalError::Overdrawn { account, balance: self.balance(account), missing });
            }
            balances.push((account, turnover.debits.minus_or_zero(turnover.credits)));
        }
        self.accounts.extend(changed);
        let channels = entry.channels();
        let (number, entry) = self.grown(&channels, &entry).unwrap_or((self.entries, entry));
        self.entries = self.entries.max(number + 1);
        for channel in &channels {
            self.growing.remove(channel);
        }
        if let (true, Some(channel)) = (entry.grows_ms > 0 && channels.len() == 1, channels.first()) {
            self.growing.insert(*channel, (number, entry.clone()));
        }
        Ok(Posted { number, entry, balances })
    }

    /// The entry that takes `more` in, and its number.
    fn grown(&self, channels: &BTreeSet<ChannelId>, more: &Entry) -> Option<(u64, Entry)> {
        let (number, entry) = self.growing.get(channels.first()?)?;
        let is_soon = more.at >= entry.at && more.at.since_ms(entry.at) < more.grows_ms;
        Some((*number, entry.with(more).filter(|_| is_soon && channels.len() == 1)?))
    }

    /// Entries before `number` take nothing in any more.
    pub fn settle_before(&mut self, number: u64) {
        self.growing.retain(|_, (growing, _)| *growing >= number);
    }

    /// What an account holds; zero for [`Account::Outside`] as long as more came from it than went there.
    pub fn balance(&self, account: Account) -> Amount {
        let Turnover { debits, credits } = self.turnover(account);
        debits.minus_or_zero(credits)
    }

    /// What ever went into and out of an account.
    pub fn turnover(&self, account: Account) -> Turnover {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// All accounts that were ever used.
    pub fn accounts(&self) -> impl Iterator<Item = (Account, Turnover)> + '_ {
        self.accounts.iter().map(|(account, turnover)| (*account, *turnover))
    }

    /// Whether all accounts together hold what came from outside less what went there; `None` when the sums do not fit.
    pub fn is_conserved(&self) -> Option<bool> {
        let outside = self.turnover(Account::Outside);
        let held = Amount::sum(
            self.accounts.keys().filter(|account| **account != Account::Outside).map(|account| self.balance(*account)),
        )?;
        Some(held.plus(outside.debits)? == outside.credits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHANNEL: ChannelId = ChannelId([1; 32]);

    fn credits(credits: u64) -> Amount {
        Amount::from_credits(credits)
    }

    fn transfer(from: Account, to: Account, amount: u64) -> Entry {
        Entry::transfer(UnixMs(1), "test", from, to, credits(amount)).expect("balanced")
    }

    #[test]
    fn a_journal_goes_on_where_it_was_written() {
        let mut journal = Journal::new();
        let amount = Amount::from_base_units(9);
        let entry = Entry::transfer(UnixMs(1), "in", Account::Outside, Account::Wallet, amount).expect("balanced");
        journal.post(entry).expect("from outside");
        let mut resumed = Journal::resume(journal.accounts(), journal.len());
        assert_eq!(resumed, journal);
        let spend = Entry::transfer(UnixMs(2), "out", Account::Wallet, Account::Spent, amount).expect("balanced");
        assert_eq!(resumed.post(spend).map(|posted| posted.number), Ok(1));
        assert!(!resumed.is_empty() && Journal::new().is_empty());
    }

    #[test]
    fn a_clients_life_is_conserved() {
        let mut journal = Journal::new();
        journal.post(transfer(Account::Outside, Account::Wallet, 100)).expect("from outside");
        journal.post(transfer(Account::Wallet, Account::Deposit(CHANNEL), 40)).expect("enough");
        journal.post(transfer(Account::Deposit(CHANNEL), Account::Promised(CHANNEL), 15)).expect("enough");
        let lines = vec![
            Line::Debit(Account::Spent, credits(15)),
            Line::Credit(Account::Promised(CHANNEL), credits(15)),
            Line::Debit(Account::Wallet, credits(25)),
            Line::Credit(Account::Deposit(CHANNEL), credits(25)),
        ];
        let posted = journal.post(Entry::new(UnixMs(2), "closed", lines).expect("balanced")).expect("enough");
        let balances = [
            (Account::Wallet, credits(85)),
            (Account::Deposit(CHANNEL), Amount::ZERO),
            (Account::Promised(CHANNEL), Amount::ZERO),
            (Account::Spent, credits(15)),
        ];
        assert_eq!((posted.number, posted.balances.as_slice()), (3, balances.as_slice()));
        journal.post(transfer(Account::Wallet, Account::Outside, 85)).expect("enough");
        assert_eq!(journal.is_conserved(), Some(true));
        assert_eq!(Journal::resume(journal.accounts(), 5), journal);
        assert_eq!(journal.turnover(Account::Wallet), Turnover { debits: credits(125), credits: credits(125) });
    }

    #[test]
    fn entries_that_do_not_balance_do_not_exist() {
        let (one, two) = (credits(1), credits(2));
        let (debit, credit) = (Line::Debit(Account::Wallet, one), Line::Credit(Account::Outside, one));
        let new = |lines: Vec<Line>| Entry::new(UnixMs(0), "", lines).err();
        assert_eq!(new(vec![debit, credit]), None);
        assert_eq!(new(vec![debit]), Some(JournalError::Lines(1)));
        assert_eq!(new(vec![debit; 17]), Some(JournalError::Lines(17)));
        assert_eq!(new(vec![debit, debit]), Some(JournalError::Unbalanced { debits: two, credits: Amount::ZERO }));
        assert_eq!(
            new(vec![Line::Debit(Account::Wallet, two), credit]),
            Some(JournalError::Unbalanced { debits: two, credits: one })
        );
        assert_eq!(new(vec![Line::Debit(Account::Wallet, Amount::ZERO), credit]), Some(JournalError::Nothing(Account::Wallet)));
        let most = Line::Debit(Account::Wallet, Amount::MAX);
        assert_eq!(new(vec![most, most]), Some(JournalError::Overflow(Account::Wallet)));
        let long = Entry::new(UnixMs(0), "x".repeat(201), vec![debit, credit]);
        assert_eq!(long, Err(JournalError::MemoLen(201)));
    }

    #[test]
    fn no_account_goes_below_zero_and_a_refused_entry_leaves_no_trace() {
        let mut journal = Journal::new();
        journal.post(transfer(Account::Outside, Account::Wallet, 5)).expect("from outside");
        let before = journal.clone();
        let error = JournalError::Overdrawn { account: Account::Wallet, balance: credits(5), missing: credits(1) };
        assert_eq!(journal.post(transfer(Account::Wallet, Account::Spent, 6)), Err(error));
        assert_eq!(journal, before);
        let most = Entry::transfer(UnixMs(0), "", Account::Outside, Account::Fees, Amount::MAX).expect("balanced");
        assert_eq!(journal.post(most), Err(JournalError::Overflow(Account::Outside)));
        assert_eq!(journal, before);
    }

    #[test]
    fn vouchers_of_a_channel_grow_into_one_entry_until_something_else_happens_to_it() {
        let other = ChannelId([7; 32]);
        let voucher = |at: u64, channel, units: u128| {
            let amount = Amount::from_base_units(units);
            let entry = Entry::transfer(UnixMs(at), "voucher", Account::Outside, Account::Receivable(channel), amount);
            entry.expect("balanced").growing(100)
        };
        let mut journal = Journal::new();
        let mut post = |entry: Entry| {
            let posted = journal.post(entry).expect("from outside");
            (posted.number, posted.entry.at().0, posted.entry.lines()[0].parts().2.base_units())
        };
        assert_eq!(post(voucher(10, CHANNEL, 1)), (0, 10, 1));
        assert_eq!(post(voucher(20, other, 5)), (1, 20, 5), "another channel's is another entry");
        assert_eq!(post(voucher(109, CHANNEL, 2)), (0, 10, 3));
        assert_eq!(post(voucher(110, CHANNEL, 4)), (2, 110, 4), "too late for the first");
        assert_eq!(post(voucher(9, CHANNEL, 4)), (3, 9, 4), "a clock that went back");
        let redeemed =
            Entry::transfer(UnixMs(11), "redeemed", Account::Receivable(CHANNEL), Account::Wallet, Amount::from_base_units(9));
        assert_eq!(post(redeemed.expect("balanced")), (4, 11, 9));
        assert_eq!(post(voucher(12, CHANNEL, 6)), (5, 12, 6), "what was redeemed stands between");
        assert_eq!(post(voucher(21, other, 1)), (1, 20, 6));
        journal.settle_before(2);
        assert_eq!(journal.post(voucher(22, other, 1)).map(|posted| posted.number), Ok(6), "the entry that would grow is gone");
        assert_eq!(journal.turnover(Account::Receivable(CHANNEL)).debits, Amount::from_base_units(17));
        assert_eq!((journal.len(), journal.is_conserved()), (7, Some(true)));
    }

    fn account(number: u8) -> Account {
        match number {
            0 => Account::Outside,
            1 => Account::Wallet,
            2 => Account::Deposit(CHANNEL),
            3 => Account::Promised(CHANNEL),
            4 => Account::Receivable(ChannelId([2; 32])),
            5 => Account::Burned,
            _ => Account::Earned,
        }
    }

    proptest! {
        /// Whatever is posted: all accounts together hold what came in less what went out, and each equals the naive sum.
        #[test]
        fn every_credit_is_conserved(entries in prop::collection::vec(prop::collection::vec((0u8..7, 0u8..7, 0u64..50), 1..4), 0..60)) {
            let (mut journal, mut naive) = (Journal::new(), [0i128; 7]);
            for moves in entries {
                let lines = moves.iter().flat_map(|(from, to, amount)| [Line::Debit(account(*to), credits(*amount)), Line::Credit(account(*from), credits(*amount))]);
                let Ok(entry) = Entry::new(UnixMs(0), "", lines.collect()) else {
                    prop_assert!(moves.iter().any(|(_, _, amount)| *amount == 0));
                    continue;
                };
                let mut after = naive;
                for (from, to, amount) in moves {
                    after[usize::from(from)] -= i128::from(amount);
                    after[usize::from(to)] += i128::from(amount);
                }
                let possible = after[1..].iter().all(|balance| *balance >= 0);
                prop_assert_eq!(journal.post(entry).is_ok(), possible);
                naive = if possible { after } else { naive };
                for number in 1..7 {
                    prop_assert_eq!(journal.balance(account(number)), credits(naive[usize::from(number)] as u64));
                }
                prop_assert_eq!(journal.is_conserved(), Some(true));
            }
        }
    }
}
