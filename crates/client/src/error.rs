//! What can go wrong between a client and its providers.

use cairn_proto::{FrameError, ReceiptError, RefusalCode, TransportError};
use cairn_types::NodeId;

/// One provider did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No stream.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The stream broke or does not follow the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The provider said no.
    #[error("refused ({code:?}): {message}")]
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        message: String,
    },
    /// The provider answered something else.
    #[error("unexpected answer")]
    Unexpected,
    /// The provider's receipt proves nothing.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The receipt is for something else than what was sent.
    #[error("the receipt is for another shard")]
    OtherReceipt,
    /// The bytes are not those of the shard.
    #[error("wrong bytes in row {row}")]
    WrongBytes {
        /// Row of the segment.
        row: u32,
    },
    /// Nothing came in time.
    #[error("no answer within {0} ms")]
    TimedOut(u128),
    /// This side gave up first.
    #[error("given up")]
    GivenUp,
    /// There are no terms under which it may be paid.
    #[error("no terms: {0}")]
    NoTerms(Box<crate::PayError>),
}

impl From<crate::PayError> for PeerError {
    fn from(error: crate::PayError) -> Self {
        match error {
            crate::PayError::Peer(error) => *error,
            error => PeerError::NoTerms(Box::new(error)),
        }
    }
}

/// A blob could not be written. Nothing of it is visible; its shards are deleted in the background.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Too few providers can be reached or have room.
    #[error("only {have} providers can take shards, {need} are needed; wait until more can be reached or add space")]
    NotEnoughProviders {
        /// Providers with room now.
        have: usize,
        /// Providers wanted.
        need: usize,
    },
    /// A segment got too few receipts.
    #[error("segment {segment} has {have} of {need} receipts: {reasons}")]
    NotEnoughReceipts {
        /// Index of the segment in its blob.
        segment: u32,
        /// Receipts got.
        have: usize,
        /// Receipts needed.
        need: usize,
        /// What each failed provider said.
        reasons: String,
    },
    /// A later catalog of this account writes.
    #[error("a later catalog of this account has taken over: stop this gateway, and use the other one")]
    Superseded,
    /// More segments than a blob may have.
    #[error("a blob has at most {0} segments")]
    TooLong(usize),
    /// The writer was stopped.
    #[error("the upload was stopped")]
    Stopped,
}

/// A blob could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too few good shards answered.
    #[error("segment {segment}, row {row}: {have} of {need} shards could be read: {reasons}")]
    NotEnoughShards {
        /// Index of the segment in its blob.
        segment: u32,
        /// Row of the segment.
        row: u32,
        /// Good shards.
        have: usize,
        /// Good shards needed.
        need: usize,
        /// What each failed provider said.
        reasons: String,
    },
    /// Enough shards prove to be the ones stored and yet do not decode: the writer was wrong or hostile.
    #[error("segment {segment} does not decode though its shards are as stored")]
    Undecodable {
        /// Index of the segment in its blob.
        segment: u32,
    },
    /// The blob's key cannot be unwrapped: the manifest is of another account.
    #[error("the blob's key cannot be opened with this account's keys")]
    WrongKey,
    /// The manifest contradicts itself.
    #[error("the manifest is wrong: {0}")]
    Manifest(String),
    /// The reader was stopped.
    #[error("the read was stopped")]
    Stopped,
}

/// Shows what each provider said, bounded.
pub(crate) fn reasons(failures: &[(NodeId, String)]) -> String {
    const SHOWN_MAX: usize = 8;
    let mut text = failures.iter().take(SHOWN_MAX).map(|(node, why)| format!("{node}: {why}")).collect::<Vec<_>>().join("; ");
    if failures.len() > SHOWN_MAX {
        text.push_str(&format!("; and {} more", failures.len() - SHOWN_MAX));
    }
    if text.is_empty() { "no provider left to ask".into() } else { text }
}
