//! Methods: which name does what.
//!
//! Never: a read on an async thread. Limits: [`READS_IN_FLIGHT_MAX`](crate::embedded::limits::READS_IN_FLIGHT_MAX) reads at once.

use alloy_consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable};
use alloy_eips::eip2718::Decodable2718;
use serde_json::{Value, json};

use super::answer;
use super::error::RpcError;
use super::logs::Filter;
use super::params::{BlockRef, Params};
use crate::embedded::Embedded;
use crate::embedded::block::Block;
use crate::embedded::draft::Checked;
use crate::embedded::evm::Moment;
use crate::embedded::journal::View;
use crate::embedded::limits::{READ_WAIT, TX_GAS_MAX, TX_LEN_MAX};
use crate::embedded::sequencer::block_time;
use crate::embedded::world::{At, World};
use crate::wire::quantity;

/// Answers one call.
pub(super) async fn answer(chain: &Embedded, method: &str, params: Option<Value>) -> Result<Value, RpcError> {
    match method {
        "eth_chainId" => Ok(quantity(chain.chain_id)),
        "net_version" => Ok(json!(chain.chain_id.to_string())),
        "web3_clientVersion" => Ok(json!(concat!("cairn/", env!("CARGO_PKG_VERSION")))),
        "eth_syncing" | "net_listening" => Ok(json!(false)),
        "eth_accounts" => Ok(json!([])),
        "eth_gasPrice" | "eth_maxPriorityFeePerGas" | "eth_blobBaseFee" => Ok(json!("0x0")),
        "eth_sendRawTransaction" => send(chain, params).await,
        "evm_increaseTime" | "evm_setNextBlockTimestamp" | "evm_mine" => test_clock(chain, method, params).await,
        "eth_blockNumber"
        | "eth_getBlockByNumber"
        | "eth_getBlockByHash"
        | "eth_getBlockReceipts"
        | "eth_getTransactionByHash"
        | "eth_getTransactionReceipt"
        | "eth_getTransactionCount"
        | "eth_getBalance"
        | "eth_getCode"
        | "eth_getStorageAt"
        | "eth_call"
        | "eth_estimateGas"
        | "eth_feeHistory"
        | "eth_getLogs" => {
            let method = method.to_owned();
            blocking(chain, move |chain| read(chain, &method, params.as_ref())).await
        }
        _ => {
            let shown: String = method.chars().take(60).collect();
            Err(RpcError::new(RpcError::METHOD, format!("the method {shown} does not exist here")))
        }
    }
}

/// Runs `work` on a thread that may block, behind a permit.
async fn blocking<F>(chain: &Embedded, work: F) -> Result<Value, RpcError>
where
    F: FnOnce(&Embedded) -> Result<Value, RpcError> + Send + 'static,
{
    let permit = tokio::time::timeout(READ_WAIT, chain.readers.clone().acquire_owned()).await;
    let permit = permit.map_err(|_| RpcError::limit("too many requests at once; try again"))?;
    let permit = permit.map_err(|_| RpcError::new(RpcError::INTERNAL, "the chain stops"))?;
    let chain = chain.clone();
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&chain)
    });
    done.await.map_err(|error| RpcError::new(RpcError::INTERNAL, format!("the request failed: {error}")))?
}

async fn send(chain: &Embedded, params: Option<Value>) -> Result<Value, RpcError> {
    let (checking, (reply, checked)) = (chain.chain_id, tokio::sync::oneshot::channel());
    let hash = blocking(chain, move |_| {
        let tx = check(checking, &Params::new(params.as_ref())?)?;
        let hash = json!(tx.envelope.tx_hash());
        let _ = reply.send(tx); // whoever asked waits below, or is gone
        Ok(hash)
    });
    let hash = hash.await?;
    let tx = checked.await.map_err(|_| RpcError::new(RpcError::INTERNAL, "a checked transaction was lost"))?;
    chain.sequencer.submit(tx).await?;
    Ok(hash)
}

fn check(chain_id: u64, params: &Params<'_>) -> Result<Checked, RpcError> {
    let raw = params.bytes(0)?;
    if raw.len() > TX_LEN_MAX {
        return Err(RpcError::server(format!("a transaction has at most {TX_LEN_MAX} bytes")));
    }
    let envelope =
        TxEnvelope::decode_2718_exact(&raw).map_err(|error| RpcError::server(format!("not a transaction: {error}")))?;
    if !(envelope.is_legacy() || envelope.is_eip2930() || envelope.is_eip1559()) {
        return Err(RpcError::server("transactions of types 0, 1 and 2 are taken here"));
    }
    match envelope.chain_id() {
        Some(id) if id == chain_id => {}
        Some(id) => return Err(RpcError::server(format!("the transaction is for chain {id}, this is {chain_id}"))),
        None => return Err(RpcError::server("only replay-protected (EIP-155) transactions are taken")),
    }
    if envelope.gas_limit() > TX_GAS_MAX {
        return Err(RpcError::server(format!("a transaction has at most {TX_GAS_MAX} gas")));
    }
    let sender = envelope.recover_signer().map_err(|_| RpcError::server("the signature is not good"))?;
    Ok(Checked { envelope, sender })
}

