//! Genesis: which contracts a local or private chain has, at which addresses, and the transactions that put them there.
//!
//! The deployer's key is public, so that anybody can repeat the deployment on another private chain (anvil in CI) and gets the same
//! addresses. Never: give that key anything of worth. Limits: a chain on which the deployer has sent nothing.

use alloy_consensus::{TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, TxKind, U256, keccak256};
use alloy_sol_types::SolValue;
use cairn_types::{Address, WalletKey};
use serde::{Deserialize, Serialize};

use crate::wire::{evm, ours, sign};

/// Chain id of an embedded chain unless its operator says otherwise.
pub const CHAIN_ID: u64 = 52_114;
/// Gas of one deployment.
pub const DEPLOY_GAS: u64 = 8_000_000;
/// Base units that can ever be: a thousand million credits.
const CAP: u128 = 1_000_000_000 * 1_000_000_000_000_000_000;
const DEPLOYER_LABEL: &str = "cairn/genesis/1";

/// Where our contracts are on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    /// Credits.
    pub token: Address,
    /// Gives credits away; only a local or private chain has one.
    pub faucet: Option<Address>,
    /// Payment channels.
    pub channels: Address,
    /// Registered providers and their collateral.
    pub providers: Address,
    /// Disputes.
    pub court: Address,
}

impl Contracts {
    /// The addresses on every chain that [`deployments`] made.
    pub fn at_genesis() -> Contracts {
        Contracts::made_by(deployer().address(), 0, true)
    }

    /// The addresses of contracts that `deployer` makes one after the other from its `nonce` on, with or without a faucet.
    pub fn made_by(deployer: Address, nonce: u64, faucet: bool) -> Contracts {
        let at = |place: u64| ours(evm(deployer).create(nonce + place));
        let after = 1 + u64::from(faucet);
        Contracts {
            token: at(0),
            faucet: faucet.then(|| at(1)),
            channels: at(after),
            providers: at(after + 1),
            court: at(after + 2),
        }
    }

    /// Names and addresses, in the order in which they are made.
    pub fn named(&self) -> Vec<(&'static str, Address)> {
        let faucet = self.faucet.map(|faucet| ("Faucet", faucet));
        let rest = [("Channels", self.channels), ("Providers", self.providers), ("Court", self.court)];
        [("CreditToken", self.token)].into_iter().chain(faucet).chain(rest).collect()
    }
}

/// The public key pair that deploys.
pub fn deployer() -> WalletKey {
    WalletKey::from_secret(&keccak256(DEPLOYER_LABEL).0).expect("the hash of this label is below the curve's order")
}

/// One contract to be made by the deployer; its place in the list is its nonce.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Of the contract.
    pub name: &'static str,
    /// Code of the constructor with its arguments.
    pub init_code: Bytes,
}

#[derive(Deserialize)]
struct Artefact {
    bytecode: Bytes,
}

/// The contracts of genesis in the order of the deployer's nonces.
pub fn deployments() -> Vec<Deployment> {
    let at = Contracts::at_genesis();
    deployments_at(&at, at.faucet.expect("genesis has a faucet"))
}

/// Contracts for these addresses, in the order of [`Contracts::named`]; `minter` may make credits.
pub fn deployments_at(at: &Contracts, minter: Address) -> Vec<Deployment> {
    let (token, providers, court, channels) = (evm(at.token), evm(at.providers), evm(at.court), evm(at.channels));
    let faucet = || deployment("Faucet", include_str!("../../../contracts/artifacts/Faucet.json"), token.abi_encode());
    let mut made = vec![deployment(
        "CreditToken",
        include_str!("../../../contracts/artifacts/CreditToken.json"),
        (evm(minter), U256::from(CAP)).abi_encode(),
    )];
    made.extend(at.faucet.map(|_| faucet()));
    made.extend([
        deployment("Channels", include_str!("../../../contracts/artifacts/Channels.json"), token.abi_encode()),
        deployment("Providers", include_str!("../../../contracts/artifacts/Providers.json"), (token, court).abi_encode()),
        deployment("Court", include_str!("../../../contracts/artifacts/Court.json"), (token, providers, channels).abi_encode()),
    ]);
    made
}

/// A deployment as a signed transaction, for a chain that is not ours. `fee_max`: for a unit of gas.
pub fn deploy_raw(deployment: &Deployment, chain_id: u64, nonce: u64, fee_max: u128, key: &WalletKey) -> Vec<u8> {
    deploy(deployment, chain_id, nonce, fee_max, key).encoded_2718()
}

pub(crate) fn deploy(deployment: &Deployment, chain_id: u64, nonce: u64, fee_max: u128, key: &WalletKey) -> TxEnvelope {
    let tx = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: DEPLOY_GAS,
        max_fee_per_gas: fee_max,
        to: TxKind::Create,
        input: deployment.init_code.clone(),
        ..TxEip1559::default()
    };
    sign(tx, key)
}

fn deployment(name: &'static str, artefact: &str, arguments: Vec<u8>) -> Deployment {
    let artefact: Artefact = serde_json::from_str(artefact).expect("a checked-in artefact has bytecode");
    Deployment { name, init_code: [artefact.bytecode.as_ref(), &arguments].concat().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_fixed() {
        let at = Contracts::at_genesis();
        let found = [deployer().address(), at.token, at.faucet.expect("has one"), at.channels, at.providers, at.court];
        let found = found.map(|address| address.to_string());
        let expected = [
            "0x299B1579404e26684A6040907f0672D157Fba21C",
            "0x3A6C926B39eb5aaA1C773870924a89e121b4068e",
            "0xb2F9Eb36a7470b474e7BceBaa0649459e1fcFb7C",
            "0x4AfE89A8343a97293149bC4c50b3c2d779260D05",
            "0x16eaB14D5880856Dbd2cdfA645D87837E5Cc6CF9",
            "0x129Ce36DAdD53dD7b516bF651242bB25Bf004F37",
        ];
        assert_eq!(found, expected);
    }
}
