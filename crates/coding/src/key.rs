//! Blob key: one random secret per blob, stored only wrapped under the account's key.
//!
//! Never: draw a key or a nonce here (the caller has the random source), or show one. Format: `docs/formats/label.md`.

use std::fmt;

use cairn_types::{BlobId, DataKeys};
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const DOMAIN: &[u8] = b"cairn/wrapped-key/1";
const NONCE_LEN: usize = 24;
const KEY_LEN: usize = 32;

/// Seals the frames of one blob. `Debug` hides it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BlobKey([u8; KEY_LEN]);

impl BlobKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; KEY_LEN]) -> BlobKey {
        BlobKey(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobKey(hidden)")
    }
}

/// A blob key sealed under the account's wrapping key: nonce (24) ‖ sealed key (32) ‖ tag (16), bound to the blob's id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey([u8; WrappedKey::LEN]);

/// A wrapped key that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of blob {blob} does not open: it is of another account or blob, or its bytes were altered")]
pub struct KeyError {
    /// The blob it was to open.
    pub blob: BlobId,
}

impl WrappedKey {
    /// Length in bytes.
    pub const LEN: usize = NONCE_LEN + KEY_LEN + 16;

    /// Wraps `key` for `blob`; `nonce` is random.
    pub fn seal(keys: &DataKeys, blob: BlobId, key: &BlobKey, nonce: [u8; NONCE_LEN]) -> WrappedKey {
        let mut bytes = [0u8; Self::LEN];
        bytes[..NONCE_LEN].copy_from_slice(&nonce);
        let (sealed, tag_place) = bytes[NONCE_LEN..].split_at_mut(KEY_LEN);
        sealed.copy_from_slice(key.as_bytes());
        let tag = XChaCha20Poly1305::new(&keys.wrap.into())
            .encrypt_inout_detached(&XNonce::from(nonce), &associated(blob), sealed.into())
            .expect("32 bytes are within the cipher's limit");
        tag_place.copy_from_slice(&tag);
        WrappedKey(bytes)
    }

    /// Unwraps the key of `blob`.
    ///
    /// # Errors
    /// [`KeyError`] for another account, another blob, or altered bytes.
    pub fn open(&self, keys: &DataKeys, blob: BlobId) -> Result<BlobKey, KeyError> {
        let (nonce, rest) = self.0.split_first_chunk::<NONCE_LEN>().expect("a wrapped key begins with its nonce");
        let (sealed, tag) = rest.split_first_chunk::<KEY_LEN>().expect("a wrapped key holds a key");
        let tag = Tag::try_from(tag).expect("a wrapped key ends with its tag");
        let mut key = Zeroizing::new(*sealed);
        XChaCha20Poly1305::new(&keys.wrap.into())
            .decrypt_inout_detached(&XNonce::from(*nonce), &associated(blob), key.as_mut_slice().into(), &tag)
            .map_err(|_| KeyError { blob })?;
        Ok(BlobKey(*key))
    }

    /// Reads a wrapped key from exactly [`Self::LEN`] bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<WrappedKey> {
        bytes.try_into().ok().map(WrappedKey)
    }

    /// The bytes as stored.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedKey(sealed)")
    }
}

fn associated(blob: BlobId) -> Vec<u8> {
    [DOMAIN, blob.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_for_its_account_and_blob_and_unaltered() {
        let keys = DataKeys { wrap: [1; 32], label: [2; 32] };
        let blob = BlobId([3; 16]);
        let key = BlobKey::new([4; 32]);
        let wrapped = WrappedKey::seal(&keys, blob, &key, [5; 24]);
        assert_eq!(wrapped.open(&keys, blob).expect("its own").as_bytes(), key.as_bytes());
        assert!(wrapped.open(&keys, BlobId([9; 16])).is_err());
        assert!(wrapped.open(&DataKeys { wrap: [9; 32], label: [2; 32] }, blob).is_err());
        for bit in 0..WrappedKey::LEN * 8 {
            let mut bytes = *wrapped.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(WrappedKey(bytes).open(&keys, blob).is_err(), "bit {bit}");
        }
        assert_eq!(WrappedKey::from_slice(&wrapped.as_bytes()[1..]), None);
        assert!(!format!("{key:?}").contains('4'));
    }
}
