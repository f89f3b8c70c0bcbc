//! Receipt: a provider's signed word that a shard lies durably on its disk.
//!
//! Never: trust a receipt whose signature, deal, root or length was not checked against what was sent.

use bytes::Bytes;
use cairn_types::{DealId, NodeId, NodeKey, SegmentId, ShardRoot, UnixMs};
use prost::Message;

use crate::shard;

const DOMAIN: &str = "cairn/receipt/1";

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Under which agreement.
    pub deal: DealId,
    /// Which shard.
    pub root: ShardRoot,
    /// Its length in bytes.
    pub len: u64,
    /// The writer's opaque tag.
    pub segment: SegmentId,
    /// When it became durable, by the provider's clock.
    pub stored_at: UnixMs,
}

/// A receipt that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not an encoded receipt body.
    #[error("receipt of {0} cannot be decoded")]
    Malformed(NodeId),
    /// Not signed by the provider it came from.
    #[error("receipt of {0} has a wrong signature")]
    WrongSignature(NodeId),
}

impl Receipt {
    /// Signs this receipt with the provider's key.
    pub fn sign(&self, key: &NodeKey) -> shard::Receipt {
        let body = shard::ReceiptBody {
            deal_id: Bytes::copy_from_slice(self.deal.as_bytes()),
            root: Bytes::copy_from_slice(self.root.as_bytes()),
            len: self.len,
            segment_id: Bytes::copy_from_slice(self.segment.as_bytes()),
            stored_at_ms: self.stored_at.0,
        }
        .encode_to_vec();
        let signature = key.sign(DOMAIN, &body);
        shard::Receipt { body: body.into(), signature: Bytes::copy_from_slice(&signature) }
    }

    /// Checks that `provider` signed the receipt and reads it.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(wire: &shard::Receipt, provider: NodeId) -> Result<Receipt, ReceiptError> {
        if !provider.verify(DOMAIN, &wire.body, &wire.signature) {
            return Err(ReceiptError::WrongSignature(provider));
        }
        let malformed = || ReceiptError::Malformed(provider);
        let body = shard::ReceiptBody::decode(wire.body.clone()).map_err(|_| malformed())?;
        Ok(Receipt {
            deal: DealId::from_slice(&body.deal_id).ok_or_else(malformed)?,
            root: ShardRoot::from_slice(&body.root).ok_or_else(malformed)?,
            len: body.len,
            segment: SegmentId::from_slice(&body.segment_id).ok_or_else(malformed)?,
            stored_at: UnixMs(body.stored_at_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_good_only_from_its_provider_and_unaltered() {
        let key = NodeKey::from_secret([3; 32]);
        let receipt = Receipt {
            deal: DealId([1; 32]),
            root: ShardRoot([2; 32]),
            len: 77,
            segment: SegmentId([4; 16]),
            stored_at: UnixMs(5),
        };
        let wire = receipt.sign(&key);
        assert_eq!(Receipt::verify(&wire, key.id()), Ok(receipt));
        let other = NodeKey::from_secret([9; 32]).id();
        assert_eq!(Receipt::verify(&wire, other), Err(ReceiptError::WrongSignature(other)));
        for at in 0..wire.body.len() {
            let mut body = wire.body.to_vec();
            body[at] ^= 1;
            let altered = shard::Receipt { body: body.into(), signature: wire.signature.clone() };
            assert!(Receipt::verify(&altered, key.id()).is_err(), "byte {at}");
        }
    }
}
