//! Offers, deals and money: prices, metering, channels and vouchers, budgets, scores; redundancy tiers and placement.
//!
//! Never: a clock, a socket or a random source; a moment and a seed are arguments. Money is never floating point.

pub mod budget;
pub mod channel;
pub mod deal;
pub mod estimate;
pub mod journal;
pub mod meter;
pub mod offer;
pub mod placement;
pub mod price;
pub mod register;
pub mod score;
pub mod settlement;
pub mod tier;
pub mod voucher;

pub use deal::{Deal, Epoch};
pub use meter::Meter;
pub use offer::{Offer, Terms};
pub use placement::{Candidate, PlacementError, domain_of};
pub use price::{EgressPrice, StoragePrice};
pub use register::Registration;
pub use settlement::{Contracts, Settlement, SettlementError};
pub use tier::{PROVIDERS_MIN, Tier};
pub use voucher::{Close, Mandate, Parties, SignedVoucher, Voucher};
