//! JSON-RPC of the embedded chain: the `eth_*` calls that alloy, cast and MetaMask use. See `docs/formats/chain.md`.
//!
//! Never: a key; transactions come signed. Limits: [`super::limits`].

mod answer;
mod error;
mod gas;
mod logs;
mod methods;
mod params;
pub(super) mod server;
