//! The ledger of a node: its wallet on the chain, behind the roles' port `Settlement`.
//!
//! Never: a command without an id of its own. Limits: [`PATIENCE`] for a change to be confirmed.

pub mod api;
pub mod delegating;
pub mod deploy;
pub mod disputes;
pub mod earning;
pub mod paying;
pub mod register;
pub mod show;
pub mod wallet;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_chain::ledger::{ChannelRecord as OnChain, ChannelState as OnChainState};
use cairn_chain::{
    Chain, ChainConfig, ChainError, CommandId as ChainCommand, CommandState, Contracts as OnChainContracts, Deployed, Endpoint,
    StoreError, deployed,
};
use cairn_market::price::mul_div;
use cairn_market::settlement::{
    ChannelRecord, ChannelState, CommandId, Contracts, OpenChannel, ProviderRecord, Settled, Settlement, SettlementError,
};
use cairn_market::{Parties, SignedVoucher};
use cairn_types::{Address, Amount, ChannelId, NodeId, UnixSecs};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::home::Home;
use crate::outcome::{failure, report};
use crate::world::SystemClock;

/// How long a change of the ledger is waited for; it goes on after.
const PATIENCE: Duration = Duration::from_secs(60);
/// Gas of `redeemMany`: of the transaction, and of each voucher; a little above `contracts/snapshots/Gas.json`.
const REDEEM_GAS: u128 = 50_000;
const REDEEM_GAS_EACH: u128 = 25_000;
/// A whole coin in its smallest unit, as on every EVM chain.
const COIN: u64 = 1_000_000_000_000_000_000;
/// What a start may take to look at the contracts.
const VERIFY_AT_START: Duration = Duration::from_secs(3);
/// Between two looks at a ledger that was not right, or not there.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);

/// A node's wallet on a chain. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    chain: Chain,
    /// Credits that a whole coin of the chain is worth to its operator.
    coin_price: Amount,
}

/// The task that follows the chain and sends; ends when dropped.
pub struct LedgerTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl LedgerTask {
    /// Lets the round that is under way end.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await; // a worker that panicked has said so
    }
}

/// Opens the wallet of `home` on the chain at `url`, with our contracts where the file `contracts` says, else where genesis put them.
///
/// # Errors
/// The file or the chain is not what it should be. A chain that cannot be reached is no error: it is looked at until it can, and nothing is
/// sent before.
pub async fn open(home: &Home, url: &str, contracts: Option<&Path>) -> Result<(Ledger, LedgerTask)> {
    let deployed = contracts.map_or_else(|| Ok(Deployed::at_genesis()), deploy::read)?;
    let config = ChainConfig::deployed(url, &deployed, home.wallet_key(), home.path("chain"));
    // Before the wallet's books are opened, which are this chain's for good then.
    let endpoint = Endpoint::new(config.endpoint.clone()).map_err(|error| deploy::refused(error.into()))?;
    let seen = match tokio::time::timeout(VERIFY_AT_START, deployed::verify(&endpoint, &deployed.contracts)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) if !error.is_passing() => return Err(deploy::refused(error)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the ledger cannot be reached; what needs it waits");
            false
        }
        Err(_) => {
            tracing::warn!(url, "the ledger does not answer; what needs it waits");
            false
        }
    };
    let opened = tokio::task::spawn_blocking(move || Chain::open(config, Arc::new(SystemClock))).await;
    let (chain, worker) = opened.context("opening the ledger")?.map_err(|error| match error {
        ChainError::Store(StoreError::OtherOwner { .. }) => failure(
            error.to_string(),
            "give the --chain and --contracts with which this directory was begun, or another --dir: its deals are on that chain",
        ),
        other => other.into(),
    })?;
    let (stop, verified) = (CancellationToken::new(), chain.clone());
    let task = tokio::spawn({
        let stop = stop.clone();
        async move {
            if seen || until_verified(&verified, &stop).await {
                worker.run(stop).await;
            }
        }
    });
    Ok((Ledger { chain, coin_price: Amount::ZERO }, LedgerTask { stop, task }))
}

