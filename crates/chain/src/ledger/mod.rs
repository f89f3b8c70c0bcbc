//! Ledger: one wallet's view of a chain, for the roles: what is there, what happened, and what is to be done.
//!
//! A [`Chain`] answers at once from the node or the disk; its [`Worker`] follows and sends in the background. When the node is away, lies
//! or serves another chain, the worker rests with a typed reason, commands wait on disk, and nobody who moves data is held up.
//! Never: a command that is lost or done twice. Limits: see [`crate::sender`] and [`crate::follower`].

mod commands;
mod records;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Bytes;
use alloy_sol_types::SolCall;
use cairn_types::{Address, Amount, ChannelId, Clock, UnixSecs, WalletKey};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use commands::Registration;
pub use records::{ChannelRecord, ChannelState, DisputeRecord, DisputeState, ProviderRecord};

use crate::bindings::{self, Channels, Court, CreditToken, Providers};
use crate::deployed::{self, Deployed, DeployedError};
use crate::endpoint::{Endpoint, EndpointConfig, EndpointError};
use crate::follower::event::Notice;
use crate::follower::{FollowError, Follower, Progress};
use crate::genesis::Contracts;
use crate::sender::command::{CommandId, CommandState};
use crate::sender::queue::Queue;
use crate::sender::{Pause, Round, SendError, Sender, SenderConfig};
use crate::store::{Store, StoreError};
use crate::wire::evm;

/// Pause between looks at a command that somebody waits for.
const LOOK: Duration = Duration::from_millis(20);

/// How a ledger is opened.
#[derive(Debug, Clone)]
pub struct ChainConfig {
    /// The node.
    pub endpoint: EndpointConfig,
    /// Our contracts on its chain.
    pub contracts: Contracts,
    /// Who pays and signs.
    pub wallet: WalletKey,
    /// Directory of the ledger's own database.
    pub path: PathBuf,
    /// The block from which events are read, such as that of the contracts.
    pub first_block: u64,
    /// Pause between rounds.
    pub poll: Duration,
    /// Patience and bounds of the sender; its confirmations are the follower's too.
    pub sender: SenderConfig,
}

impl ChainConfig {
    /// For an embedded chain at `url`.
    pub fn embedded(url: impl Into<String>, wallet: WalletKey, path: PathBuf) -> ChainConfig {
        ChainConfig::deployed(url, &Deployed::at_genesis(), wallet, path)
    }

    /// For the chain at `url` with our contracts where they were deployed.
    pub fn deployed(url: impl Into<String>, deployed: &Deployed, wallet: WalletKey, path: PathBuf) -> ChainConfig {
        ChainConfig {
            endpoint: EndpointConfig::new(url, deployed.chain_id),
            contracts: deployed.contracts,
            wallet,
            path,
            first_block: deployed.first_block,
            poll: Duration::from_millis(500),
            sender: SenderConfig { confirmations: deployed.confirmations, ..SenderConfig::default() },
        }
    }
}

/// Why the ledger has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The node.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The ledger's database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue of commands.
    #[error(transparent)]
    Send(#[from] SendError),
    /// What happened on chain.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// There is no faucet on this chain.
    #[error("this chain has no faucet")]
    NoFaucet,
    /// The contract's answer cannot be read.
    #[error("the contract answers {0} with something else: is it at this address?")]
    WrongAnswer(&'static str),
    /// The command was not done in time; it goes on.
    #[error("command {0} is not done yet; it goes on")]
    NotYet(CommandId),
}

/// How the worker fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Height up to which the chain was followed.
    pub followed: Option<u64>,
    /// Commands that are not done, as of the last good round.
    pub open_commands: usize,
    /// Why nothing is signed.
    pub pause: Option<Pause>,
    /// Why the chain is not followed.
    pub follow_trouble: Option<FollowError>,
    /// Why commands are not carried out.
    pub send_trouble: Option<SendError>,
    /// The node shows less than it has shown before, at this height.
    pub behind: Option<u64>,
}

impl Health {
    /// Whether only the past can be read: nothing new is signed, no event is current.
    pub fn read_only(&self) -> bool {
        self.pause.is_some() || self.follow_trouble.is_some() || self.send_trouble.is_some() || self.behind.is_some()
    }
}

/// A wallet's ledger. Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    store: Arc<Store>,
    queue: Queue,
    contracts: Contracts,
    wallet: Address,
    wake: Arc<Notify>,
    health: watch::Receiver<Health>,
}

/// Follows and sends. There must be one for each ledger; run it for as long as the role runs.
pub struct Worker {
    follower: Follower,
    sender: Sender,
    poll: Duration,
    wake: Arc<Notify>,
    health: watch::Sender<Health>,
}

