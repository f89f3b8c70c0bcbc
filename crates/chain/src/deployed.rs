//! Deployed: where our contracts are on a chain, and whether they are what this program ships. Format: `docs/formats/deployed.md`.
//!
//! The constructors we ship are run here, at the addresses in question: what they leave behind is compared with the chain's own code to
//! the byte, so that immutable values (the token, the court, the domain of signatures) are compared too.
//! Never: a contract believed because of its address. Limits: a file of [`FILE_LEN_MAX`] bytes.

use alloy_primitives::Bytes;
use alloy_sol_types::SolCall;
use cairn_types::Address;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bindings::CreditToken;
use crate::embedded::shipped;
use crate::endpoint::{Endpoint, EndpointError};
use crate::genesis::{CHAIN_ID, Contracts};
use crate::wire::{evm, ours};

/// Bytes of a file.
pub const FILE_LEN_MAX: u64 = 4096;
const VERSION: u32 = 1;
/// Blocks on top of a transaction that a file may ask for.
pub const CONFIRMATIONS_MAX: u64 = 1000;

/// Our contracts on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    version: u32,
    /// The chain.
    pub chain_id: u64,
    /// No contract has an event before this block.
    pub first_block: u64,
    /// Blocks on top of a transaction that make it stay.
    pub confirmations: u64,
    /// Where they are.
    pub contracts: Contracts,
}

/// Why a chain, or a file about it, is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployedError {
    /// The node, or another chain than the file says.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nothing at an address.
    #[error("there is no {name} at {address} on chain {chain_id}")]
    NoCode {
        /// The contract.
        name: &'static str,
        /// Where it should be.
        address: Address,
        /// On which chain.
        chain_id: u64,
    },
    /// Something else at an address.
    #[error("the code at {address} on chain {chain_id} is not the {name} of this version of cairn")]
    OtherCode {
        /// The contract.
        name: &'static str,
        /// Where it should be.
        address: Address,
        /// On which chain.
        chain_id: u64,
    },
    /// The constructors do not fit together at these addresses.
    #[error("these contracts do not belong together: {0}")]
    Apart(String),
    /// Not the file we know.
    #[error("this is no file of contracts: {0}")]
    File(String),
}

impl DeployedError {
    /// Whether the same question may be answered otherwise later: nothing was seen of the contracts.
    pub fn is_passing(&self) -> bool {
        match self {
            DeployedError::Endpoint(error) => {
                !matches!(error, EndpointError::OtherChain { .. } | EndpointError::OtherGenesis { .. } | EndpointError::Url(_))
            }
            DeployedError::NoCode { .. } | DeployedError::OtherCode { .. } | DeployedError::Apart(_) | DeployedError::File(_) => {
                false
            }
        }
    }
}

impl Deployed {
    /// Contracts that were put on a chain, with the first block they can have said anything in.
    pub fn new(chain_id: u64, first_block: u64, confirmations: u64, contracts: Contracts) -> Deployed {
        Deployed { version: VERSION, chain_id, first_block, confirmations, contracts }
    }

    /// What every embedded chain has.
    pub fn at_genesis() -> Deployed {
        Deployed::new(CHAIN_ID, 0, 0, Contracts::at_genesis())
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`DeployedError::File`].
    pub fn parse(bytes: &[u8]) -> Result<Deployed, DeployedError> {
        let wrong = |reason: String| DeployedError::File(reason);
        if bytes.len() as u64 > FILE_LEN_MAX {
            return Err(wrong(format!("it is longer than {FILE_LEN_MAX} bytes")));
        }
        let found: Deployed = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if found.version != VERSION {
            return Err(wrong(format!("it has version {}, this program knows {VERSION}", found.version)));
        }
        if found.confirmations > CONFIRMATIONS_MAX {
            return Err(wrong(format!("{} confirmations are more than {CONFIRMATIONS_MAX}", found.confirmations)));
        }
        Ok(found)
    }

    /// The bytes of a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("numbers and addresses are JSON");
        bytes.push(b'\n');
        bytes
    }
}

/// Makes sure that the node serves the chain it is configured for and that the code of each contract is what we ship.
///
/// # Errors
/// [`DeployedError`].
pub async fn verify(endpoint: &Endpoint, contracts: &Contracts) -> Result<(), DeployedError> {
    endpoint.check_chain().await?;
    let chain_id = endpoint.chain_id();
    let mut found = Vec::new();
    for (name, address) in contracts.named() {
        let code: Bytes = endpoint.ask("eth_getCode", json!([address, "latest"])).await?;
        if code.is_empty() {
            return Err(DeployedError::NoCode { name, address, chain_id });
        }
        found.push(code);
    }
    let minter = match contracts.faucet {
        Some(faucet) => faucet,
        None => minter(endpoint, contracts.token).await?,
    };
    let expected = shipped::code(contracts, minter, chain_id).map_err(DeployedError::Apart)?;
    for (((name, address), found), expected) in contracts.named().into_iter().zip(found).zip(expected) {
        if found != expected {
            return Err(DeployedError::OtherCode { name, address, chain_id });
        }
    }
    Ok(())
}

/// Who may make credits.
pub(crate) async fn minter(endpoint: &Endpoint, token: Address) -> Result<Address, DeployedError> {
    let other = || DeployedError::OtherCode { name: "CreditToken", address: token, chain_id: endpoint.chain_id() };
    match endpoint.view(evm(token), CreditToken::minterCall {}.abi_encode().into()).await {
        Ok(answer) => CreditToken::minterCall::abi_decode_returns(&answer).map(ours).map_err(|_| other()),
        Err(error) if error.is_refusal() => Err(other()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_and_its_bytes_are_fixed() {
        let deployed = Deployed::new(31_337, 7, 2, Contracts { faucet: None, ..Contracts::at_genesis() });
        let bytes = deployed.to_bytes();
        crate::golden::check("deployed", &bytes);
        assert_eq!(Deployed::parse(&bytes), Ok(deployed));
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let good = String::from_utf8(Deployed::at_genesis().to_bytes()).expect("JSON is UTF-8");
        for (text, good) in [
            (good.clone(), true),
            (good.replace("\"version\": 1", "\"version\": 2"), false),
            (good.replace("0x3A6C", "0x3A6"), false),
            (good.replace("\"court\"", "\"courts\""), false),
            (good.replace("\"confirmations\": 0", "\"confirmations\": 1001"), false),
            (format!("{good}{}", " ".repeat(4096)), false),
            (String::new(), false),
        ] {
            assert_eq!(Deployed::parse(text.as_bytes()).is_ok(), good, "{text}");
        }
    }
}