/// Looks until the chain and its contracts are the right ones; `false` when asked to stop before.
async fn until_verified(chain: &Chain, stop: &CancellationToken) -> bool {
    loop {
        match chain.verify().await {
            Ok(()) => return true,
            Err(error) if error.is_passing() => tracing::debug!(%error, "the ledger cannot be reached"),
            Err(error) => tracing::error!(error = report(&deploy::refused(error)), "nothing is sent to this ledger"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(VERIFY_PAUSE) => {}
        }
    }
}

impl Ledger {
    /// The same for an operator to whom a whole coin of the chain is worth so many credits.
    pub fn with_coin_price(self, coin_price: Amount) -> Ledger {
        Ledger { coin_price, ..self }
    }

    /// What a transaction that redeems so many vouchers costs now, in credits.
    async fn cost_of_redeeming(&self, vouchers: usize) -> Result<Amount, SettlementError> {
        if self.coin_price.is_zero() {
            return Ok(Amount::ZERO);
        }
        Ok(redeem_cost(vouchers, self.chain.gas_price().await.map_err(unavailable)?, self.coin_price))
    }

    /// The chain underneath, for what the port does not have.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Waits until a command is done.
    pub async fn done(&self, command: ChainCommand) -> Result<(), SettlementError> {
        match self.chain.finished(command, PATIENCE).await.map_err(unavailable)? {
            CommandState::Failed { reason, .. } => Err(SettlementError::Refused(reason)),
            _ => Ok(()),
        }
    }

    /// Asks the faucet of a private chain for credits; says what the wallet holds then.
    pub async fn drip(&self) -> Result<Amount, SettlementError> {
        let owner = self.chain.wallet();
        let before = self.chain.credits(owner).await.map_err(unavailable)?;
        // The faucet gives once an hour: within one hour this is one command.
        let hour = self.chain.block_time().await.map_err(unavailable)?.0 / 3600;
        let command = ChainCommand::of(&format!("faucet/{owner}/{hour}"));
        self.chain.drip(command, owner).await.map_err(|error| match error {
            ChainError::NoFaucet => SettlementError::Refused(error.to_string()),
            other => unavailable(other),
        })?;
        self.done(command).await?;
        let after = self.chain.credits(owner).await.map_err(unavailable)?;
        tracing::info!(%before, %after, "the faucet gave credits");
        Ok(after)
    }

    async fn open_now(&self, command: CommandId, open: OpenChannel) -> Result<ChannelId, SettlementError> {
        let OpenChannel { payee, signer, deposit, salt } = open;
        let parties = Parties { payer: self.chain.wallet(), payee, signer, salt };
        let id = parties.channel_id(&self.contracts().channels_domain());
        if self.chain.channel(id).await.map_err(unavailable)?.is_some() {
            return Ok(id);
        }
        let have = self.chain.credits(self.chain.wallet()).await.map_err(unavailable)?;
        if have < deposit {
            return Err(SettlementError::NotEnough { have, need: deposit });
        }
        let command = ChainCommand(command.0);
        let (channel, _) = self.chain.open_channel(command, (payee, signer, salt), deposit).await.map_err(unavailable)?;
        self.done(command).await?;
        Ok(channel)
    }
}

/// What redeeming so many vouchers costs in credits, at a price for a unit of gas and one for a whole coin.
fn redeem_cost(vouchers: usize, gas_price: u128, coin_price: Amount) -> Amount {
    let gas = REDEEM_GAS.saturating_add(REDEEM_GAS_EACH.saturating_mul(vouchers as u128));
    let cost = mul_div(gas_price.saturating_mul(gas), coin_price.base_units(), COIN);
    cost.map_or(Amount::MAX, Amount::from_base_units)
}

fn unavailable(error: ChainError) -> SettlementError {
    SettlementError::Unavailable(error.to_string())
}

fn contracts(chain_id: u64, on_chain: OnChainContracts) -> Contracts {
    let OnChainContracts { token, channels, providers, court, .. } = on_chain;
    Contracts { chain_id, token, channels, providers, court }
}

fn channel(found: OnChain) -> ChannelRecord {
    let OnChain { payer, payee, signer, deposit, settled, closes_at, state } = found;
    let state = match state {
        OnChainState::Open => ChannelState::Open,
        OnChainState::Closing => ChannelState::Closing { closes_at: closes_at.unwrap_or_default() },
        OnChainState::Closed => ChannelState::Closed,
    };
    ChannelRecord { payer, payee, signer, deposit, settled, state }
}

impl Settlement for Ledger {
    fn contracts(&self) -> Contracts {
        contracts(self.chain.chain_id(), self.chain.contracts())
    }

    fn wallet(&self) -> Address {
        self.chain.wallet()
    }

    fn balance(&self, owner: Address) -> Settled<'_, Amount> {
        Box::pin(async move { self.chain.credits(owner).await.map_err(unavailable) })
    }

    fn channel(&self, id: ChannelId) -> Settled<'_, Option<ChannelRecord>> {
        Box::pin(async move { Ok(self.chain.channel(id).await.map_err(unavailable)?.map(channel)) })
    }

    fn provider(&self, owner: Address) -> Settled<'_, Option<ProviderRecord>> {
        Box::pin(async move {
            let found = self.chain.provider(owner).await.map_err(unavailable)?;
            Ok(found.map(|found| ProviderRecord {
                node: NodeId(found.node_key),
                signer: found.signer,
                terms_hash: found.offer_hash,
                collateral: found.collateral,
                unbonding: found.unbonding,
                unbond_at: found.unbond_at.unwrap_or_default(),
            }))
        })
    }

    fn signer_valid(&self, owner: Address, signer: Address, at: UnixSecs) -> Settled<'_, bool> {
        Box::pin(async move { self.chain.signer_valid(owner, signer, at).await.map_err(unavailable) })
    }

    fn open_channel(&self, command: CommandId, open: OpenChannel) -> Settled<'_, ChannelId> {
        Box::pin(self.open_now(command, open))
    }

    fn top_up(&self, command: CommandId, channel: ChannelId, amount: Amount) -> Settled<'_, ()> {
        Box::pin(async move {
            let command = ChainCommand(command.0);
            self.chain.top_up(command, channel, amount).await.map_err(unavailable)?;
            self.done(command).await
        })
    }

    fn redeem<'a>(&'a self, command: CommandId, vouchers: &'a [SignedVoucher]) -> Settled<'a, ()> {
        Box::pin(async move {
            let command = ChainCommand(command.0);
            match vouchers {
                [SignedVoucher { mandate: Some(mandate), .. }] => {
                    self.chain.redeem_mandated(command, &vouchers[0], mandate).await.map_err(unavailable)?
                }
                own => self.chain.redeem_many(command, own).await.map_err(unavailable)?,
            };
            self.done(command).await
        })
    }

    fn redeem_cost(&self, vouchers: usize) -> Settled<'_, Amount> {
        Box::pin(self.cost_of_redeeming(vouchers))
    }

    fn request_close(&self, command: CommandId, channel: ChannelId) -> Settled<'_, ()> {
        Box::pin(async move {
            let command = ChainCommand(command.0);
            self.chain.request_close(command, channel).await.map_err(unavailable)?;
            self.done(command).await
        })
    }

    fn withdraw(&self, command: CommandId, channel: ChannelId) -> Settled<'_, ()> {
        Box::pin(async move {
            let command = ChainCommand(command.0);
            self.chain.withdraw(command, channel).await.map_err(unavailable)?;
            self.done(command).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gas_is_told_in_credits() {
        let credits = Amount::from_credits;
        for (vouchers, gas_price, coin_price, expected) in [
            (1, 2_000_000_000, credits(3000), "0.45 CRD"), // 75,000 gas at 2 gwei are 0.00015 coins
            (10, 2_000_000_000, credits(3000), "1.8 CRD"),
            (1, 0, credits(3000), "0 CRD"),
            (1, 2_000_000_000, Amount::ZERO, "0 CRD"),
        ] {
            assert_eq!(redeem_cost(vouchers, gas_price, coin_price).to_string(), expected, "{vouchers} at {gas_price}");
        }
        assert_eq!(redeem_cost(1, u128::MAX, credits(3000)), Amount::MAX, "more than can be counted is never worth it");
    }
}