impl Chain {
    /// Opens the ledger. Blocks on the disk; the node is not asked yet.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn open(config: ChainConfig, clock: Arc<dyn Clock>) -> Result<(Chain, Worker), ChainError> {
        let ChainConfig { endpoint, contracts, wallet, path, first_block, poll, sender } = config;
        let address = wallet.address();
        let owner = format!("chain {} channels {} wallet {address}", endpoint.chain_id, contracts.channels);
        let (endpoint, store) = (Endpoint::new(endpoint)?, Arc::new(Store::open(&path, &owner)?));
        let depth = (first_block, sender.confirmations);
        let follower = Follower::open(endpoint.clone(), store.clone(), contracts, address, depth)?;
        let (queue, wake, (told, health)) =
            (Queue::new(store.clone()), Arc::new(Notify::new()), watch::channel(Health::default()));
        let sender = Sender::new(endpoint.clone(), queue.clone(), wallet, sender, clock);
        let worker = Worker { follower, sender, poll, wake: wake.clone(), health: told };
        let inner = Inner { endpoint, store, queue, contracts, wallet: address, wake, health };
        Ok((Chain { inner: Arc::new(inner) }, worker))
    }

    /// The wallet's address.
    pub fn wallet(&self) -> Address {
        self.inner.wallet
    }

    /// Our contracts.
    pub fn contracts(&self) -> Contracts {
        self.inner.contracts
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.inner.endpoint.chain_id()
    }

    /// How the worker fares.
    pub fn health(&self) -> Health {
        self.inner.health.borrow().clone()
    }

    /// Makes sure that the node serves our chain and that its contracts are the ones we ship.
    ///
    /// # Errors
    /// [`DeployedError`].
    pub async fn verify(&self) -> Result<(), DeployedError> {
        deployed::verify(&self.inner.endpoint, &self.inner.contracts).await
    }

    /// Time of the newest block. Promises dated later than this are from the future.
    ///
    /// # Errors
    /// The node.
    pub async fn block_time(&self) -> Result<UnixSecs, ChainError> {
        Ok(UnixSecs(self.inner.endpoint.newest().await?.timestamp()))
    }

    /// Credits of `owner` outside of channels and collateral.
    ///
    /// # Errors
    /// The node.
    pub async fn credits(&self, owner: Address) -> Result<Amount, ChainError> {
        let found =
            self.look(self.inner.contracts.token, CreditToken::balanceOfCall { account: evm(owner) }, "balanceOf").await?;
        Ok(Amount::from_base_units(found.try_into().map_err(|_| ChainError::WrongAnswer("balanceOf"))?))
    }

    /// The chain's own coin of `owner`, in its smallest unit; pays for gas.
    ///
    /// # Errors
    /// The node.
    pub async fn coin(&self, owner: Address) -> Result<u128, ChainError> {
        let found = self.inner.endpoint.coin_balance(evm(owner)).await?;
        Ok(u128::try_from(found).unwrap_or(u128::MAX))
    }

    /// What a unit of gas costs now, in the smallest unit of the chain's own coin.
    ///
    /// # Errors
    /// The node.
    pub async fn gas_price(&self) -> Result<u128, ChainError> {
        let base: u128 = self.inner.endpoint.newest().await?.base_fee_per_gas.map(|fee| fee.to()).unwrap_or_default();
        Ok(base.saturating_add(self.inner.endpoint.priority_fee().await?))
    }

    /// A channel; none if it was never opened.
    ///
    /// # Errors
    /// The node.
    pub async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRecord>, ChainError> {
        let found = self.look(self.inner.contracts.channels, Channels::channelCall { id: id.0.into() }, "channel").await?;
        ChannelRecord::of(found).ok_or(ChainError::WrongAnswer("channel"))
    }

    /// A provider; none if it is not registered.
    ///
    /// # Errors
    /// The node.
    pub async fn provider(&self, owner: Address) -> Result<Option<ProviderRecord>, ChainError> {
        let found = self.look(self.inner.contracts.providers, Providers::providerCall { owner: evm(owner) }, "provider").await?;
        Ok(ProviderRecord::of(found))
    }

    /// Whether a promise of `owner`, signed by `signer` and dated `at`, binds it.
    ///
    /// # Errors
    /// The node.
    pub async fn signer_valid(&self, owner: Address, signer: Address, at: UnixSecs) -> Result<bool, ChainError> {
        let call = Providers::signerValidCall { owner: evm(owner), signer: evm(signer), at: at.0 };
        self.look(self.inner.contracts.providers, call, "signerValid").await
    }

    /// A dispute; none if there never was one with this id.
    ///
    /// # Errors
    /// The node.
    pub async fn dispute(&self, id: [u8; 32]) -> Result<Option<DisputeRecord>, ChainError> {
        let found = self.look(self.inner.contracts.court, Court::disputeCall { id: id.into() }, "dispute").await?;
        DisputeRecord::of(found).ok_or(ChainError::WrongAnswer("dispute"))
    }

    /// What the court remembers of a channel.
    ///
    /// # Errors
    /// The node.
    pub async fn docket(&self, channel: ChannelId) -> Result<bindings::Docket, ChainError> {
        self.look(self.inner.contracts.court, Court::docketCall { channelId: channel.0.into() }, "docket").await
    }

    /// Which leaf of the inventory draw `index` of a revealed dispute asks for.
    ///
    /// # Errors
    /// The node.
    pub async fn drawn(&self, id: [u8; 32], index: u8) -> Result<u64, ChainError> {
        self.look(self.inner.contracts.court, Court::drawnCall { id: id.into(), i: index }, "drawn").await
    }

    /// How far a command is; none if nobody knows of it.
    ///
    /// # Errors
    /// The database.
    pub async fn command(&self, id: CommandId) -> Result<Option<CommandState>, ChainError> {
        Ok(self.inner.queue.state(id).await?)
    }

    /// Waits until a command is done or has failed.
    ///
    /// # Errors
    /// [`ChainError::NotYet`] after `patience`.
    pub async fn finished(&self, id: CommandId, patience: Duration) -> Result<CommandState, ChainError> {
        let waited = tokio::time::timeout(patience, async {
            loop {
                match self.command(id).await {
                    Ok(Some(state)) if state.is_final() => return Ok(state),
                    Ok(_) => tokio::time::sleep(LOOK).await,
                    Err(error) => return Err(error),
                }
            }
        });
        waited.await.unwrap_or(Err(ChainError::NotYet(id)))
    }

    /// What happened after notice `after` (0 from the beginning), oldest first, at most `max`. A reader keeps the last `seq` it has
    /// dealt with in the same batch as what it made of it.
    ///
    /// # Errors
    /// [`FollowError::Older`] when the ledger's database is older than the reader.
    pub async fn notices(&self, after: u64, max: usize) -> Result<Vec<Notice>, ChainError> {
        let (store, contracts, wallet) = (self.inner.store.clone(), self.inner.contracts, self.inner.wallet);
        let read = tokio::task::spawn_blocking(move || Follower::notices(&store, &contracts, wallet, after, max));
        Ok(read.await.map_err(|_| FollowError::Stopping)??)
    }

    /// Drops notices up to `seq`, some at a time.
    ///
    /// # Errors
    /// The database.
    pub async fn forget_notices(&self, seq: u64) -> Result<(), ChainError> {
        let store = self.inner.store.clone();
        let done = tokio::task::spawn_blocking(move || Follower::forget_notices(&store, seq));
        Ok(done.await.map_err(|_| FollowError::Stopping)??)
    }

    async fn look<C: SolCall>(&self, contract: Address, call: C, name: &'static str) -> Result<C::Return, ChainError> {
        let answer: Bytes = self.inner.endpoint.view(evm(contract), call.abi_encode().into()).await?;
        C::abi_decode_returns(&answer).map_err(|_| ChainError::WrongAnswer(name))
    }
}

