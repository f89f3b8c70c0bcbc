//! Parameters: what a request's JSON must be, read strictly and within bounds.
//!
//! Never: a guess for a malformed value. Limits: [`crate::embedded::limits`].

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use revm::context_interface::transaction::{AccessList, AccessListItem};
use serde_json::Value;

use super::error::RpcError;
use crate::embedded::evm::Call;
use crate::embedded::limits::{CALL_GAS_MAX, FILTER_ITEMS_MAX, TX_LEN_MAX};
use crate::wire::{parse_u64, parse_u256};

/// Entries of an access list, and keys of each.
const ACCESS_ITEMS_MAX: usize = 256;

/// Which block a caller means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockRef {
    /// The newest; also `pending`, `safe` and `finalized`: what is answered is final.
    Latest,
    /// By number.
    Number(u64),
    /// By hash.
    Hash(B256),
}

/// Positional parameters.
pub(super) struct Params<'a>(&'a [Value]);

impl<'a> Params<'a> {
    /// Of a request's `params`; none is the same as an empty list.
    pub(super) fn new(params: Option<&'a Value>) -> Result<Params<'a>, RpcError> {
        match params {
            None | Some(Value::Null) => Ok(Params(&[])),
            Some(Value::Array(list)) => Ok(Params(list)),
            Some(_) => Err(RpcError::params("params must be a list")),
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&'a Value> {
        self.0.get(at).filter(|value| !value.is_null())
    }

    fn must(&self, at: usize) -> Result<&'a Value, RpcError> {
        self.get(at).ok_or_else(|| RpcError::params(format!("parameter {at} is missing")))
    }

    pub(super) fn address(&self, at: usize) -> Result<Address, RpcError> {
        address(self.must(at)?)
    }

    pub(super) fn hash(&self, at: usize) -> Result<B256, RpcError> {
        hash(self.must(at)?)
    }

    /// A storage slot: tools write it as 32 bytes or as a quantity.
    pub(super) fn slot(&self, at: usize) -> Result<U256, RpcError> {
        word(self.must(at)?)
    }

    pub(super) fn bytes(&self, at: usize) -> Result<Bytes, RpcError> {
        bytes(self.must(at)?)
    }

    pub(super) fn flag(&self, at: usize) -> Result<bool, RpcError> {
        match self.get(at) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| RpcError::params(format!("parameter {at} must be true or false"))),
        }
    }

    /// A count; tools write it as a quantity or as a number.
    pub(super) fn count(&self, at: usize) -> Result<u64, RpcError> {
        let value = self.must(at)?;
        value.as_u64().map_or_else(|| u64_of(value), Ok)
    }

    pub(super) fn block(&self, at: usize) -> Result<BlockRef, RpcError> {
        self.get(at).map_or(Ok(BlockRef::Latest), block_ref)
    }

    pub(super) fn call(&self, at: usize) -> Result<Call, RpcError> {
        call(self.must(at)?)
    }

    pub(super) fn object(&self, at: usize) -> Result<&'a Value, RpcError> {
        let value = self.must(at)?;
        if value.is_object() { Ok(value) } else { Err(RpcError::params(format!("parameter {at} must be an object"))) }
    }

    /// Refuses what the caller counts on and we do not do.
    pub(super) fn nothing_from(&self, at: usize, what: &str) -> Result<(), RpcError> {
        let empty = |value: &Value| value.as_object().is_some_and(|fields| fields.is_empty());
        match (at..self.0.len()).filter_map(|at| self.get(at)).find(|value| !empty(value)) {
            Some(_) => Err(RpcError::params(format!("{what} are not supported"))),
            None => Ok(()),
        }
    }
}

fn text(value: &Value) -> Result<&str, RpcError> {
    value.as_str().ok_or_else(|| RpcError::params("a hex string is expected"))
}

pub(super) fn address(value: &Value) -> Result<Address, RpcError> {
    let text = text(value)?;
    if text.len() == 42 && text.starts_with("0x") {
        text.parse().map_err(|_| RpcError::params("not an address"))
    } else {
        Err(RpcError::params("not an address"))
    }
}

pub(super) fn hash(value: &Value) -> Result<B256, RpcError> {
    let text = text(value)?;
    if text.len() == 66 && text.starts_with("0x") {
        text.parse().map_err(|_| RpcError::params("not a hash of 32 bytes"))
    } else {
        Err(RpcError::params("not a hash of 32 bytes"))
    }
}

fn u64_of(value: &Value) -> Result<u64, RpcError> {
    parse_u64(text(value)?).ok_or_else(|| RpcError::params("not a quantity of at most 64 bits"))
}

fn word(value: &Value) -> Result<U256, RpcError> {
    parse_u256(text(value)?).ok_or_else(|| RpcError::params("not a quantity of at most 256 bits"))
}

fn bytes(value: &Value) -> Result<Bytes, RpcError> {
    let text = text(value)?;
    if !text.starts_with("0x") || text.len() > 2 + 2 * TX_LEN_MAX {
        return Err(RpcError::params(format!("not 0x-hex of at most {TX_LEN_MAX} bytes")));
    }
    text.parse().map_err(|_| RpcError::params("not hex"))
}

