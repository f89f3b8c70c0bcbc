//! Label: what a client writes, sealed, beside each shard, so that its catalog can be rebuilt from the phrase alone.
//!
//! Sealed: version (1) ‖ nonce (24) ‖ XChaCha20-Poly1305 of the padded message (215) ‖ tag (16). All labels are [`LABEL_LEN`] bytes
//! long, so a provider learns nothing from a length. The seal binds no shard: what a label says is about its segment, and a label
//! that stands beside a foreign shard names the shard index and blob it was made for.
//! Never: a label a provider can read or forge. Limits: [`LABEL_LEN`] ≤ `LABEL_LEN_MAX`. Format: `docs/formats/label.md`.

use bytes::Bytes;
use cairn_types::limits::LABEL_LEN_MAX;
use cairn_types::{BlobId, DataKeys, Redundancy};
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use prost::Message;
use serde::Serialize;

use crate::key::WrappedKey;
use crate::layout::Layout;

const DOMAIN: &[u8] = b"cairn/label/1";
const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const BODY_LEN: usize = LABEL_LEN - 1 - NONCE_LEN - TAG_LEN;
/// Message length before the message, so that padding can follow it.
const PREFIX_LEN: usize = 2;
/// A sealed label.
pub const LABEL_LEN: usize = 256;
const _: () = assert!(LABEL_LEN <= LABEL_LEN_MAX);
/// Most bytes of the message: tags, lengths and the largest varints of all fields.
const MESSAGE_LEN_MAX: usize = (2 + BlobId::LEN) + 2 + 6 + 2 + 3 + 3 + 3 + 6 + (2 + WrappedKey::LEN) + 11 + 11;
const _: () = assert!(PREFIX_LEN + MESSAGE_LEN_MAX <= BODY_LEN);

/// What a blob's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum BlobKind {
    /// The bytes of one object or of a part of it.
    Data,
    /// Small objects and catalog records, written together.
    Pack,
    /// What a catalog holds, written now and then.
    Checkpoint,
}

/// What stands beside one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The blob the shard belongs to.
    pub blob: BlobId,
    /// What its bytes are.
    pub kind: BlobKind,
    /// Which of its segments.
    pub segment_index: u32,
    /// Whether no segment follows.
    pub last_segment: bool,
    /// Which shard of the segment.
    pub shard_index: u8,
    /// Shards needed and stored.
    pub redundancy: Redundancy,
    /// Plaintext bytes of the segment.
    pub plain_len: u64,
    /// The blob's key, sealed for its owner.
    pub key: WrappedKey,
    /// Counts the starts of the writer's catalog.
    pub writer_epoch: u64,
    /// Counts the blobs of one writer epoch.
    pub sequence: u64,
}

/// Bytes that are no label of this account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not of a label's length.
    #[error("label of {len} bytes instead of {LABEL_LEN}")]
    WrongLength {
        /// Its length.
        len: usize,
    },
    /// A version this program does not know.
    #[error("label of unknown version {0}: a newer program wrote it, or the bytes are damaged")]
    UnknownVersion(u8),
    /// Sealed under another account's key, or altered.
    #[error("label does not open: it is of another account, or its bytes were altered")]
    Sealed,
    /// It opens, and what it says cannot be.
    #[error("label is malformed: {0}")]
    Malformed(&'static str),
}

#[derive(Clone, PartialEq, Message)]
struct LabelWire {
    #[prost(bytes = "bytes", tag = "1")]
    blob_id: Bytes,
    /// 1 data, 2 pack, 3 checkpoint.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint32, tag = "3")]
    segment_index: u32,
    #[prost(bool, tag = "4")]
    last_segment: bool,
    #[prost(uint32, tag = "5")]
    shard_index: u32,
    #[prost(uint32, tag = "6")]
    data_shards: u32,
    #[prost(uint32, tag = "7")]
    total_shards: u32,
    #[prost(uint64, tag = "8")]
    plain_len: u64,
    #[prost(bytes = "bytes", tag = "9")]
    wrapped_key: Bytes,
    #[prost(uint64, tag = "10")]
    writer_epoch: u64,
    #[prost(uint64, tag = "11")]
    sequence: u64,
}

