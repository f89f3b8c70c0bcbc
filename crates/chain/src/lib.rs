//! The ledger: bindings of our contracts, a JSON-RPC client, a follower of events, a sender of transactions, and the embedded chain.
//!
//! Never: a rule of money (those live once, in `contracts/`), or a claim that a call on chain has happened before it was confirmed.
//! Limits: see each module.

pub mod bindings;
pub mod deployed;
pub mod deployer;
pub mod embedded;
pub mod endpoint;
pub mod follower;
pub mod genesis;
#[cfg(test)]
mod golden;
pub mod https;
pub mod ledger;
mod node;
mod revert;
pub mod sender;
mod store;
mod wire;

pub use deployed::{Deployed, DeployedError};
pub use deployer::{Deployer, DeployerError};
pub use endpoint::{Endpoint, EndpointConfig, EndpointError};
pub use follower::event::{EventId, LedgerEvent, Notice};
pub use genesis::{CHAIN_ID, Contracts};
pub use ledger::{Chain, ChainConfig, ChainError, Health, Worker};
pub use sender::command::{CommandId, CommandState};
pub use store::StoreError;
