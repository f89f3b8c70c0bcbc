//! Wallet: secp256k1 keys and the addresses and signatures that the EVM knows.
//!
//! Never: a secret in `Debug`, randomness in a signature (RFC 6979), or a second form of the same signature (high s).

use std::fmt;
use std::str::FromStr;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::eip712::{Word, keccak256};

/// An account or a contract of the EVM.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub [u8; 20]);

/// A text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not 0x and 40 hex digits.
    #[error("not an address: {0:?}; expected 0x and 40 hex digits")]
    Shape(String),
    /// Upper and lower case say that a digit is wrong (EIP-55).
    #[error("{0} has a wrong checksum: a digit is mistyped")]
    Checksum(String),
}

impl Address {
    /// Length in bytes.
    pub const LEN: usize = 20;
    /// The address that nobody has.
    pub const ZERO: Address = Address([0; 20]);

    /// Reads an address from exactly 20 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Address> {
        bytes.try_into().ok().map(Address)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(key: &VerifyingKey) -> Address {
        let hash = keccak256(&key.to_encoded_point(false).as_bytes()[1..]);
        let mut address = [0u8; 20];
        address.copy_from_slice(&hash[12..]);
        Address(address)
    }
}

impl fmt::Display for Address {
    /// EIP-55: a hex digit is upper case when the same digit of the hash of the lower-case text is 8 or more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lower = hex::encode(self.0);
        let hash = keccak256(&lower);
        f.write_str("0x")?;
        lower.chars().enumerate().try_for_each(|(at, digit)| {
            let nibble = hash[at / 2] >> (4 * (1 - at % 2)) & 0x0f;
            fmt::Write::write_char(f, if nibble >= 8 { digit.to_ascii_uppercase() } else { digit })
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address; in mixed case its checksum must hold.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let shape = || AddressError::Shape(text.chars().take(100).collect());
        let digits = text.strip_prefix("0x").ok_or_else(shape)?;
        let mut bytes = [0u8; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| shape())?;
        let address = Address(bytes);
        let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
        if mixed && address.to_string() != text {
            return Err(AddressError::Checksum(text.to_owned()));
        }
        Ok(address)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A secp256k1 signing key: a wallet, or the session key of one machine. Wiped when dropped; `Debug` shows the address only.
#[derive(Clone)]
pub struct WalletKey(SigningKey);

impl WalletKey {
    /// A key from 32 secret bytes; `None` for zero and for numbers beyond the curve's order.
    pub fn from_secret(secret: &[u8; 32]) -> Option<WalletKey> {
        SigningKey::from_bytes(secret.into()).ok().map(WalletKey)
    }

    /// The 32 secret bytes, for the chain adapter that must sign transactions with the same key.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The address of this key.
    pub fn address(&self) -> Address {
        Address::of(self.0.verifying_key())
    }

    /// Signs a digest: deterministic, low s.
    pub fn sign_digest(&self, digest: &Word) -> EvmSignature {
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest).expect("a 32-byte digest can always be signed");
        let mut bytes = [0u8; EvmSignature::LEN];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = V_EVEN + u8::from(recovery.is_y_odd());
        EvmSignature(bytes)
    }
}

impl fmt::Debug for WalletKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletKey({})", self.address())
    }
}

const V_EVEN: u8 = 27;
const V_ODD: u8 = 28;

/// A signature as contracts take it: r (32) ‖ s (32) ‖ v (1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EvmSignature(pub [u8; 65]);

impl EvmSignature {
    /// Length in bytes.
    pub const LEN: usize = 65;

    /// Reads a signature from exactly 65 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<EvmSignature> {
        bytes.try_into().ok().map(EvmSignature)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Who signed `digest`. `None` for a signature that no contract of ours takes: r or s out of range, high s, v other than 27 or 28,
    /// a point that is no key, the zero address.
    pub fn recover(&self, digest: &Word) -> Option<Address> {
        let signature = Signature::from_slice(&self.0[..64]).ok()?;
        if signature.normalize_s().is_some() {
            return None; // high s; that k256 refuses it too is its affair
        }
        let recovery = match self.0[64] {
            V_EVEN => RecoveryId::new(false, false),
            V_ODD => RecoveryId::new(true, false),
            _ => return None,
        };
        let key = VerifyingKey::recover_from_prehash(digest, &signature, recovery).ok()?;
        Some(Address::of(&key)).filter(|address| *address != Address::ZERO)
    }

