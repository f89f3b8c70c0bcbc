//! EIP-712: what a wallet signs, so that one kind of message, chain or contract cannot pass as another.
//!
//! Source: <https://eips.ethereum.org/EIPS/eip-712>. The kinds and their fields: `docs/formats/commitment.md`, `docs/formats/voucher.md`.
//! Never: a dynamic type inside a message; every field is one word. Limits: version is always "1".

use sha3::{Digest, Keccak256};

use crate::amount::Amount;
use crate::port::UnixSecs;
use crate::wallet::Address;

/// One 32-byte word of the EVM.
pub type Word = [u8; 32];

const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const VERSION: &str = "1";

/// Keccak-256, as the EVM has it (not SHA3-256).
pub fn keccak256(bytes: impl AsRef<[u8]>) -> Word {
    Keccak256::digest(bytes).into()
}

/// Where a signature counts: one contract on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Domain {
    /// Name of the contract's domain.
    pub name: &'static str,
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
}

impl Domain {
    /// Domain of the contract `Channels`.
    pub const fn channels(chain_id: u64, contract: Address) -> Domain {
        Domain { name: "Cairn Channels", chain_id, contract }
    }

    /// Domain of the contract `Court`.
    pub const fn court(chain_id: u64, contract: Address) -> Domain {
        Domain { name: "Cairn Court", chain_id, contract }
    }

    /// The domain separator.
    pub fn separator(&self) -> Word {
        hash_words(&[
            keccak256(DOMAIN_TYPE),
            keccak256(self.name),
            keccak256(VERSION),
            word_u64(self.chain_id),
            word_address(self.contract),
        ])
    }
}

/// The digest that is signed: `keccak256(0x19 ‖ 0x01 ‖ separator ‖ keccak256(type_hash ‖ words))`.
pub fn digest(domain: &Domain, type_hash: &Word, words: &[Word]) -> Word {
    let mut fields = Vec::with_capacity(1 + words.len());
    fields.push(*type_hash);
    fields.extend_from_slice(words);
    keccak256([&[0x19, 0x01], domain.separator().as_slice(), hash_words(&fields).as_slice()].concat())
}

/// Keccak-256 of words one after another: `keccak256(abi.encode(…))` of static types.
pub fn hash_words(words: &[Word]) -> Word {
    keccak256(words.as_flattened())
}

/// A number as a word.
pub fn word_u64(value: u64) -> Word {
    word_u128(u128::from(value))
}

/// A number as a word.
pub fn word_u128(value: u128) -> Word {
    let mut word = [0u8; 32];
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

/// An amount as a word of base units.
pub fn word_amount(amount: Amount) -> Word {
    word_u128(amount.base_units())
}

/// A moment as a word of seconds.
pub fn word_secs(moment: UnixSecs) -> Word {
    word_u64(moment.0)
}

/// An address as a word.
pub fn word_address(address: Address) -> Word {
    let mut word = [0u8; 32];
    word[12..].copy_from_slice(&address.0);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keccak_is_the_one_of_the_evm() {
        assert_eq!(hex::encode(keccak256("")), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        assert_eq!(
            hex::encode(keccak256(DOMAIN_TYPE)),
            "8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f",
            "the well-known hash of the domain type"
        );
    }

    /// The example of EIP-712 itself ("Ether Mail"), whose nested structs are given as their hashes.
    #[test]
    fn the_example_of_the_standard_comes_out() {
        let contract = Address([0xcc; 20]);
        let domain = Domain { name: "Ether Mail", chain_id: 1, contract: Address(contract.0) };
        assert_eq!(hex::encode(domain.separator()), "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f");
        let words = [
            "fc71e5fa27ff56c350aa531bc129ebdf613b772b6604664f5d8dbe21b85eb0c8",
            "cd54f074a4af31b4411ff6a60c9719dbd559c221c8ac3492d9d872b041d703d1",
        ]
        .map(|text| hex::decode(text).expect("hex").try_into().expect("32 bytes"));
        let type_hash = keccak256("Mail(Person from,Person to,string contents)Person(string name,address wallet)");
        let contents = keccak256("Hello, Bob!");
        let digest = digest(
            &Domain { contract: parse("0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"), ..domain },
            &type_hash,
            &[words[0], words[1], contents],
        );
        assert_eq!(hex::encode(digest), "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2");
    }

    fn parse(text: &str) -> Address {
        text.parse().expect("an address")
    }

    #[test]
    fn anything_that_differs_gives_another_digest() {
        let domain = Domain::channels(1, Address([1; 20]));
        let (kind, words) = (keccak256("A(uint64 x)"), [word_u64(7)]);
        let first = digest(&domain, &kind, &words);
        let others = [
            digest(&Domain::court(1, Address([1; 20])), &kind, &words),
            digest(&Domain::channels(2, Address([1; 20])), &kind, &words),
            digest(&Domain::channels(1, Address([2; 20])), &kind, &words),
            digest(&domain, &keccak256("B(uint64 x)"), &words),
            digest(&domain, &kind, &[word_u64(8)]),
            digest(&domain, &kind, &[word_u64(7), word_u64(0)]),
        ];
        assert!(others.iter().all(|other| *other != first));
    }
}
