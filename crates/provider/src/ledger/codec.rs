//! Bytes of rows: fields one after another, big-endian.
//!
//! Never: a read beyond the end.

use bytes::Bytes;
use cairn_market::voucher::{Mandate, SignedMandate};
use cairn_types::{Address, Amount, ChannelId, EvmSignature, UnixSecs};

/// Builds a row.
pub(crate) struct Out(pub Vec<u8>);

impl Out {
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }
    pub fn amount(&mut self, value: Amount) {
        self.0.extend_from_slice(&value.base_units().to_be_bytes());
    }
    pub fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }
    pub fn mandate(&mut self, signed: &SignedMandate) {
        let Mandate { channel, delegate, cumulative_max, valid_until } = signed.mandate;
        self.bytes(channel.as_bytes());
        self.bytes(delegate.as_bytes());
        self.amount(cumulative_max);
        self.u64(valid_until.0);
        self.bytes(signed.signature.as_bytes());
    }
}

/// Reads a row.
pub(crate) struct In<'a>(pub &'a [u8]);

impl In<'_> {
    pub fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (head, rest) = self.0.split_first_chunk::<LEN>()?;
        self.0 = rest;
        Some(*head)
    }
    pub fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.array()?))
    }
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.array()?))
    }
    pub fn amount(&mut self) -> Option<Amount> {
        Some(Amount::from_base_units(u128::from_be_bytes(self.array()?)))
    }
    pub fn mandate(&mut self) -> Option<SignedMandate> {
        let (channel, delegate) = (ChannelId(self.array()?), Address(self.array()?));
        let (cumulative_max, valid_until) = (self.amount()?, UnixSecs(self.u64()?));
        let mandate = Mandate { channel, delegate, cumulative_max, valid_until };
        Some(SignedMandate { mandate, signature: EvmSignature(self.array()?) })
    }
    pub fn bytes(&mut self, len: usize) -> Option<Bytes> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(head))
    }
}