/// A tag, a quantity, or an object of EIP-1898.
pub(super) fn block_ref(value: &Value) -> Result<BlockRef, RpcError> {
    if let Some(fields) = value.as_object() {
        return match (fields.get("blockHash"), fields.get("blockNumber")) {
            (Some(wanted), None) => hash(wanted).map(BlockRef::Hash),
            (None, Some(wanted)) => u64_of(wanted).map(BlockRef::Number),
            _ => Err(RpcError::params("either blockHash or blockNumber is expected")),
        };
    }
    match text(value)? {
        "latest" | "pending" | "safe" | "finalized" => Ok(BlockRef::Latest),
        "earliest" => Ok(BlockRef::Number(0)),
        _ if text(value)?.len() == 66 => hash(value).map(BlockRef::Hash),
        _ => u64_of(value).map(BlockRef::Number),
    }
}

/// One value or a list of them, bounded.
pub(super) fn one_or_many<T>(value: Option<&Value>, read: fn(&Value) -> Result<T, RpcError>) -> Result<Vec<T>, RpcError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() > FILTER_ITEMS_MAX => {
            Err(RpcError::limit(format!("a filter has at most {FILTER_ITEMS_MAX} items in one place")))
        }
        Some(Value::Array(list)) => list.iter().map(read).collect(),
        Some(value) => read(value).map(|one| vec![one]),
    }
}

fn call(value: &Value) -> Result<Call, RpcError> {
    let fields = value.as_object().ok_or_else(|| RpcError::params("a call must be an object"))?;
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let (input, data) = (field("input").map(bytes).transpose()?, field("data").map(bytes).transpose()?);
    let input = match (input, data) {
        (Some(input), Some(data)) if input != data => return Err(RpcError::params("input and data differ")),
        (input, data) => input.or(data).unwrap_or_default(),
    };
    Ok(Call {
        from: field("from").map(address).transpose()?.unwrap_or_default(),
        to: field("to").map(address).transpose()?.map_or(TxKind::Create, TxKind::Call),
        value: field("value").map(word).transpose()?.unwrap_or_default(),
        input,
        gas: field("gas").map(u64_of).transpose()?.map_or(CALL_GAS_MAX, |gas| gas.min(CALL_GAS_MAX)),
        access_list: field("accessList").map(access_list).transpose()?.unwrap_or_default(),
    })
}

fn access_list(value: &Value) -> Result<AccessList, RpcError> {
    let wrong = || RpcError::params("not an access list");
    let items = value.as_array().filter(|items| items.len() <= ACCESS_ITEMS_MAX).ok_or_else(wrong)?;
    let items = items.iter().map(|item| {
        let keys = item.get("storageKeys").and_then(Value::as_array).filter(|keys| keys.len() <= ACCESS_ITEMS_MAX);
        Ok(AccessListItem {
            address: address(item.get("address").ok_or_else(wrong)?)?,
            storage_keys: keys.ok_or_else(wrong)?.iter().map(hash).collect::<Result<_, RpcError>>()?,
        })
    });
    Ok(AccessList(items.collect::<Result<_, RpcError>>()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn malformed_values_are_refused_by_name() {
        let bad: [(&str, Value); 12] = [
            ("address", json!("0x12")),
            ("address", json!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266ff")),
            ("hash", json!("0x00")),
            ("hash", json!(5)),
            ("quantity", json!("0x")),
            ("quantity", json!("0x1ffffffffffffffff")),
            ("quantity", json!("0x+1")),
            ("quantity", json!("12")),
            ("block", json!("newest")),
            ("block", json!({})),
            ("block", json!({"blockHash": "0x00", "blockNumber": "0x1"})),
            ("bytes", json!("0x0")),
        ];
        for (kind, value) in bad {
            let found = match kind {
                "address" => address(&value).map(drop),
                "hash" => hash(&value).map(drop),
                "quantity" => u64_of(&value).map(drop),
                "block" => block_ref(&value).map(drop),
                _ => bytes(&value).map(drop),
            };
            assert_eq!(found.map_err(|error| error.code), Err(RpcError::PARAMS), "{kind} {value}");
        }
        let many = json!(vec![format!("0x{}", "00".repeat(20)); FILTER_ITEMS_MAX + 1]);
        assert_eq!(one_or_many(Some(&many), address).map_err(|error| error.code), Err(RpcError::LIMIT));
    }

    #[test]
    fn blocks_are_named_in_all_the_usual_ways() {
        let zero = format!("0x{}", "00".repeat(32));
        let good = [
            (json!("latest"), BlockRef::Latest),
            (json!("pending"), BlockRef::Latest),
            (json!("earliest"), BlockRef::Number(0)),
            (json!("0x10"), BlockRef::Number(16)),
            (json!({"blockNumber": "0x10"}), BlockRef::Number(16)),
            (json!({"blockHash": zero, "requireCanonical": true}), BlockRef::Hash(B256::ZERO)),
        ];
        for (value, expected) in good {
            assert_eq!(block_ref(&value), Ok(expected), "{value}");
        }
    }
}