    /// Whether `signer` signed `digest`.
    pub fn is_by(&self, signer: Address, digest: &Word) -> bool {
        self.recover(digest) == Some(signer)
    }
}

impl fmt::Display for EvmSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for EvmSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EvmSignature({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Order of the curve (SEC 2, secp256k1).
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    fn key() -> WalletKey {
        WalletKey::from_secret(&[0x11; 32]).expect("a secret in range")
    }

    fn order() -> [u8; 32] {
        hex::decode(ORDER).expect("hex").try_into().expect("32 bytes")
    }

    #[test]
    fn addresses_are_those_of_the_evm() {
        // The first development key that Ethereum's local test chains publish, and its address.
        let secret = hex::decode("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").expect("hex");
        let key = WalletKey::from_secret(&secret.clone().try_into().expect("32 bytes")).expect("in range");
        assert_eq!(key.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(key.secret().as_slice(), secret);
        assert_eq!(format!("{key:?}"), "WalletKey(0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266)");
        assert!(WalletKey::from_secret(&[0; 32]).is_none() && WalletKey::from_secret(&order()).is_none());
    }

    #[test]
    fn the_texts_of_eip_55_are_read_and_mistyped_ones_refused() {
        let texts = [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ];
        for text in texts {
            let address: Address = text.parse().expect("a good address");
            assert_eq!(address.to_string(), text);
            assert_eq!(text.to_lowercase().parse(), Ok(address));
            assert_eq!(format!("0x{}", text[2..].to_uppercase()).parse(), Ok(address));
            let wrong = text.replacen('b', "B", 1);
            assert_ne!(wrong, text);
            assert_eq!(wrong.parse::<Address>(), Err(AddressError::Checksum(wrong)));
            assert_eq!(
                serde_json::from_str::<Address>(&serde_json::to_string(&address).expect("JSON")).expect("its own"),
                address
            );
        }
        for text in
            ["", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x5a", "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0xgg"]
        {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Shape(text.into())), "{text}");
        }
    }

    #[test]
    fn a_signature_names_its_signer_and_nothing_else() {
        let (key, digest) = (key(), keccak256("message"));
        let signature = key.sign_digest(&digest);
        assert_eq!(signature, key.sign_digest(&digest), "deterministic");
        assert_eq!(signature.recover(&digest), Some(key.address()));
        assert!(!signature.is_by(key.address(), &keccak256("massage")));
        for v in (0..=255).filter(|v| *v != signature.0[64]) {
            let mut other = signature;
            other.0[64] = v;
            assert_ne!(other.recover(&digest), Some(key.address()), "v = {v}");
            assert!([27, 28].contains(&v) || other.recover(&digest).is_none(), "v = {v}");
        }
    }

    #[test]
    fn other_forms_of_the_same_signature_are_refused() {
        let (key, digest) = (key(), keccak256("message"));
        let signature = key.sign_digest(&digest);
        let mut high = signature; // s' = order − s with the other v is the same signature in its second form
        let mut borrow = 0i16;
        for at in (0..32).rev() {
            let difference = i16::from(order()[at]) - i16::from(signature.0[32 + at]) - borrow;
            borrow = i16::from(difference < 0);
            high.0[32 + at] = difference.rem_euclid(256) as u8;
        }
        high.0[64] = V_EVEN + V_ODD - signature.0[64];
        assert_eq!(high.recover(&digest), None);
        for range in [0..32, 32..64] {
            for bytes in [[0; 32], order(), [0xff; 32]] {
                let mut wrong = signature;
                wrong.0[range.clone()].copy_from_slice(&bytes);
                assert_eq!(wrong.recover(&digest), None, "{range:?} {bytes:?}");
            }
        }
        assert!(EvmSignature::from_slice(&signature.0[..64]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_key_signs_and_no_bytes_panic(secret in any::<[u8; 32]>(), digest in any::<[u8; 32]>(), noise in prop::collection::vec(any::<u8>(), 65)) {
            if let Some(key) = WalletKey::from_secret(&secret) {
                let signature = key.sign_digest(&digest);
                prop_assert!(signature.is_by(key.address(), &digest));
            }
            let mut noise = EvmSignature::from_slice(&noise).expect("65 bytes");
            noise.0[64] = V_EVEN + (noise.0[64] & 1);
            noise.0[32] &= 0x7f;
            let _ = noise.recover(&digest);
        }
    }
}
