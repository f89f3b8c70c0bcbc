//! Deployer: puts our contracts on a chain, and gives wallets coin and credits there; for a person's command, not for a daemon.
//!
//! Each transaction is waited for before the next. One that breaks off leaves contracts that nobody names: deploying again makes new ones.
//! Never: keeps a key or a queue on disk. Limits: [`MINED_IN`] for a transaction.

use std::time::{Duration, Instant};

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, TxKind, U64, U256};
use alloy_sol_types::SolCall;
use cairn_types::{Address, Amount, WalletKey};
use serde_json::{Value, json};

use crate::bindings::CreditToken;
use crate::deployed::{self, Deployed, DeployedError};
use crate::endpoint::{Endpoint, EndpointConfig, EndpointError};
use crate::genesis::{Contracts, deployments_at};
use crate::wire::{self, evm};

/// How long a transaction is waited for.
pub const MINED_IN: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);

/// Why something is not on the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployerError {
    /// The node.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// What is there is not ours.
    #[error(transparent)]
    Deployed(#[from] DeployedError),
    /// Too little coin.
    #[error("{wallet} has {balance} of the chain's smallest unit of coin, {needed} are needed for gas")]
    NoCoin {
        /// Who pays.
        wallet: Address,
        /// It has.
        balance: u128,
        /// It needs.
        needed: u128,
    },
    /// Mined, and without effect.
    #[error("{what} failed on the chain")]
    Reverted {
        /// Which transaction.
        what: String,
    },
    /// Not mined in time.
    #[error("{what} was not mined within {} s", MINED_IN.as_secs())]
    NotMined {
        /// Which transaction.
        what: String,
    },
    /// The key sent something else meanwhile.
    #[error("{0} is not where it was to be: this key sends other transactions too")]
    Elsewhere(&'static str),
}

/// A key with coin on a chain.
#[derive(Clone)]
pub struct Deployer {
    endpoint: Endpoint,
    key: WalletKey,
}

struct Mined {
    number: u64,
    made: Option<Address>,
}

impl Deployer {
    /// Asks the node at `url` which chain it serves; the key is used there.
    ///
    /// # Errors
    /// [`DeployerError::Endpoint`].
    pub async fn open(url: &str, key: WalletKey) -> Result<Deployer, DeployerError> {
        let asked = Endpoint::new(EndpointConfig::new(url, 0))?;
        let chain_id: U64 = asked.ask("eth_chainId", json!([])).await?;
        Ok(Deployer { endpoint: Endpoint::new(EndpointConfig::new(url, chain_id.to()))?, key })
    }

    /// The chain.
    pub fn chain_id(&self) -> u64 {
        self.endpoint.chain_id()
    }

    /// Who pays for gas.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Puts all our contracts there. With a faucet anybody gets credits for nothing; without one this key alone makes them.
    ///
    /// # Errors
    /// [`DeployerError`].
    pub async fn deploy(&self, faucet: bool, confirmations: u64) -> Result<Deployed, DeployerError> {
        let nonce = self.endpoint.nonce_pending(evm(self.address())).await?;
        let contracts = Contracts::made_by(self.address(), nonce, faucet);
        let minter = contracts.faucet.unwrap_or(self.address());
        let mut first_block = None;
        for (deployment, (name, address)) in deployments_at(&contracts, minter).into_iter().zip(contracts.named()) {
            let mined = self.send(TxKind::Create, U256::ZERO, deployment.init_code, name).await?;
            if mined.made != Some(address) {
                return Err(DeployerError::Elsewhere(name));
            }
            first_block.get_or_insert(mined.number);
            tracing::info!(contract = name, %address, "deployed");
        }
        let deployed = Deployed::new(self.chain_id(), first_block.unwrap_or_default(), confirmations, contracts);
        self.verify(&deployed).await?;
        Ok(deployed)
    }

    /// Makes sure that contracts are on this chain and what we ship.
    ///
    /// # Errors
    /// [`DeployerError::Deployed`].
    pub async fn verify(&self, deployed: &Deployed) -> Result<(), DeployerError> {
        let (expected, found) = (deployed.chain_id, self.chain_id());
        if expected != found {
            return Err(EndpointError::OtherChain { expected, found }.into());
        }
        Ok(deployed::verify(&self.endpoint, &deployed.contracts).await?)
    }

    /// Coin of `owner`, in its smallest unit.
    ///
    /// # Errors
    /// [`DeployerError::Endpoint`].
    pub async fn coin(&self, owner: Address) -> Result<u128, DeployerError> {
        Ok(u128::try_from(self.endpoint.coin_balance(evm(owner)).await?).unwrap_or(u128::MAX))
    }

    /// Credits of `owner`.
    ///
    /// # Errors
    /// [`DeployerError`].
    pub async fn credits(&self, contracts: &Contracts, owner: Address) -> Result<Amount, DeployerError> {
        let other = || DeployedError::OtherCode { name: "CreditToken", address: contracts.token, chain_id: self.chain_id() };
        let call = CreditToken::balanceOfCall { account: evm(owner) }.abi_encode();
        let answer = self.endpoint.view(evm(contracts.token), call.into()).await?;
        let found = CreditToken::balanceOfCall::abi_decode_returns(&answer).map_err(|_| other())?;
        Ok(Amount::from_base_units(u128::try_from(found).map_err(|_| other())?))
    }

    /// Sends coin.
    ///
    /// # Errors
    /// [`DeployerError`].
    pub async fn give_coin(&self, to: Address, amount: u128) -> Result<(), DeployerError> {
        let what = format!("the coin for {to}");
        self.send(TxKind::Call(evm(to)), U256::from(amount), Bytes::new(), &what).await.map(drop)
    }

    /// Sends credits; where this key may make credits, new ones.
    ///
    /// # Errors
    /// [`DeployerError`].
    pub async fn give_credits(&self, contracts: &Contracts, to: Address, amount: Amount) -> Result<(), DeployerError> {
        let value = U256::from(amount.base_units());
        let input = match deployed::minter(&self.endpoint, contracts.token).await? == self.address() {
            true => CreditToken::mintCall { to: evm(to), amount: value }.abi_encode(),
            false => CreditToken::transferCall { to: evm(to), value }.abi_encode(),
        };
        let what = format!("the credits for {to}");
        self.send(TxKind::Call(evm(contracts.token)), U256::ZERO, input.into(), &what).await.map(drop)
    }

    async fn send(&self, to: TxKind, value: U256, input: Bytes, what: &str) -> Result<Mined, DeployerError> {
        let from = evm(self.address());
        let nonce = self.endpoint.nonce_pending(from).await?;
        let base: u128 = self.endpoint.newest().await?.base_fee_per_gas.map(|fee| fee.to()).unwrap_or_default();
        let priority = self.endpoint.priority_fee().await?;
        let mut call = json!({"from": from, "value": wire::quantity(value), "data": input});
        if let TxKind::Call(to) = to {
            call["to"] = json!(to);
        }
        let gas: u64 = self.endpoint.ask::<U64>("eth_estimateGas", json!([call])).await?.to();
        let gas = gas.saturating_add(gas / 4);
        let max_fee = base.saturating_mul(2).saturating_add(priority);
        let (balance, needed) = (self.coin(self.address()).await?, u128::from(gas).saturating_mul(max_fee));
        if balance < needed {
            return Err(DeployerError::NoCoin { wallet: self.address(), balance, needed });
        }
        let tx = TxEip1559 {
            chain_id: self.chain_id(),
            nonce,
            gas_limit: gas,
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: priority,
            to,
            value,
            input,
            ..TxEip1559::default()
        };
        let hash = self.endpoint.send_raw(&wire::sign(tx, &self.key).encoded_2718().into()).await?;
        let begun = Instant::now();
        while begun.elapsed() < MINED_IN {
            let receipt: Value = self.endpoint.ask("eth_getTransactionReceipt", json!([hash])).await?;
            if !receipt.is_null() {
                return mined(&receipt).ok_or_else(|| DeployerError::Reverted { what: what.to_owned() });
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(DeployerError::NotMined { what: what.to_owned() })
    }
}

/// What a receipt says; nothing when the transaction had no effect.
fn mined(receipt: &Value) -> Option<Mined> {
    let number = receipt["blockNumber"].as_str().and_then(wire::parse_u64)?;
    let made = receipt["contractAddress"].as_str().and_then(|address| address.parse().ok());
    (receipt["status"] == "0x1").then_some(Mined { number, made })
}
