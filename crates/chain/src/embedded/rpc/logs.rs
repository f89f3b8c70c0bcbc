//! `eth_getLogs`: events of a range of blocks, found by their blooms.
//!
//! Never: more than the bounds, and never a silent cut: the caller is told to ask for less.
//! Limits: [`LOGS_BLOCKS_MAX`], [`LOGS_MAX`], [`ANSWER_LEN_MAX`].

use alloy_primitives::{Address, B256, Bloom, BloomInput, Log};
use serde_json::Value;

use super::answer;
use super::error::RpcError;
use super::params::{BlockRef, address, block_ref, hash, one_or_many};
use crate::embedded::block::Block;
use crate::embedded::journal::View;
use crate::embedded::limits::{ANSWER_LEN_MAX, LOGS_BLOCKS_MAX, LOGS_MAX};

/// Bytes of a log in JSON beside its data.
const LOG_LEN: usize = 600;
const TOPICS_MAX: usize = 4;

/// Which logs a caller wants.
pub(super) struct Filter {
    from: BlockRef,
    to: BlockRef,
    addresses: Vec<Address>,
    /// By position; an empty list lets everything through.
    topics: Vec<Vec<B256>>,
}

impl Filter {
    pub(super) fn read(value: &Value) -> Result<Filter, RpcError> {
        let field = |name: &str| value.get(name).filter(|value| !value.is_null());
        let (from, to) = match field("blockHash") {
            Some(_) if field("fromBlock").is_some() || field("toBlock").is_some() => {
                return Err(RpcError::params("blockHash excludes fromBlock and toBlock"));
            }
            Some(wanted) => (BlockRef::Hash(hash(wanted)?), BlockRef::Hash(hash(wanted)?)),
            None => (
                field("fromBlock").map_or(Ok(BlockRef::Latest), block_ref)?,
                field("toBlock").map_or(Ok(BlockRef::Latest), block_ref)?,
            ),
        };
        let topics = match field("topics") {
            None => Vec::new(),
            Some(Value::Array(positions)) if positions.len() <= TOPICS_MAX => {
                positions.iter().map(|position| one_or_many(Some(position), hash)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(RpcError::params("topics must be a list of at most four")),
        };
        Ok(Filter { from, to, addresses: one_or_many(field("address"), address)?, topics })
    }

    pub(super) fn run(&self, view: &View<'_>) -> Result<Value, RpcError> {
        let head = view.head_number()?.unwrap_or_default();
        let number = |wanted: BlockRef| match wanted {
            BlockRef::Latest => Ok(head),
            BlockRef::Number(number) => Ok(number),
            BlockRef::Hash(hash) => view.number_of_block(&hash)?.ok_or_else(|| RpcError::server("unknown block")),
        };
        let (from, to) = (number(self.from)?, number(self.to)?.min(head));
        if to.saturating_sub(from) >= LOGS_BLOCKS_MAX {
            return Err(RpcError::limit(format!("at most {LOGS_BLOCKS_MAX} blocks at once; ask for a shorter range")));
        }
        let (mut found, mut len) = (Vec::new(), 0usize);
        for number in from..=to {
            let block = view.block(number)?.ok_or_else(|| RpcError::server("unknown block"))?;
            let Some(mined) = block.tx.as_ref().filter(|_| self.may_be_in(&block)) else { continue };
            for (index, log) in mined.logs().iter().enumerate().filter(|(_, log)| self.wants(log)) {
                len += LOG_LEN + 2 * log.data.data.len();
                if found.len() == LOGS_MAX || len > ANSWER_LEN_MAX / 2 {
                    return Err(RpcError::limit(format!("more than {LOGS_MAX} logs, or too long; ask for a shorter range")));
                }
                found.push(answer::log(&block, mined, index, log));
            }
        }
        Ok(Value::Array(found))
    }

    fn may_be_in(&self, block: &Block) -> bool {
        let any = |wanted: &[&[u8]]| {
            wanted.is_empty()
                || wanted.iter().any(|raw| {
                    let mut bloom = Bloom::ZERO;
                    bloom.accrue(BloomInput::Raw(raw));
                    block.may_contain(&bloom)
                })
        };
        let addresses: Vec<_> = self.addresses.iter().map(|address| address.as_slice()).collect();
        any(&addresses)
            && self.topics.iter().all(|position| any(&position.iter().map(|topic| topic.as_slice()).collect::<Vec<_>>()))
    }

    fn wants(&self, log: &Log) -> bool {
        let topics = log.topics();
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.len() <= topics.len()
            && self.topics.iter().zip(topics).all(|(position, topic)| position.is_empty() || position.contains(topic))
    }
}
