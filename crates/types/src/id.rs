//! Names of things: fixed-width byte strings whose kinds cannot be swapped.
//!
//! Never: a meaning hidden in the bytes of a random id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {text:?}; expected {expected}")]
pub struct IdError {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Reads an id from exactly [`Self::LEN`] bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0u8; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError {
                    kind: stringify!($name),
                    text: text.chars().take(100).collect(),
                    expected: $expected,
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// Name of a shard: the root of its Merkle tree (see [`crate::merkle`]).
    ShardRoot, 32, "64 hex digits"
);
hex_id!(
    /// One agreement between a client and a provider; drawn by the provider.
    DealId, 32, "64 hex digits"
);
hex_id!(
    /// One segment; drawn at random by its writer, known to providers as an opaque tag.
    SegmentId, 16, "32 hex digits"
);
hex_id!(
    /// One stored byte sequence: a list of segments under one key. An object is made of ranges of blobs.
    BlobId, 16, "32 hex digits"
);

hex_id!(
    /// One payment channel; its formula is in `docs/formats/voucher.md`.
    ChannelId, 32, "64 hex digits"
);
hex_id!(
    /// Name of all that a provider holds under one deal (see `docs/formats/inventory.md`).
    InventoryRoot, 32, "64 hex digits"
);

/// A node of the network: its ed25519 public key. Shown as the libp2p PeerId of that key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

/// libp2p's identity multihash of a protobuf-wrapped ed25519 key: 0x00 (identity), 0x24 (36 bytes), key type 1, 32 bytes.
/// Source: libp2p specs, peer-ids.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl NodeId {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Reads a node id from exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The raw ed25519 public key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the libp2p PeerId (a 38-byte identity multihash).
    pub fn to_peer_id_bytes(&self) -> [u8; 38] {
        let mut bytes = [0u8; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// Reads the bytes of a libp2p PeerId; `None` for any key type but ed25519.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes.strip_prefix(&PEER_ID_PREFIX)?)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0u8; 64];
        bs58::decode(text).onto(&mut bytes).ok().and_then(|len| Self::from_peer_id_bytes(&bytes[..len])).ok_or_else(|| IdError {
            kind: "NodeId",
            text: text.chars().take(100).collect(),
            expected: "the PeerId of an ed25519 key, such as 12D3KooW…",
        })
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let root = ShardRoot([7; 32]);
        assert_eq!(root.to_string().parse(), Ok(root));
        let node = NodeId([9; 32]);
        assert!(node.to_string().starts_with("12D3KooW"));
        assert_eq!(node.to_string().parse(), Ok(node));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "12D3KooW", "0OIl", &"z".repeat(500), "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
            assert!(text.parse::<ShardRoot>().is_err(), "{text}");
        }
    }
}