impl Worker {
    /// Works until `stop`. Whatever it was doing is done again by the next worker.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let more = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                more = self.round() => more,
            };
            if more {
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    /// One round of both; whether there is more to read at once.
    pub async fn round(&mut self) -> bool {
        let (followed, sent) = (self.follower.round().await, self.sender.round().await);
        if let Err(error) = &followed {
            tracing::warn!(%error, "the chain cannot be followed");
        }
        if let Err(error) = &sent {
            tracing::warn!(%error, "commands cannot be carried out");
        }
        let more = matches!(followed, Ok(Progress::More));
        self.health.send_modify(|health| {
            (health.pause, health.behind) = (None, None);
            match followed {
                Ok(Progress::UpToDate(height)) => health.followed = height,
                Ok(Progress::More) => {}
                Ok(Progress::Behind(height)) => health.behind = Some(height),
                Err(_) => {}
            }
            health.follow_trouble = followed.err();
            match &sent {
                Ok(Round::Resting { open }) => health.open_commands = *open,
                Ok(Round::Paused(pause)) => health.pause = Some(*pause),
                Err(_) => {}
            }
            health.send_trouble = sent.err();
        });
        more
    }

    /// After the chain was put back on purpose: takes the node's word for how far this wallet is.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn adopt_chain(&mut self) -> Result<(), SendError> {
        self.sender.adopt_chain().await
    }
}
