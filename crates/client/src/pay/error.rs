//! Why a provider is not paid, or not used.

use cairn_audit::commitment::CommitmentError;
use cairn_audit::disputes::DisputeError;
use cairn_market::budget::BudgetError;
use cairn_market::offer::Gouging;
use cairn_proto::{AgreementError, FieldError, SignedOfferError};
use cairn_types::{Amount, NodeId};

use super::book::BookError;
use crate::error::PeerError;
use crate::ledger::LedgerError;
use cairn_market::SettlementError;

/// Why there are no terms with a provider, or why it was not paid.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// The provider did not answer, or not as it should.
    #[error(transparent)]
    Peer(#[from] Box<PeerError>),
    /// Its offer is not to be believed.
    #[error(transparent)]
    Offer(#[from] SignedOfferError),
    /// It settles elsewhere.
    #[error("its offer settles with another {0} than ours")]
    OtherContracts(&'static str),
    /// It asks far more than others.
    #[error(transparent)]
    Gouging(#[from] Gouging),
    /// It asks more than we pay.
    #[error("{what} costs {price}, at most {max} is paid")]
    TooDear {
        /// Storage or reads.
        what: &'static str,
        /// Its price.
        price: Amount,
        /// Our limit.
        max: Amount,
    },
    /// Not on the ledger as it says.
    #[error("its registration does not fit its offer: {0}")]
    Registration(&'static str),
    /// Too little at stake.
    #[error("its collateral of {has} is less than the {needed} it offers to put at risk")]
    Collateral {
        /// On the ledger.
        has: Amount,
        /// By its offer.
        needed: Amount,
    },
    /// Too much was spent this month.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The ledger of the chain.
    #[error(transparent)]
    Settlement(#[from] SettlementError),
    /// The answer to our proposal is not an agreement.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// It signed something else than we proposed.
    #[error("it signed another agreement than was proposed")]
    OtherAgreement,
    /// No channel of the deal is usable.
    #[error("every channel of this deal is closed; {0} were tried")]
    NoChannel(u32),
    /// Our own ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What cannot be counted or is not promised.
    #[error(transparent)]
    Book(#[from] BookError),
    /// A field of another length.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A commitment that does not count.
    #[error(transparent)]
    Commitment(#[from] CommitmentError),
    /// Nothing is paid at this provider.
    #[error("there are no paid terms with {0}")]
    NotPaid(NodeId),
    /// Found again without a ledger, and too far ahead.
    #[error("the provider asks for {asked} in all, our last voucher there and what it lists explain {most} at most")]
    Unproven {
        /// What it asks for.
        asked: Amount,
        /// What can be explained.
        most: Amount,
    },
    /// No way to the court.
    #[error("not taken to court: {0}")]
    NoCourt(&'static str),
    /// The court.
    #[error(transparent)]
    Court(#[from] DisputeError),
    /// A delegate promised all that it may.
    #[error("the mandate is spent: the client has to come back, or to grant its delegate more")]
    MandateSpent,
    /// What a client told its delegate does not fit together.
    #[error("the brief {0}")]
    Brief(&'static str),
    /// Uploads or deletions did not come to an end in time.
    #[error("an audit waits for uploads that do not end")]
    Busy,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl From<PeerError> for PayError {
    fn from(error: PeerError) -> Self {
        PayError::Peer(Box::new(error))
    }
}

impl PayError {
    /// Whether the same provider may well do a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            PayError::Peer(_)
            | PayError::Settlement(SettlementError::Unavailable(_))
            | PayError::Court(DisputeError::Unavailable(_))
            | PayError::Busy
            | PayError::Closed => true,
            PayError::Offer(_)
            | PayError::OtherContracts(_)
            | PayError::Gouging(_)
            | PayError::TooDear { .. }
            | PayError::Registration(_)
            | PayError::Collateral { .. }
            | PayError::Budget(_)
            | PayError::Settlement(SettlementError::Refused(_) | SettlementError::NotEnough { .. })
            | PayError::Agreement(_)
            | PayError::OtherAgreement
            | PayError::NoChannel(_)
            | PayError::Ledger(_)
            | PayError::Book(_)
            | PayError::Field(_)
            | PayError::Commitment(_)
            | PayError::Unproven { .. }
            | PayError::NoCourt(_)
            | PayError::MandateSpent
            | PayError::Brief(_)
            | PayError::Court(DisputeError::Refused(_))
            | PayError::NotPaid(_) => false,
        }
    }
}
