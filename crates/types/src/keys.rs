//! One phrase is the whole account: node keys, wallets and data keys derived from 12 BIP-39 words.
//!
//! HKDF-SHA256 over the BIP-39 seed with a domain label per key; labels are listed in `docs/formats/keys.md`.
//! Never: print or serialise a secret, or draw randomness. Limits: phrases of 12 words.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::id::NodeId;
use crate::wallet::WalletKey;

const SALT: &[u8] = b"cairn/v1";

/// A 12-word recovery phrase. `Debug` hides it.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Phrase(bip39::Mnemonic);

/// A text that is not a recovery phrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Not 12 words.
    #[error("a recovery phrase has 12 words, this text has {0}")]
    WordCount(usize),
    /// A word that is not in the list.
    #[error("word {0} is not in the BIP-39 English list; check its spelling")]
    UnknownWord(usize),
    /// All words are known, the last one does not fit the others.
    #[error("the words do not belong together (checksum); check their order and spelling")]
    Checksum,
}

impl Phrase {
    /// Makes a phrase of 16 random bytes.
    pub fn from_entropy(entropy: [u8; 16]) -> Phrase {
        Phrase(bip39::Mnemonic::from_entropy(&entropy).expect("16 bytes are 12 words"))
    }

    /// Reads a phrase; case and white space do not matter.
    ///
    /// # Errors
    /// [`PhraseError`] says which word is wrong.
    pub fn parse(text: &str) -> Result<Phrase, PhraseError> {
        let words: Zeroizing<String> = Zeroizing::new(text.to_lowercase());
        let count = words.split_whitespace().count();
        if count != 12 {
            return Err(PhraseError::WordCount(count));
        }
        bip39::Mnemonic::parse_in_normalized(bip39::Language::English, &words.split_whitespace().collect::<Vec<_>>().join(" "))
            .map(Phrase)
            .map_err(|error| match error {
                bip39::Error::UnknownWord(index) => PhraseError::UnknownWord(index + 1),
                _ => PhraseError::Checksum,
            })
    }

    /// The words, to be shown once or written to a file only the owner can read.
    pub fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    /// Key of one node of this account: `role` such as `provider`, `index` counts the machines of that role.
    pub fn node_key(&self, role: &str, index: u32) -> NodeKey {
        let mut secret = self.derive(&format!("node/{role}/{index}"));
        let key = NodeKey(SigningKey::from_bytes(&secret));
        secret.zeroize();
        key
    }

    /// Wallet number `index` of this account: it holds the tokens, pays into channels or owns a provider.
    pub fn wallet_key(&self, index: u32) -> WalletKey {
        self.evm_key(&format!("wallet/{index}"))
    }

    /// Session key of one machine: `role` is `gateway` (signs vouchers, releases) or `provider` (signs commitments).
    pub fn session_key(&self, role: &str, index: u32) -> WalletKey {
        self.evm_key(&format!("session/{role}/{index}"))
    }

    fn evm_key(&self, label: &str) -> WalletKey {
        let secret = Zeroizing::new(self.derive(label));
        WalletKey::from_secret(&secret).expect("one 32-byte string in 2^127 is zero or beyond the curve's order")
    }

    /// Keys that seal this account's data.
    pub fn data_keys(&self) -> DataKeys {
        DataKeys { wrap: self.derive("data/wrap"), label: self.derive("data/label") }
    }

    fn derive(&self, label: &str) -> [u8; 32] {
        let seed = Zeroizing::new(self.0.to_seed_normalized(""));
        let mut key = [0u8; 32];
        Hkdf::<Sha256>::new(Some(SALT), seed.as_slice())
            .expand(label.as_bytes(), &mut key)
            .expect("32 bytes are within HKDF's limit");
        key
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase(hidden)")
    }
}

/// Secrets that seal an account's data; they stay in coding, client and gateway.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKeys {
    /// Wraps each blob's random key.
    pub wrap: [u8; 32],
    /// Seals the labels stored beside shards.
    pub label: [u8; 32],
}