async fn test_clock(chain: &Embedded, method: &str, params: Option<Value>) -> Result<Value, RpcError> {
    if !chain.test_clock {
        return Err(RpcError::new(RpcError::METHOD, format!("{method} exists only on a chain opened with a test clock")));
    }
    let params = Params::new(params.as_ref())?;
    match method {
        "evm_increaseTime" => {
            let seconds = params.count(0)?;
            chain.sequencer.advance(seconds).await?;
            Ok(json!(seconds))
        }
        "evm_setNextBlockTimestamp" => {
            chain.sequencer.next_time(params.count(0)?).await.map(|()| Value::Null).map_err(RpcError::from)
        }
        _ => chain.sequencer.mine().await.map(|()| json!("0x0")).map_err(RpcError::from),
    }
}

fn read(chain: &Embedded, method: &str, params: Option<&Value>) -> Result<Value, RpcError> {
    let params = Params::new(params)?;
    let view = chain.journal.view();
    let reader = Reader {
        view: &view,
        chain_id: chain.chain_id,
        now_s: chain.clock.now().0 / 1000,
        ahead_s: chain.journal.clock_ahead_s()?,
    };
    match method {
        "eth_blockNumber" => reader.head().map(quantity),
        "eth_getBlockByNumber" => {
            let block = reader.block(params.block(0)?)?;
            Ok(block.map_or(Value::Null, |block| answer::block(&block, params.flag(1).unwrap_or_default())))
        }
        "eth_getBlockByHash" => {
            let block = reader.block(BlockRef::Hash(params.hash(0)?))?;
            Ok(block.map_or(Value::Null, |block| answer::block(&block, params.flag(1).unwrap_or_default())))
        }
        "eth_getBlockReceipts" => {
            let block = reader.block(params.block(0)?)?;
            Ok(block.map_or(Value::Null, |block| block.tx.iter().map(|tx| answer::receipt(&block, tx)).collect()))
        }
        "eth_getTransactionByHash" => reader.with_tx(&params, answer::transaction),
        "eth_getTransactionReceipt" => reader.with_tx(&params, answer::receipt),
        "eth_getTransactionCount" => Ok(quantity(reader.world(&params, 1)?.account(&params.address(0)?)?.nonce)),
        "eth_getBalance" => Ok(quantity(reader.world(&params, 1)?.account(&params.address(0)?)?.balance)),
        "eth_getCode" => {
            let world = reader.world(&params, 1)?;
            Ok(json!(world.code(&world.account(&params.address(0)?)?.code_hash)?))
        }
        "eth_getStorageAt" => Ok(answer::word(reader.world(&params, 2)?.slot(&params.address(0)?, &params.slot(1)?)?)),
        "eth_call" => reader.call(&params),
        "eth_estimateGas" => reader.estimate(&params),
        "eth_feeHistory" => reader.fee_history(&params),
        "eth_getLogs" => Filter::read(params.object(0)?)?.run(&view),
        _ => Err(RpcError::new(RpcError::INTERNAL, "a method without an answer")),
    }
}

/// One moment of the chain, for one call.
pub(super) struct Reader<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) chain_id: u64,
    now_s: u64,
    ahead_s: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn head(&self) -> Result<u64, RpcError> {
        Ok(self.view.head_number()?.unwrap_or_default())
    }

    pub(super) fn block(&self, wanted: BlockRef) -> Result<Option<Block>, RpcError> {
        let number = match wanted {
            BlockRef::Latest => Some(self.head()?),
            BlockRef::Number(number) => Some(number),
            BlockRef::Hash(hash) => self.view.number_of_block(&hash)?,
        };
        Ok(number.map(|number| self.view.block(number)).transpose()?.flatten())
    }

    /// The block that would be mined now.
    pub(super) fn next_moment(&self) -> Result<Moment, RpcError> {
        let head = self.view.head()?;
        let (number, parent_s) = head.map_or((0, 0), |head| (head.header.number + 1, head.header.timestamp));
        Ok(Moment { number, timestamp: block_time(parent_s, self.now_s, self.ahead_s) })
    }

    fn world(&self, params: &Params<'_>, at: usize) -> Result<World<At<'a, 'a>>, RpcError> {
        let number = match params.block(at)? {
            BlockRef::Latest => self.head()?,
            named => self.block(named)?.ok_or_else(|| RpcError::server("unknown block"))?.header.number,
        };
        Ok(World(At { view: self.view, number }))
    }

    fn with_tx(
        &self,
        params: &Params<'_>,
        show: fn(&Block, &crate::embedded::block::MinedTx) -> Value,
    ) -> Result<Value, RpcError> {
        let Some(number) = self.view.number_of_tx(&params.hash(0)?)? else { return Ok(Value::Null) };
        let block = self.view.block(number)?;
        Ok(block.as_ref().and_then(|block| block.tx.as_ref().map(|tx| show(block, tx))).unwrap_or(Value::Null))
    }
}