impl Label {
    /// Seals this label; `nonce` is random. [`LABEL_LEN`] bytes.
    pub fn seal(&self, keys: &DataKeys, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let message = self.to_wire().encode_to_vec();
        let mut body = [0u8; BODY_LEN];
        body[..PREFIX_LEN].copy_from_slice(&(message.len() as u16).to_be_bytes());
        body[PREFIX_LEN..][..message.len()].copy_from_slice(&message);
        let tag = XChaCha20Poly1305::new(&keys.label.into())
            .encrypt_inout_detached(&XNonce::from(nonce), DOMAIN, body.as_mut_slice().into())
            .expect("a label is within the cipher's limit");
        let sealed = [&[VERSION][..], &nonce, &body, &tag].concat();
        assert!(sealed.len() == LABEL_LEN);
        sealed
    }

    /// Opens a label of this account.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn open(bytes: &[u8], keys: &DataKeys) -> Result<Label, LabelError> {
        let sealed: &[u8; LABEL_LEN] = bytes.try_into().map_err(|_| LabelError::WrongLength { len: bytes.len() })?;
        if sealed[0] != VERSION {
            return Err(LabelError::UnknownVersion(sealed[0]));
        }
        let (nonce, rest) = sealed[1..].split_first_chunk::<NONCE_LEN>().expect("a label is longer than its nonce");
        let (body, tag) = rest.split_first_chunk::<BODY_LEN>().expect("a label holds its body");
        let mut body = *body;
        let tag = Tag::try_from(tag).expect("a label ends with its tag");
        XChaCha20Poly1305::new(&keys.label.into())
            .decrypt_inout_detached(&XNonce::from(*nonce), DOMAIN, body.as_mut_slice().into(), &tag)
            .map_err(|_| LabelError::Sealed)?;
        let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let message = body[PREFIX_LEN..].get(..len).ok_or(LabelError::Malformed("message length"))?;
        Label::from_wire(LabelWire::decode(message).map_err(|_| LabelError::Malformed("not a label message"))?)
    }

    fn to_wire(&self) -> LabelWire {
        LabelWire {
            blob_id: Bytes::copy_from_slice(self.blob.as_bytes()),
            kind: match self.kind {
                BlobKind::Data => 1,
                BlobKind::Pack => 2,
                BlobKind::Checkpoint => 3,
            },
            segment_index: self.segment_index,
            last_segment: self.last_segment,
            shard_index: self.shard_index.into(),
            data_shards: self.redundancy.data() as u32,
            total_shards: self.redundancy.total() as u32,
            plain_len: self.plain_len,
            wrapped_key: Bytes::copy_from_slice(self.key.as_bytes()),
            writer_epoch: self.writer_epoch,
            sequence: self.sequence,
        }
    }

    fn from_wire(wire: LabelWire) -> Result<Label, LabelError> {
        let malformed = LabelError::Malformed;
        let redundancy =
            Redundancy::new(wire.data_shards as usize, wire.total_shards as usize).map_err(|_| malformed("redundancy"))?;
        Layout::new(redundancy, wire.plain_len).map_err(|_| malformed("segment length"))?;
        if wire.shard_index as usize >= redundancy.total() {
            return Err(malformed("shard index"));
        }
        Ok(Label {
            blob: BlobId::from_slice(&wire.blob_id).ok_or(malformed("blob id"))?,
            kind: match wire.kind {
                1 => BlobKind::Data,
                2 => BlobKind::Pack,
                3 => BlobKind::Checkpoint,
                _ => return Err(malformed("blob kind")),
            },
            segment_index: wire.segment_index,
            last_segment: wire.last_segment,
            shard_index: wire.shard_index as u8,
            redundancy,
            plain_len: wire.plain_len,
            key: WrappedKey::from_slice(&wire.wrapped_key).ok_or(malformed("wrapped key"))?,
            writer_epoch: wire.writer_epoch,
            sequence: wire.sequence,
        })
    }
}