impl DataKeys {
    /// The nonce under which `client` opens its deal with `provider`: always the same, so that a client has nothing to remember.
    pub fn deal_nonce(&self, client: NodeId, provider: NodeId) -> [u8; 16] {
        let mut nonce = [0u8; 16];
        let info = [b"deal".as_slice(), client.as_bytes(), provider.as_bytes()].concat();
        Hkdf::<Sha256>::new(Some(SALT), &self.label).expand(&info, &mut nonce).expect("16 bytes are within HKDF's limit");
        nonce
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKeys(hidden)")
    }
}

/// A node's ed25519 signing key, also its libp2p identity.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// A key from 32 secret bytes.
    pub fn from_secret(secret: [u8; 32]) -> NodeKey {
        NodeKey(SigningKey::from_bytes(&secret))
    }

    /// The 32 secret bytes, for the network adapter that must hold the same identity.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public name of this key.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs `domain ‖ 0x00 ‖ message`; a domain per kind of message keeps one kind from passing as another.
    pub fn sign(&self, domain: &str, message: &[u8]) -> [u8; 64] {
        self.0.sign(&in_domain(domain, message)).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id())
    }
}

impl NodeId {
    /// Whether this node signed `message` in `domain` (strict ed25519: malleable forms and weak keys fail).
    pub fn verify(&self, domain: &str, message: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(&self.0), Signature::from_slice(signature)) else {
            return false;
        };
        key.verify_strict(&in_domain(domain, message), &signature).is_ok()
    }
}

fn in_domain(domain: &str, message: &[u8]) -> Vec<u8> {
    [domain.as_bytes(), &[0], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

    #[test]
    fn one_phrase_gives_the_same_keys_every_time() {
        let phrase = Phrase::parse(&format!("  {}\n", WORDS.to_uppercase())).expect("a valid phrase");
        let again = Phrase::parse(&phrase.words()).expect("its own words");
        assert_eq!(phrase.node_key("provider", 0).id(), again.node_key("provider", 0).id());
        assert_ne!(phrase.node_key("provider", 0).id(), phrase.node_key("provider", 1).id());
        assert_ne!(phrase.node_key("provider", 0).id(), phrase.node_key("gateway", 0).id());
        assert_ne!(phrase.data_keys().wrap, phrase.data_keys().label);
        assert!(!format!("{phrase:?} {:?}", phrase.data_keys()).contains("legal"));
    }

    #[test]
    fn every_wallet_and_session_is_a_key_of_its_own() {
        let phrase = Phrase::parse(WORDS).expect("a valid phrase");
        let mut addresses = vec![phrase.wallet_key(0).address(), phrase.wallet_key(1).address()];
        for role in ["gateway", "provider"] {
            addresses.extend([0, 1].map(|index| phrase.session_key(role, index).address()));
        }
        assert_eq!(phrase.wallet_key(0).address().to_string(), "0xC3648682f710Ca15101572939C781931F49de334");
        assert_eq!(phrase.session_key("provider", 1).address().to_string(), "0x0116ec8c6367B9EA781b140e280d5a761B9f7C2e");
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 6);
        assert_ne!(*phrase.wallet_key(0).secret(), *phrase.node_key("wallet", 0).secret());
    }

    #[test]
    fn wrong_phrases_say_what_is_wrong() {
        assert_eq!(Phrase::parse("legal winner").err(), Some(PhraseError::WordCount(2)));
        assert_eq!(Phrase::parse(&WORDS.replace("year", "yeer")).err(), Some(PhraseError::UnknownWord(4)));
        assert_eq!(Phrase::parse(&WORDS.replace("yellow", "thank")).err(), Some(PhraseError::Checksum));
    }

    #[test]
    fn a_signature_is_good_for_one_key_domain_and_message() {
        let (key, other) = (NodeKey::from_secret([1; 32]), NodeKey::from_secret([2; 32]));
        let signature = key.sign("receipt", b"message");
        assert!(key.id().verify("receipt", b"message", &signature));
        assert!(!key.id().verify("advert", b"message", &signature));
        assert!(!key.id().verify("receipt", b"massage", &signature));
        assert!(!other.id().verify("receipt", b"message", &signature));
        assert!(!key.id().verify("receipt", b"message", &signature[..63]));
        assert!(!NodeId([0xff; 32]).verify("receipt", b"message", &signature));
    }
}
