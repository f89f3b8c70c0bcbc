//! Block: a header, at most one transaction, and its receipt; and how they lie in the journal.
//!
//! Never: a hash that does not follow from the bytes beside it. Limits: one transaction a block, [`RECORD_LEN_MAX`].

use alloy_consensus::{Header, ReceiptEnvelope, Transaction, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bloom, Log};
use alloy_rlp::{Decodable, Encodable};
use prost::Message;

const RECORD_VERSION: u8 = 1;
/// An encoded block: raw transaction, logs of a full block's gas, header.
pub(super) const RECORD_LEN_MAX: usize = 16 << 20;

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    #[error("record version {0} is unknown; it was written by a later version")]
    UnknownVersion(u8),
    #[error("record is damaged: {0}")]
    Damaged(String),
}

/// A transaction that is in a block.
#[derive(Debug, Clone)]
pub(super) struct MinedTx {
    pub(super) envelope: TxEnvelope,
    pub(super) sender: Address,
    pub(super) receipt: ReceiptEnvelope,
    /// The contract that it made.
    pub(super) created: Option<Address>,
}

impl MinedTx {
    pub(super) fn logs(&self) -> &[Log] {
        self.receipt.logs()
    }

    /// What was paid for each unit of gas; the base fee is zero.
    pub(super) fn gas_price(&self) -> u128 {
        self.envelope.effective_gas_price(Some(0))
    }
}

/// A block of the embedded chain.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) header: Header,
    pub(super) hash: B256,
    pub(super) tx: Option<MinedTx>,
}

#[derive(Clone, PartialEq, Message)]
struct BlockRecord {
    /// RLP.
    #[prost(bytes = "bytes", tag = "1")]
    header: bytes::Bytes,
    #[prost(message, optional, tag = "2")]
    tx: Option<TxRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct TxRecord {
    /// EIP-2718.
    #[prost(bytes = "bytes", tag = "1")]
    raw: bytes::Bytes,
    /// 20 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    sender: bytes::Bytes,
    /// EIP-2718, with bloom.
    #[prost(bytes = "bytes", tag = "3")]
    receipt: bytes::Bytes,
    /// 20 bytes, or none.
    #[prost(bytes = "bytes", tag = "4")]
    created: bytes::Bytes,
}

impl Block {
    /// A block with the hash that its header has.
    pub(super) fn new(header: Header, tx: Option<MinedTx>) -> Block {
        let hash = header.hash_slow();
        Block { header, hash, tx }
    }

    /// Version byte, then protobuf.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut header = Vec::new();
        self.header.encode(&mut header);
        let tx = self.tx.as_ref().map(|tx| TxRecord {
            raw: tx.envelope.encoded_2718().into(),
            sender: bytes::Bytes::copy_from_slice(tx.sender.as_slice()),
            receipt: tx.receipt.encoded_2718().into(),
            created: tx.created.map_or_else(bytes::Bytes::new, |address| bytes::Bytes::copy_from_slice(address.as_slice())),
        });
        let record = BlockRecord { header: header.into(), tx };
        let mut bytes = vec![RECORD_VERSION];
        record.encode(&mut bytes).expect("a Vec grows");
        bytes
    }

    /// What [`Self::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Block, BlockError> {
        let damaged = |what: &str| BlockError::Damaged(what.to_owned());
        if bytes.len() > RECORD_LEN_MAX {
            return Err(BlockError::Damaged(format!("{} bytes", bytes.len())));
        }
        let record = match bytes.split_first() {
            Some((&RECORD_VERSION, body)) => BlockRecord::decode(body).map_err(|error| BlockError::Damaged(error.to_string()))?,
            Some((&version, _)) => return Err(BlockError::UnknownVersion(version)),
            None => return Err(damaged("empty")),
        };
        let header = Header::decode(&mut record.header.as_ref()).map_err(|_| damaged("header"))?;
        let tx = match record.tx {
            None => None,
            Some(tx) => Some(MinedTx {
                envelope: TxEnvelope::decode_2718_exact(&tx.raw).map_err(|_| damaged("transaction"))?,
                sender: Address::try_from(tx.sender.as_ref()).map_err(|_| damaged("sender"))?,
                receipt: ReceiptEnvelope::decode_2718_exact(&tx.receipt).map_err(|_| damaged("receipt"))?,
                created: match tx.created.as_ref() {
                    [] => None,
                    address => Some(Address::try_from(address).map_err(|_| damaged("created address"))?),
                },
            }),
        };
        Ok(Block::new(header, tx))
    }

    /// Whether the block's bloom lets `wanted` be in its logs.
    pub(super) fn may_contain(&self, wanted: &Bloom) -> bool {
        self.header.logs_bloom.contains(wanted)
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{Receipt, SignableTransaction, TxEip1559};
    use alloy_primitives::{Bytes, LogData, Signature, TxKind, U256};

    use super::*;

    fn block() -> Block {
        let tx = TxEip1559 {
            chain_id: 52_114,
            nonce: 7,
            gas_limit: 21_000,
            to: TxKind::Call(Address::repeat_byte(1)),
            ..TxEip1559::default()
        };
        let envelope = TxEnvelope::from(tx.into_signed(Signature::new(U256::from(1), U256::from(2), true)));
        let data = LogData::new_unchecked(vec![B256::repeat_byte(4)], Bytes::from_static(b"data"));
        let log = Log { address: Address::repeat_byte(3), data };
        let receipt = Receipt { status: true.into(), cumulative_gas_used: 21_000, logs: vec![log] };
        let receipt = ReceiptEnvelope::from_typed(envelope.tx_type(), receipt.with_bloom());
        let tx = MinedTx { envelope, sender: Address::repeat_byte(2), receipt, created: Some(Address::repeat_byte(5)) };
        Block::new(Header { number: 9, timestamp: 1_700_000_000, base_fee_per_gas: Some(0), ..Header::default() }, Some(tx))
    }

    #[test]
    fn a_block_reads_back_and_its_bytes_are_fixed() {
        let block = block();
        let bytes = block.encode();
        crate::golden::check("block", &bytes);
        let read = Block::decode(&bytes).expect("its own bytes");
        assert_eq!((read.hash, &read.header), (block.hash, &block.header));
        assert_eq!(read.encode(), bytes);
        let empty = Block::new(Header::default(), None);
        assert!(Block::decode(&empty.encode()).expect("its own bytes").tx.is_none());
    }

    #[test]
    fn damaged_blocks_are_refused_and_never_panic() {
        let bytes = block().encode();
        assert_eq!(Block::decode(&[]).err(), Some(BlockError::Damaged("empty".into())));
        assert_eq!(Block::decode(&[2]).err(), Some(BlockError::UnknownVersion(2)));
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0xff;
            let _ = Block::decode(&wrong);
            let _ = Block::decode(&bytes[..at]);
        }
    }
}
