//! The journal as the rows say: where it goes on after a start, and what is not kept of it.

use cairn_market::journal::{Journal, Opening, Turnover};
use rocksdb::{DB, IteratorMode, ReadOptions};

use super::{ENTRY, Fields, LedgerError, ROLLED_UP, TURNOVER, record};

/// What went through each account, and how many entries there are.
pub(super) fn journal(db: &DB) -> Result<Journal, LedgerError> {
    let rows = |prefix: u8| {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange([prefix]));
        db.iterator_opt(IteratorMode::Start, options)
    };
    let mut accounts = Vec::new();
    for row in rows(TURNOVER) {
        let (key, value) = row?;
        accounts.push((record::get_account(&key[1..])?, turnover_of(&value)?));
    }
    let mut options = ReadOptions::default();
    options.set_iterate_range(rocksdb::PrefixRange([ENTRY]));
    let last = db.iterator_opt(IteratorMode::End, options).next().transpose()?;
    let entries = match last {
        Some((key, _)) => {
            let number: [u8; 8] = key[1..].try_into().map_err(|_| LedgerError::damaged("an entry's number"))?;
            u64::from_be_bytes(number) + 1
        }
        None => 0,
    };
    Ok(Journal::resume(accounts, entries))
}

/// What the entries came to that are not kept.
pub(super) fn opening(db: &DB) -> Result<Opening, LedgerError> {
    let mut options = ReadOptions::default();
    options.set_iterate_range(rocksdb::PrefixRange([ROLLED_UP]));
    let (mut first, mut accounts) = (0, Vec::new());
    for row in db.iterator_opt(IteratorMode::Start, options) {
        let (key, value) = row?;
        match &key[1..] {
            [] => first = Fields::of(&value)?.u64()?,
            account => accounts.push((record::get_account(account)?, turnover_of(&value)?)),
        }
    }
    Ok(Opening::resume(first, accounts))
}

fn turnover_of(value: &[u8]) -> Result<Turnover, LedgerError> {
    let mut fields = Fields::of(value)?;
    Ok(Turnover { debits: fields.amount()?, credits: fields.amount()? })
}
