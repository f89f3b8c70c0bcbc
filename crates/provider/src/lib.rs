//! The daemon that rents out disk space: [`store`] keeps shards on disks, [`serve`] answers clients on streams, [`accounts`] count what
//! is owed and paid, [`payouts`] bring it home.
//!
//! Never: a receipt before its shard is durable, a plaintext, an object name or a client's key.
//! Limits: those of [`cairn_types::limits`], plus [`serve::ServerConfig`] and [`store::StoreConfig`].

pub mod accounts;
mod defence;
mod ledger;
pub mod payouts;
pub mod serve;
pub mod store;
#[cfg(test)]
mod testbed;

pub use accounts::{AccountError, Accounts, DealAccount, LedgerError, Paid, Prices, Sums};
pub use defence::Accused;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use ledger::fuzzing as ledger_fuzzing;
pub use payouts::{Payout, RedeemFrom};
pub use serve::{Server, ServerConfig};
pub use store::{DiskConfig, DiskStatus, OpenError, Store, StoreConfig, StoreError, StoreStatus};
