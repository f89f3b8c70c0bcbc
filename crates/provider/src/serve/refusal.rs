//! How errors become refusals on the wire: one exhaustive mapping per error.
//!
//! Never: a path of this machine in a message to a peer.

use cairn_proto::frame::FrameError;
use cairn_proto::shard::Response;
use cairn_proto::{DelegationError, RefusalCode};

use crate::accounts::AccountError;
use crate::store::StoreError;

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Account(AccountError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    BadRequest(&'static str),
    #[error(transparent)]
    Delegation(DelegationError),
    #[error("no more than {0} streams at a time")]
    TooManyStreams(usize),
    #[error("stopping; ask another provider")]
    Stopping,
    /// The peer neither sent nor took bytes for too long. It is not told.
    #[error("stalled")]
    Stalled,
}

impl Failure {
    /// What the peer is told; `None` when its stream is of no use any more.
    pub fn refusal(&self) -> Option<Response> {
        let code = match self {
            Failure::Store(error) => store_code(error),
            Failure::Account(error) => account_code(error),
            Failure::Frame(FrameError::TooLong { .. }) => RefusalCode::FrameTooLong,
            Failure::Frame(FrameError::UnknownKind(_) | FrameError::Decode(_) | FrameError::Unexpected(_)) => {
                RefusalCode::BadRequest
            }
            Failure::Frame(FrameError::Io(_) | FrameError::Ended) | Failure::Stalled => return None,
            Failure::BadRequest(_) | Failure::Delegation(DelegationError::Malformed) => RefusalCode::BadRequest,
            Failure::Delegation(_) => RefusalCode::WrongDelegation,
            Failure::TooManyStreams(_) => RefusalCode::TooManyStreams,
            Failure::Stopping => RefusalCode::Stopping,
        };
        let message = match self {
            // The operating system's words and our paths are for the operator's log.
            Failure::Store(StoreError::Disk(_)) => "the disk failed; ask another provider".to_owned(),
            Failure::Store(StoreError::ReadOnly(_)) => "this provider takes no writes; ask another".to_owned(),
            Failure::Account(AccountError::Ledger(_)) => "the ledger failed; ask another provider".to_owned(),
            Failure::Account(AccountError::Chain(_)) => "the chain cannot be asked now; try again later".to_owned(),
            other => other.to_string(),
        };
        Some(cairn_proto::refusal(code, message))
    }
}

fn account_code(error: &AccountError) -> RefusalCode {
    match error {
        AccountError::AgreementDue(_) => RefusalCode::AgreementDue,
        AccountError::WrongAgreement(_) => RefusalCode::WrongAgreement,
        AccountError::PaymentDue { .. } => RefusalCode::PaymentDue,
        AccountError::WrongVoucher(_) => RefusalCode::WrongVoucher,
        AccountError::WrongRelease(_) => RefusalCode::WrongRelease,
        AccountError::BadRequest(_) => RefusalCode::BadRequest,
        AccountError::TooManyAccounts(_) => RefusalCode::OverQuota,
        AccountError::Store(error) => store_code(error),
        // The provider's own trouble: the same request later may do.
        AccountError::Ledger(_) | AccountError::Chain(_) | AccountError::Evidence(_) => RefusalCode::DiskError,
    }
}

/// The store's own refusals stay what they are, so that free and paid deals are refused alike.
impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Failure {
        match error {
            AccountError::Store(error) => Failure::Store(error),
            other => Failure::Account(other),
        }
    }
}

fn store_code(error: &StoreError) -> RefusalCode {
    match error {
        StoreError::UnknownDeal(_) => RefusalCode::UnknownDeal,
        StoreError::StaleWriter { .. } => RefusalCode::StaleWriter,
        StoreError::DealEnded(_) => RefusalCode::DealEnded,
        StoreError::DealFull { .. } => RefusalCode::DealFull,
        StoreError::TooManyDeals(_) | StoreError::OverQuota { .. } => RefusalCode::OverQuota,
        StoreError::DiskReserve { .. } => RefusalCode::DiskReserve,
        StoreError::ReadOnly(_) => RefusalCode::ReadOnly,
        StoreError::WrongRoot { .. } => RefusalCode::WrongRoot,
        StoreError::WrongLength { .. } => RefusalCode::WrongLength,
        StoreError::BadLength { .. } | StoreError::BadBlock(_) | StoreError::BadRange { .. } => RefusalCode::BadRequest,
        StoreError::LabelTooLong { .. } => RefusalCode::LabelTooLong,
        StoreError::NotFound(_) => RefusalCode::NotFound,
        StoreError::Disk(_) => RefusalCode::DiskError,
        StoreError::Closed => RefusalCode::Stopping,
    }
}
