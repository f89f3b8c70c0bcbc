//! Shipped: the code that our constructors leave behind at given addresses, immutable values and all.
//!
//! Each constructor runs as the code of the very address it is for, so that it sees itself there; it finds the contracts made before it.
//! Never: touches a chain. Limits: the gas of a deployment.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, TxKind, U256, keccak256};
use revm::context::result::{ExecutionResult, Output};
use revm::state::AccountInfo;

use super::evm::{Call, Moment, simulate};
use super::journal::{JournalError, account_row};
use super::world::{GRANT, Rows, encode_account};
use crate::genesis::{self, Contracts, DEPLOY_GAS};
use crate::wire;

/// A state of nothing but code.
#[derive(Default)]
struct Codes {
    accounts: HashMap<Vec<u8>, B256>,
    codes: HashMap<B256, Bytes>,
}

impl Codes {
    fn put(&mut self, address: Address, code: Bytes) {
        let hash = keccak256(&code);
        self.accounts.insert(account_row(&address), hash);
        self.codes.insert(hash, code);
    }
}

impl Rows for &Codes {
    fn row(&self, row: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        let account = |hash: &B256| AccountInfo { balance: GRANT, nonce: 1, code_hash: *hash, code: None, account_id: None };
        Ok(self.accounts.get(row).map(|hash| encode_account(&account(hash))))
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, JournalError> {
        Ok(if *hash == KECCAK256_EMPTY { None } else { self.codes.get(hash).cloned() })
    }

    fn block_hash(&self, _: u64) -> Result<B256, JournalError> {
        Ok(B256::ZERO)
    }
}

/// The code of each contract, in the order of [`Contracts::named`]; or why one cannot be made there.
pub(crate) fn code(contracts: &Contracts, minter: cairn_types::Address, chain_id: u64) -> Result<Vec<Bytes>, String> {
    let mut state = Codes::default();
    let mut made = Vec::new();
    for (deployment, (name, address)) in genesis::deployments_at(contracts, minter).into_iter().zip(contracts.named()) {
        let address = wire::evm(address);
        state.put(address, deployment.init_code);
        let call = Call {
            from: Address::ZERO,
            to: TxKind::Call(address),
            value: U256::ZERO,
            input: Bytes::new(),
            gas: DEPLOY_GAS,
            access_list: Default::default(),
        };
        match simulate(&state, chain_id, Moment { number: 1, timestamp: 1 }, call) {
            Ok(ExecutionResult::Success { output: Output::Call(code), .. }) => {
                state.put(address, code.clone());
                made.push(code);
            }
            Ok(_) => return Err(format!("the constructor of {name} fails")),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_at_other_addresses_or_on_another_chain_have_other_code() {
        let at = Contracts::at_genesis();
        let minter = at.faucet.expect("genesis has one");
        let code = |at: &Contracts, chain_id| super::code(at, minter, chain_id).expect("constructors that fit");
        let here = code(&at, 1);
        assert_eq!(here, code(&at, 1));
        assert!(here.iter().all(|code| code.len() > 200));
        assert_ne!(here, code(&at, 2), "the domain of signatures names the chain");
        let moved = Contracts { channels: cairn_types::Address([9; 20]), ..at };
        let differ: Vec<bool> = code(&moved, 1).iter().zip(&here).map(|(moved, here)| moved != here).collect();
        assert_eq!(differ, [false, false, true, false, true], "the court names the channels");
    }
}
