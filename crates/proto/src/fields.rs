//! Fields of fixed width inside messages: amounts, counts of 128 bits, addresses, signatures.

use bytes::Bytes;
use cairn_types::{Address, Amount, EvmSignature};

/// Sixteen bytes, big-endian.
pub(crate) fn put_u128(value: u128) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

pub(crate) fn get_u128(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

pub(crate) fn put_amount(amount: Amount) -> Bytes {
    put_u128(amount.base_units())
}

pub(crate) fn get_amount(bytes: &[u8]) -> Option<Amount> {
    get_u128(bytes).map(Amount::from_base_units)
}

pub(crate) fn put_address(address: Address) -> Bytes {
    Bytes::copy_from_slice(address.as_bytes())
}

pub(crate) fn get_address(bytes: &[u8]) -> Option<Address> {
    Address::from_slice(bytes)
}

pub(crate) fn put_signature(signature: &EvmSignature) -> Bytes {
    Bytes::copy_from_slice(&signature.0)
}

pub(crate) fn get_signature(bytes: &[u8]) -> Option<EvmSignature> {
    EvmSignature::from_slice(bytes)
}
