//! Wire: the EVM's words as JSON-RPC writes them, between our types and alloy's, and signed transactions.
//!
//! Never: parses anything without a bound.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_primitives::{Signature, U256};
use cairn_types::{Address, WalletKey};
use serde_json::Value;

/// Our address as alloy's.
pub(crate) fn evm(address: Address) -> alloy_primitives::Address {
    alloy_primitives::Address::new(address.0)
}

/// Alloy's address as ours.
pub(crate) fn ours(address: alloy_primitives::Address) -> Address {
    Address(address.into_array())
}

/// `0x`-quantity without leading zeros.
pub(crate) fn quantity(value: impl TryInto<U256>) -> Value {
    let value = value.try_into().unwrap_or_else(|_| unreachable!("only unsigned integers of at most 256 bits are passed"));
    Value::String(format!("{value:#x}"))
}

/// Reads a `0x`-quantity that fits 64 bits.
pub(crate) fn parse_u64(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let plain = !digits.is_empty() && digits.len() <= 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Reads a `0x`-quantity that fits 256 bits.
pub(crate) fn parse_u256(text: &str) -> Option<U256> {
    let digits = text.strip_prefix("0x")?;
    let plain = !digits.is_empty() && digits.len() <= 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| U256::from_str_radix(digits, 16).ok()).flatten()
}

/// Signs a transaction.
pub(crate) fn sign(tx: TxEip1559, key: &WalletKey) -> TxEnvelope {
    let signature = key.sign_digest(&tx.signature_hash().0);
    let bytes = signature.as_bytes();
    let (r, s) = (U256::from_be_slice(&bytes[..32]), U256::from_be_slice(&bytes[32..64]));
    TxEnvelope::from(tx.into_signed(Signature::new(r, s, bytes[64] == 28)))
}
