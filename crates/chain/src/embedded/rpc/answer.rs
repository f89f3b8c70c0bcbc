//! Answers: blocks, transactions, receipts and logs as JSON-RPC shows them.
//!
//! Never: a field that the chain does not know.

use alloy_consensus::{Transaction, TxEnvelope, TxReceipt};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bloom, Log, U256};
use serde_json::{Map, Value, json};

use crate::embedded::block::{Block, MinedTx};
use crate::wire::quantity;

pub(super) fn block(block: &Block, full: bool) -> Value {
    let header = &block.header;
    let transactions = match &block.tx {
        None => json!([]),
        Some(mined) if full => json!([transaction(block, mined)]),
        Some(mined) => json!([mined.envelope.tx_hash()]),
    };
    let len = alloy_rlp::Encodable::length(header) + block.tx.as_ref().map_or(0, |mined| mined.envelope.encode_2718_len());
    json!({
        "number": quantity(header.number),
        "hash": block.hash,
        "parentHash": header.parent_hash,
        "sha3Uncles": header.ommers_hash,
        "miner": header.beneficiary,
        "stateRoot": header.state_root,
        "transactionsRoot": header.transactions_root,
        "receiptsRoot": header.receipts_root,
        "logsBloom": header.logs_bloom,
        "difficulty": quantity(header.difficulty),
        "totalDifficulty": "0x0",
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "extraData": header.extra_data,
        "mixHash": header.mix_hash,
        "nonce": header.nonce,
        "baseFeePerGas": quantity(header.base_fee_per_gas.unwrap_or_default()),
        "withdrawalsRoot": header.withdrawals_root,
        "withdrawals": [],
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": header.parent_beacon_block_root,
        "size": quantity(len as u64),
        "uncles": [],
        "transactions": transactions,
    })
}

pub(super) fn transaction(block: &Block, mined: &MinedTx) -> Value {
    let tx = &mined.envelope;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("type", quantity(tx.tx_type() as u8));
    put("hash", json!(tx.tx_hash()));
    put("blockHash", json!(block.hash));
    put("blockNumber", quantity(block.header.number));
    put("blockTimestamp", quantity(block.header.timestamp));
    put("transactionIndex", json!("0x0"));
    put("from", json!(mined.sender));
    put("to", json!(tx.to()));
    put("nonce", quantity(tx.nonce()));
    put("value", quantity(tx.value()));
    put("gas", quantity(tx.gas_limit()));
    put("gasPrice", quantity(mined.gas_price()));
    put("input", json!(tx.input()));
    let signature = tx.signature();
    put("r", quantity(signature.r()));
    put("s", quantity(signature.s()));
    if let Some(id) = tx.chain_id() {
        put("chainId", quantity(id));
    }
    let parity = u64::from(signature.v());
    if let TxEnvelope::Legacy(_) = tx {
        put("v", quantity(tx.chain_id().map_or(27 + parity, |id| id.saturating_mul(2).saturating_add(35 + parity))));
    } else {
        put("v", quantity(parity));
        put("yParity", quantity(parity));
        let list = tx.access_list().map(|list| list.0.as_slice()).unwrap_or_default();
        put("accessList", list.iter().map(|item| json!({"address": item.address, "storageKeys": item.storage_keys})).collect());
    }
    if let Some(priority) = tx.max_priority_fee_per_gas() {
        put("maxPriorityFeePerGas", quantity(priority));
        put("maxFeePerGas", quantity(tx.max_fee_per_gas()));
    }
    Value::Object(fields)
}

pub(super) fn receipt(block: &Block, mined: &MinedTx) -> Value {
    let logs: Vec<_> = mined.logs().iter().enumerate().map(|(index, entry)| log(block, mined, index, entry)).collect();
    let bloom: Bloom = mined.receipt.bloom();
    json!({
        "type": quantity(mined.envelope.tx_type() as u8),
        "status": quantity(u8::from(mined.receipt.is_success())),
        "transactionHash": mined.envelope.tx_hash(),
        "transactionIndex": "0x0",
        "blockHash": block.hash,
        "blockNumber": quantity(block.header.number),
        "from": mined.sender,
        "to": mined.envelope.to(),
        "contractAddress": mined.created,
        "cumulativeGasUsed": quantity(mined.receipt.cumulative_gas_used()),
        "gasUsed": quantity(mined.receipt.cumulative_gas_used()),
        "effectiveGasPrice": quantity(mined.gas_price()),
        "logs": logs,
        "logsBloom": bloom,
    })
}

pub(super) fn log(block: &Block, mined: &MinedTx, index: usize, log: &Log) -> Value {
    json!({
        "address": log.address,
        "topics": log.topics(),
        "data": log.data.data,
        "blockHash": block.hash,
        "blockNumber": quantity(block.header.number),
        "blockTimestamp": quantity(block.header.timestamp),
        "transactionHash": mined.envelope.tx_hash(),
        "transactionIndex": "0x0",
        "logIndex": quantity(index as u64),
        "removed": false,
    })
}

/// A word as storage shows it: 32 bytes.
pub(super) fn word(value: U256) -> Value {
    json!(alloy_primitives::B256::from(value))
}
