//! Pack: object records and small objects' bytes, one after another in one blob. See `docs/formats/pack.md`.
//!
//! A pack holds the record of every acknowledged PUT, so that the network alone can give the catalog back; a small object's bytes
//! follow its record.
//! Never: a record without its bucket and key. Limits: [`HEADER_LEN_MAX`], [`DATA_LEN_MAX`].

use bytes::Bytes;
use prost::Message;

use crate::catalog::record::{ObjectRecord, RECORD_LEN_MAX};

/// First bytes of every pack; the last one is the format's version.
pub const PACK_MAGIC: [u8; 8] = *b"cairnpk\x01";
/// Kind (1), header length (4, big-endian), data length (4, big-endian).
pub const ENTRY_HEAD_LEN: usize = 9;
/// Kind of an entry that says "this object was stored".
const KIND_OBJECT: u8 = 1;
/// An entry's header: a record with bucket and key.
pub const HEADER_LEN_MAX: usize = RECORD_LEN_MAX;
/// An entry's data: the largest object that may be packed.
pub const DATA_LEN_MAX: usize = 4 << 20;

/// Header of an object entry.
#[derive(Clone, PartialEq, Message)]
pub struct PackedObject {
    /// Bucket name.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// Key.
    #[prost(string, tag = "2")]
    pub key: String,
    /// Its record. Without extents: the object's bytes are this entry's data.
    #[prost(message, optional, tag = "3")]
    pub record: Option<ObjectRecord>,
}

/// One entry of a pack as read back.
#[derive(Debug, Clone, PartialEq)]
pub struct PackEntry {
    /// Where it begins in its pack.
    pub offset: u64,
    /// Its length, head included.
    pub len: u64,
    /// What it says; `None` for a kind this version does not know.
    pub object: Option<PackedObject>,
    /// The bytes of a small object.
    pub data: Bytes,
}

impl PackEntry {
    /// Where its data begins in the pack.
    pub fn data_offset(&self) -> u64 {
        self.offset + self.len - self.data.len() as u64
    }
}

/// Bytes that are no pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Another file, or a later version.
    #[error("not a pack of version 1")]
    WrongMagic,
    /// An entry is longer than allowed.
    #[error("entry at {offset} is too long")]
    TooLong {
        /// Where it begins.
        offset: u64,
    },
    /// The bytes end within an entry.
    #[error("entry at {offset} is cut off")]
    Cut {
        /// Where it begins.
        offset: u64,
    },
    /// Its header cannot be decoded.
    #[error("entry at {offset} is damaged: {reason}")]
    Damaged {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Head and header of an object entry whose data has `data_len` bytes; the data follows.
/// `None` when the record or the data is longer than an entry may be.
pub fn encode_head(object: &PackedObject, data_len: usize) -> Option<Vec<u8>> {
    let header_len = object.encoded_len();
    if header_len > HEADER_LEN_MAX || data_len > DATA_LEN_MAX {
        return None;
    }
    let mut head = Vec::with_capacity(ENTRY_HEAD_LEN + header_len);
    head.push(KIND_OBJECT);
    head.extend_from_slice(&(header_len as u32).to_be_bytes());
    head.extend_from_slice(&(data_len as u32).to_be_bytes());
    object.encode(&mut head).expect("a Vec grows");
    Some(head)
}

/// Reads the entries of a whole pack. The first error ends the iteration.
pub fn entries(pack: Bytes) -> impl Iterator<Item = Result<PackEntry, PackError>> {
    let mut offset = PACK_MAGIC.len();
    let mut wrong = (!pack.starts_with(&PACK_MAGIC)).then_some(PackError::WrongMagic);
    std::iter::from_fn(move || {
        if let Some(error) = wrong.take() {
            offset = pack.len();
            return Some(Err(error));
        }
        if offset >= pack.len() {
            return None;
        }
        let entry = entry_at(&pack, offset);
        offset = match &entry {
            Ok(entry) => offset + entry.len as usize,
            Err(_) => pack.len(),
        };
        Some(entry)
    })
}

fn entry_at(pack: &Bytes, start: usize) -> Result<PackEntry, PackError> {
    let offset = start as u64;
    let head = pack.get(start..start + ENTRY_HEAD_LEN).ok_or(PackError::Cut { offset })?;
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (kind, header_len, data_len) = (head[0], number(1), number(5));
    if header_len > HEADER_LEN_MAX || data_len > DATA_LEN_MAX {
        return Err(PackError::TooLong { offset });
    }
    let header_start = start + ENTRY_HEAD_LEN;
    let data_start = header_start + header_len;
    let end = data_start + data_len;
    if end > pack.len() {
        return Err(PackError::Cut { offset });
    }
    let object = match kind {
        KIND_OBJECT => {
            let damaged = |error: prost::DecodeError| PackError::Damaged { offset, reason: error.to_string() };
            Some(PackedObject::decode(pack.slice(header_start..data_start)).map_err(damaged)?)
        }
        _ => None,
    };
    Ok(PackEntry { offset, len: (end - start) as u64, object, data: pack.slice(data_start..end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(key: &str, len: u64) -> PackedObject {
        let record = ObjectRecord { writer_epoch: 1, sequence: 2, len, etag: "e".into(), modified_ms: 3, ..Default::default() };
        PackedObject { bucket: "b".into(), key: key.into(), record: Some(record) }
    }

    fn pack() -> Vec<u8> {
        let mut pack = PACK_MAGIC.to_vec();
        pack.extend(encode_head(&packed("small", 5), 5).expect("short"));
        pack.extend(b"hello");
        pack.extend(encode_head(&packed("large", 1 << 30), 0).expect("short"));
        pack
    }

    #[test]
    fn a_pack_has_its_golden_form() {
        assert_eq!(
            hex::encode(pack()),
            "636169726e706b01\
             0100000017000000050a016212057 36d616c6c1a0b080110021805220165280368656c6c6f\
             010000001b000000000a016212056c617267651a0f08011002188080808004220165 2803"
                .replace(' ', "")
        );
    }

    #[test]
    fn entries_come_back_with_their_places() {
        let bytes = pack();
        let entries: Vec<_> = entries(bytes.clone().into()).collect::<Result<_, _>>().expect("a pack");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].object, Some(packed("small", 5)));
        assert_eq!(&entries[0].data[..], b"hello");
        assert_eq!(&bytes[entries[0].data_offset() as usize..][..5], b"hello");
        assert_eq!(entries[1].object, Some(packed("large", 1 << 30)));
        assert_eq!(entries[1].offset + entries[1].len, bytes.len() as u64);
    }

    #[test]
    fn hostile_packs_are_typed_errors() {
        let good = pack();
        for len in 0..good.len() {
            // A cut between entries reads as a shorter pack; anywhere else it is an error. Never a panic.
            let read: Vec<_> = entries(good[..len].to_vec().into()).collect();
            let whole = read.iter().filter(|entry| entry.is_ok()).count();
            assert!(whole < 2, "cut to {len}");
        }
        assert_eq!(entries(Bytes::new()).next(), Some(Err(PackError::WrongMagic)));
        let mut long = PACK_MAGIC.to_vec();
        long.extend([1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(entries(long.into()).collect::<Vec<_>>(), [Err(PackError::TooLong { offset: 8 })]);
        let mut unknown = PACK_MAGIC.to_vec();
        unknown.extend([9, 0, 0, 0, 1, 0, 0, 0, 1, 7, 7]);
        let read: Vec<_> = entries(unknown.into()).collect();
        assert!(matches!(&read[..], [Ok(PackEntry { object: None, len: 11, .. })]), "{read:?}");
    }
}
