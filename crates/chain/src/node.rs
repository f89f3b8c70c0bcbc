//! The questions that we ask a chain's node, and answers that were compared with them.
//!
//! A node that is honest but behind shows in the numbers; one that contradicts itself is a typed error. A node that lies consistently is
//! believed until its blocks stop fitting together: a second node is the only remedy.
//! Never: an answer for another block, transaction or contract than asked for. Limits: those of the endpoint.

use alloy_primitives::{Address, B256, Bloom, BloomInput, Bytes, U64, U128, U256};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, EndpointError};
use crate::wire::quantity;

/// What we read of a block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    pub(crate) number: U64,
    pub(crate) hash: B256,
    pub(crate) parent_hash: B256,
    pub(crate) timestamp: U64,
    pub(crate) logs_bloom: Bloom,
    pub(crate) base_fee_per_gas: Option<U128>,
}

impl Header {
    pub(crate) fn number(&self) -> u64 {
        self.number.to()
    }

    pub(crate) fn timestamp(&self) -> u64 {
        self.timestamp.to()
    }
}

/// What we read of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) transaction_hash: B256,
    pub(crate) block_hash: B256,
    pub(crate) block_number: U64,
    pub(crate) status: U64,
    pub(crate) gas_used: U64,
}

/// What we read of a log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RpcLog {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    pub(crate) block_hash: B256,
    pub(crate) block_number: U64,
    pub(crate) transaction_hash: B256,
    pub(crate) log_index: U64,
    #[serde(default)]
    pub(crate) removed: bool,
}

/// What we read of a transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RpcTx {
    pub(crate) hash: B256,
    pub(crate) from: Address,
    pub(crate) nonce: U64,
    pub(crate) input: Bytes,
}

#[derive(Deserialize)]
struct Body {
    transactions: Vec<RpcTx>,
}

fn wrong(method: &str, reason: impl Into<String>) -> EndpointError {
    EndpointError::Wrong { method: method.to_owned(), reason: reason.into() }
}

impl Endpoint {
    /// Makes sure that the configured chain is there.
    ///
    /// # Errors
    /// [`EndpointError::OtherChain`], or no answer.
    pub async fn check_chain(&self) -> Result<(), EndpointError> {
        let found: U64 = self.ask("eth_chainId", json!([])).await?;
        let (expected, found) = (self.chain_id(), found.to());
        if found == expected { Ok(()) } else { Err(EndpointError::OtherChain { expected, found }) }
    }

    /// Number of the newest block.
    ///
    /// # Errors
    /// No answer.
    pub async fn head_number(&self) -> Result<u64, EndpointError> {
        Ok(self.ask::<U64>("eth_blockNumber", json!([])).await?.to())
    }

    pub(crate) async fn header(&self, number: u64) -> Result<Option<Header>, EndpointError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let found: Option<Header> = self.ask(METHOD, json!([quantity(number), false])).await?;
        match &found {
            Some(header) if header.number() != number => Err(wrong(METHOD, format!("block {} for {number}", header.number()))),
            _ => Ok(found),
        }
    }

    /// Hash of block 0.
    pub(crate) async fn genesis(&self) -> Result<B256, EndpointError> {
        let first = self.header(0).await?.ok_or_else(|| wrong("eth_getBlockByNumber", "there is no block 0"))?;
        Ok(first.hash)
    }

    pub(crate) async fn newest(&self) -> Result<Header, EndpointError> {
        self.ask("eth_getBlockByNumber", json!(["latest", false])).await
    }

    pub(crate) async fn transactions(&self, number: u64) -> Result<Vec<RpcTx>, EndpointError> {
        let body: Option<Body> = self.ask("eth_getBlockByNumber", json!([quantity(number), true])).await?;
        Ok(body.map_or_else(Vec::new, |body| body.transactions))
    }

    /// Logs of `contracts` in one block. Asks nothing when the block's bloom says that there are none.
    pub(crate) async fn logs_of(&self, block: &Header, contracts: &[Address]) -> Result<Vec<RpcLog>, EndpointError> {
        let may_be = |address: &Address| block.logs_bloom.contains_input(BloomInput::Raw(address.as_slice()));
        let wanted: Vec<_> = contracts.iter().filter(|address| may_be(address)).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        const METHOD: &str = "eth_getLogs";
        let logs: Vec<RpcLog> = self.ask(METHOD, json!([{"blockHash": block.hash, "address": wanted}])).await?;
        for log in &logs {
            let fits = log.block_hash == block.hash && log.block_number == block.number && !log.removed;
            if !fits || !wanted.contains(&&log.address) {
                return Err(wrong(METHOD, "a log of another block or contract"));
            }
        }
        Ok(logs)
    }

    /// Logs of `contracts` in a range of blocks that is final.
    pub(crate) async fn logs_in(&self, from: u64, to: u64, contracts: &[Address]) -> Result<Vec<RpcLog>, EndpointError> {
        const METHOD: &str = "eth_getLogs";
        let filter = json!([{"fromBlock": quantity(from), "toBlock": quantity(to), "address": contracts}]);
        let logs: Vec<RpcLog> = self.ask(METHOD, filter).await?;
        for log in &logs {
            let number: u64 = log.block_number.to();
            if !(from..=to).contains(&number) || log.removed || !contracts.contains(&log.address) {
                return Err(wrong(METHOD, "a log of another range or contract"));
            }
        }
        Ok(logs)
    }

    pub(crate) async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, EndpointError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        let found: Option<Receipt> = self.ask(METHOD, json!([hash])).await?;
        match &found {
            Some(receipt) if receipt.transaction_hash != hash => Err(wrong(METHOD, "the receipt of another transaction")),
            _ => Ok(found),
        }
    }

    pub(crate) async fn nonce_at(&self, address: Address, number: u64) -> Result<u64, EndpointError> {
        Ok(self.ask::<U64>("eth_getTransactionCount", json!([address, quantity(number)])).await?.to())
    }

    pub(crate) async fn nonce_pending(&self, address: Address) -> Result<u64, EndpointError> {
        Ok(self.ask::<U64>("eth_getTransactionCount", json!([address, "pending"])).await?.to())
    }

    pub(crate) async fn coin_balance(&self, address: Address) -> Result<U256, EndpointError> {
        self.ask("eth_getBalance", json!([address, "latest"])).await
    }

    pub(crate) async fn priority_fee(&self) -> Result<u128, EndpointError> {
        match self.ask::<U128>("eth_maxPriorityFeePerGas", json!([])).await {
            Ok(fee) => Ok(fee.to()),
            Err(error) if error.is_refusal() => Ok(0), // a node without the method has no opinion
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn estimate(&self, from: Address, to: Address, input: &Bytes) -> Result<u64, EndpointError> {
        let call = json!([{"from": from, "to": to, "input": input}]);
        Ok(self.ask::<U64>("eth_estimateGas", call).await?.to())
    }

    pub(crate) async fn send_raw(&self, raw: &Bytes) -> Result<B256, EndpointError> {
        self.ask("eth_sendRawTransaction", json!([raw])).await
    }

    /// Calls a contract without a transaction, in the state of the newest block.
    ///
    /// # Errors
    /// No answer, or a revert as [`EndpointError::Refused`] with its data.
    pub(crate) async fn view(&self, to: Address, input: Bytes) -> Result<Bytes, EndpointError> {
        let call: Value = json!([{"to": to, "input": input}, "latest"]);
        self.ask("eth_call", call).await
    }
}
