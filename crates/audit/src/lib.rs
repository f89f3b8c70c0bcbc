//! Whether a provider still holds what it was given: inventory, draw, challenge, verdict, commitment, release, court.
//!
//! Never: a clock, a socket or a random source; moments and nonces are arguments. Limits: see [`cairn_types::limits`].

pub mod challenge;
pub mod commitment;
pub mod court;
pub mod disputes;
pub mod draw;
pub mod inventory;
pub mod path;
pub mod release;
mod trie;
pub mod verdict;

pub use challenge::{AuditNonce, Plan, Probe, ProbeFailure};
pub use commitment::{Commitment, SignedCommitment};
pub use inventory::{Inventory, InventoryError, Located};
pub use path::{Entry, InventoryStep, PathError, Totals, verify_path};
pub use release::{Release, ReleaseTree, SignedRelease};
pub use verdict::{Action, Audit, Grade, Verdict};
