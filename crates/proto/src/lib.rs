//! The words on the wire: messages, framing, signatures over them, and the port through which streams come.
//!
//! Never: a socket or a runtime; streams are whatever implements futures' `AsyncRead` and `AsyncWrite`.
//! Limits: control messages [`limits::CONTROL_LEN_MAX`], body frames [`limits::BODY_LEN_MAX`].

pub mod account;
pub mod advert;
pub mod agreement;
pub mod delegation;
mod fields;
pub mod frame;
pub mod offer;
pub mod receipt;
pub mod transport;

pub use account::{Account, Committed, FieldError};
pub use advert::{Advert, AdvertError};
pub use agreement::{Agreement, AgreementError};
pub use cairn_types::limits;
pub use delegation::{Delegation, DelegationError};
pub use frame::{Frame, FrameError, Framed};
pub use offer::SignedOfferError;
pub use receipt::{Receipt, ReceiptError};
pub use transport::{BoxStream, Stream, Transport, TransportError};

/// Stream protocol on which clients talk to providers.
pub const SHARD_PROTOCOL: &str = "/cairn/shard/1";
/// Stream protocol on which a node answers with its signed advert.
pub const ADVERT_PROTOCOL: &str = "/cairn/advert/1";
/// Roots in one `Delete`.
pub const DELETE_ROOTS_MAX: usize = 1024;
/// Bytes of a `Refusal`'s message.
pub const REFUSAL_MESSAGE_LEN_MAX: usize = 512;

/// Messages of [`SHARD_PROTOCOL`].
#[allow(missing_docs, clippy::all)]
pub mod shard {
    include!(concat!(env!("OUT_DIR"), "/cairn.shard.v1.rs"));
}

/// Messages of [`ADVERT_PROTOCOL`].
#[allow(missing_docs, clippy::all)]
pub mod advert_wire {
    include!(concat!(env!("OUT_DIR"), "/cairn.advert.v1.rs"));
}

pub use shard::RefusalCode;

/// A refusal as an answer; its words are for people, and cut to [`REFUSAL_MESSAGE_LEN_MAX`] bytes.
pub fn refusal(code: RefusalCode, mut message: String) -> shard::Response {
    message.truncate(message.floor_char_boundary(REFUSAL_MESSAGE_LEN_MAX));
    let refusal = shard::Refusal { code: code.into(), message };
    shard::Response { kind: Some(shard::response::Kind::Refusal(refusal)) }
}
