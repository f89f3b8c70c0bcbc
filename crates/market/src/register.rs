//! Registration: the proof that a provider's node agrees to the owner and the signer that the chain names.
//!
//! Format: `docs/formats/offer.md`; vectors: `tests/vectors/offer.json`. The contract only passes the signature on: readers check it.
//! Never: a registration that counts on another chain or for another contract. Limits: none but its fixed length.

use cairn_types::{Address, NodeId, NodeKey};

/// The ed25519 domain.
pub const REGISTER_DOMAIN: &str = "cairn/register/1";

/// What a node signs when it is registered, or when its signer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The chain.
    pub chain_id: u64,
    /// The contract `Providers`.
    pub providers: Address,
    /// Whose collateral it is.
    pub owner: Address,
    /// Whose commitments count.
    pub signer: Address,
}

impl Registration {
    /// Signs with the node's key.
    pub fn sign(&self, key: &NodeKey) -> [u8; 64] {
        key.sign(REGISTER_DOMAIN, &self.message())
    }

    /// Whether `node` agreed.
    pub fn is_by(&self, node: &NodeId, signature: &[u8]) -> bool {
        node.verify(REGISTER_DOMAIN, &self.message(), signature)
    }

    /// `chain id u64 ‖ providers ‖ owner ‖ signer`.
    fn message(&self) -> [u8; 68] {
        let mut bytes = [0u8; 68];
        bytes[..8].copy_from_slice(&self.chain_id.to_be_bytes());
        bytes[8..28].copy_from_slice(self.providers.as_bytes());
        bytes[28..48].copy_from_slice(self.owner.as_bytes());
        bytes[48..].copy_from_slice(self.signer.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_agrees_to_one_owner_and_signer_on_one_chain() {
        let key = NodeKey::from_secret([1; 32]);
        let [providers, owner, signer] = [2, 3, 4].map(|byte| Address([byte; 20]));
        let registration = Registration { chain_id: 5, providers, owner, signer };
        let signature = registration.sign(&key);
        assert!(registration.is_by(&key.id(), &signature));
        assert!(!registration.is_by(&NodeKey::from_secret([2; 32]).id(), &signature));
        assert!(!registration.is_by(&key.id(), &signature[..63]));
        let others = [
            Registration { chain_id: 6, ..registration },
            Registration { providers: owner, ..registration },
            Registration { owner: signer, ..registration },
            Registration { signer: owner, ..registration },
            Registration { owner: signer, signer: owner, ..registration },
        ];
        assert!(others.iter().all(|other| !other.is_by(&key.id(), &signature)));
    }
}
