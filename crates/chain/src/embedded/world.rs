//! World: the state as the EVM reads it, out of rows; and the rows that change when the EVM has run.
//!
//! An address without a row has a balance of [`GRANT`]: gas costs nothing here (the base fee is zero), but wallets refuse to sign for an
//! account that cannot pay. An address that has spent, or was destroyed, has a row, so nobody is granted twice.
//! Never: decides what a transaction may do. Limits: see [`super::limits`].

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use revm::Database;
use revm::bytecode::Bytecode;
use revm::state::{AccountInfo, EvmState};

use super::journal::{JournalError, View, account_row, slot_row};

/// What every address begins with, in the smallest unit of the chain's own coin. It buys nothing.
pub const GRANT: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);
const ACCOUNT_VERSION: u8 = 1;
const ACCOUNT_LEN: usize = 1 + 8 + 32 + 32;

/// Where rows are read from.
pub(super) trait Rows {
    fn row(&self, row: &[u8]) -> Result<Option<Vec<u8>>, JournalError>;
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, JournalError>;
    fn block_hash(&self, number: u64) -> Result<B256, JournalError>;
}

/// The state after block `number`.
pub(super) struct At<'a, 'b> {
    pub(super) view: &'a View<'b>,
    pub(super) number: u64,
}

impl Rows for At<'_, '_> {
    fn row(&self, row: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        self.view.row_at(row, self.number)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, JournalError> {
        self.view.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, JournalError> {
        Ok(self.view.block(number)?.map_or(B256::ZERO, |block| block.hash))
    }
}

/// [`Rows`] as revm reads them.
pub(super) struct World<R>(pub(super) R);

impl<R: Rows> World<R> {
    pub(super) fn account(&self, address: &Address) -> Result<AccountInfo, JournalError> {
        match self.0.row(&account_row(address))? {
            None => Ok(AccountInfo { balance: GRANT, nonce: 0, code_hash: KECCAK256_EMPTY, code: None, account_id: None }),
            Some(row) => decode_account(&row),
        }
    }

    pub(super) fn slot(&self, address: &Address, slot: &U256) -> Result<U256, JournalError> {
        match self.0.row(&slot_row(address, slot))? {
            None => Ok(U256::ZERO),
            Some(value) => {
                let value: [u8; 32] = value.try_into().map_err(|_| damaged("a slot is not 32 bytes"))?;
                Ok(U256::from_be_bytes(value))
            }
        }
    }

    pub(super) fn code(&self, hash: &B256) -> Result<Bytes, JournalError> {
        if *hash == KECCAK256_EMPTY || hash.is_zero() {
            return Ok(Bytes::new());
        }
        self.0.code(hash)?.ok_or_else(|| damaged("code is missing"))
    }
}

impl<R: Rows> Database for World<R> {
    type Error = JournalError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, JournalError> {
        self.account(&address).map(Some)
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, JournalError> {
        self.code(&hash).map(Bytecode::new_raw)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, JournalError> {
        self.slot(&address, &slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, JournalError> {
        self.0.block_hash(number)
    }
}

/// One row that a transaction changed.
pub(super) struct Change {
    pub(super) row: Vec<u8>,
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Option<Vec<u8>>,
}

/// All rows that a transaction changed, and the code that it made.
pub(super) type Changes = (Vec<Change>, Vec<(B256, Bytes)>);

/// Rows and code that follow from what the EVM has changed, in the order of their addresses.
pub(super) fn changes<R: Rows>(rows: &R, state: EvmState) -> Result<Changes, JournalError> {
    let (mut changed, mut codes) = (Vec::new(), Vec::new());
    let mut accounts: Vec<_> = state.into_iter().filter(|(_, account)| account.is_touched()).collect();
    accounts.sort_by_key(|(address, _)| *address);
    for (address, account) in accounts {
        // Since Cancun only a contract made in the same transaction is destroyed, so it has no slots in the journal.
        let destroyed = account.is_selfdestructed();
        let info = if destroyed { AccountInfo { balance: U256::ZERO, ..AccountInfo::default() } } else { account.info };
        let row = account_row(&address);
        let before = rows.row(&row)?;
        let after = encode_account(&info);
        let granted = before.is_none() && info.nonce == 0 && info.balance == GRANT && info.code_hash == KECCAK256_EMPTY;
        if !granted && before.as_deref() != Some(after.as_slice()) {
            changed.push(Change { row, before, after: Some(after) });
        }
        if let Some(code) = info.code.filter(|code| !code.is_empty()) {
            codes.push((info.code_hash, code.original_bytes()));
        }
        if destroyed {
            continue;
        }
        let mut slots: Vec<_> = account.storage.into_iter().filter(|(_, slot)| slot.is_changed()).collect();
        slots.sort_by_key(|(slot, _)| *slot);
        for (slot, value) in slots {
            let row = slot_row(&address, &slot);
            let before = rows.row(&row)?;
            let after = (!value.present_value.is_zero()).then(|| value.present_value.to_be_bytes::<32>().to_vec());
            changed.push(Change { row, before, after });
        }
    }
    Ok((changed, codes))
}

pub(super) fn encode_account(info: &AccountInfo) -> Vec<u8> {
    let mut row = Vec::with_capacity(ACCOUNT_LEN);
    row.push(ACCOUNT_VERSION);
    row.extend(info.nonce.to_be_bytes());
    row.extend(info.balance.to_be_bytes::<32>());
    row.extend(info.code_hash);
    row
}

fn decode_account(row: &[u8]) -> Result<AccountInfo, JournalError> {
    if row.len() != ACCOUNT_LEN || row[0] != ACCOUNT_VERSION {
        return Err(damaged("an account has a wrong length or version"));
    }
    let (nonce, rest) = row[1..].split_at(8);
    let (balance, code_hash) = rest.split_at(32);
    Ok(AccountInfo {
        balance: U256::from_be_slice(balance),
        nonce: u64::from_be_bytes(nonce.try_into().expect("split at eight")),
        code_hash: B256::from_slice(code_hash),
        code: None,
        account_id: None,
    })
}

fn damaged(reason: &str) -> JournalError {
    JournalError::Damaged { table: "state", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_reads_back_and_its_bytes_are_fixed() {
        let info = AccountInfo { balance: GRANT, nonce: 7, code_hash: B256::repeat_byte(9), code: None, account_id: None };
        let row = encode_account(&info);
        crate::golden::check("account", &row);
        assert_eq!(decode_account(&row).expect("its own bytes"), info);
        crate::golden::check("slot", &slot_row(&Address::repeat_byte(1), &U256::from(2)));
        assert!(decode_account(&row[1..]).is_err());
    }
}
