//! Why a request about money is refused; each maps to one refusal code on the wire.
//!
//! Never: a path of this machine, or another client's numbers.

use cairn_market::channel;
use cairn_types::Amount;

use crate::ledger::LedgerError;
use crate::store::StoreError;

/// Why a request about money is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Nothing was agreed, or the channel that was agreed on is closing.
    #[error("an agreement is due: {0}")]
    AgreementDue(&'static str),
    /// An agreement that this provider does not sign.
    #[error("{0}")]
    WrongAgreement(String),
    /// More is owed than the credit given.
    #[error("{owed} are owed in all and {accepted} are promised: pay the rest first")]
    PaymentDue {
        /// Owed in all.
        owed: Amount,
        /// Promised.
        accepted: Amount,
    },
    /// A voucher that is not taken.
    #[error(transparent)]
    WrongVoucher(#[from] channel::Refusal),
    /// A release that does not fit.
    #[error("the release {0}")]
    WrongRelease(&'static str),
    /// A request that nobody can fulfil.
    #[error("{0}")]
    BadRequest(&'static str),
    /// As many accounts as there may be.
    #[error("no more than {0} accounts")]
    TooManyAccounts(usize),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A dispute that cannot be answered.
    #[error("no defence: {0}")]
    Evidence(&'static str),
    /// The chain did not answer.
    #[error("the chain cannot be asked now: {0}")]
    Chain(String),
}
