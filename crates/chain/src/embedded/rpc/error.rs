//! What a caller is told: JSON-RPC codes as other chains use them, so that wallets and libraries understand.
//!
//! Never: a path or a panic in a message.

use alloy_primitives::Bytes;
use serde_json::{Value, json};

use crate::embedded::evm::EvmError;
use crate::embedded::journal::JournalError;
use crate::embedded::sequencer::SubmitError;

/// An error object of JSON-RPC.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

impl RpcError {
    pub(super) const PARSE: i64 = -32700;
    pub(super) const REQUEST: i64 = -32600;
    pub(super) const METHOD: i64 = -32601;
    pub(super) const PARAMS: i64 = -32602;
    pub(super) const INTERNAL: i64 = -32603;
    pub(super) const SERVER: i64 = -32000;
    pub(super) const LIMIT: i64 = -32005;
    pub(super) const REVERTED: i64 = 3;

    pub(super) fn new(code: i64, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into(), data: None }
    }

    pub(super) fn params(message: impl Into<String>) -> RpcError {
        RpcError::new(RpcError::PARAMS, message)
    }

    pub(super) fn limit(message: impl Into<String>) -> RpcError {
        RpcError::new(RpcError::LIMIT, message)
    }

    pub(super) fn server(message: impl Into<String>) -> RpcError {
        RpcError::new(RpcError::SERVER, message)
    }

    /// A call that reverted, with what the contract said.
    pub(super) fn reverted(output: &Bytes) -> RpcError {
        let reason = alloy_sol_types::decode_revert_reason(output).map_or_else(String::new, |reason| format!(": {reason}"));
        RpcError { code: RpcError::REVERTED, message: format!("execution reverted{reason}"), data: Some(json!(output)) }
    }

    pub(super) fn object(&self) -> Value {
        match &self.data {
            Some(data) => json!({"code": self.code, "message": self.message, "data": data}),
            None => json!({"code": self.code, "message": self.message}),
        }
    }
}

impl From<JournalError> for RpcError {
    fn from(error: JournalError) -> Self {
        tracing::error!(%error, "a request could not be answered");
        RpcError::new(RpcError::INTERNAL, error.to_string())
    }
}

impl From<EvmError> for RpcError {
    fn from(error: EvmError) -> Self {
        match error {
            EvmError::Invalid(reason) => RpcError::server(reason.to_string()),
            EvmError::Journal(error) => error.into(),
            EvmError::Failed(reason) => RpcError::new(RpcError::INTERNAL, format!("the EVM failed: {reason}")),
        }
    }
}

impl From<SubmitError> for RpcError {
    fn from(error: SubmitError) -> Self {
        match &error {
            SubmitError::NonceTooLow { .. } | SubmitError::NonceTooHigh { .. } | SubmitError::Invalid(_) => {
                RpcError::server(error.to_string())
            }
            SubmitError::Busy => RpcError::limit(error.to_string()),
            SubmitError::Stopping | SubmitError::Failed(_) => RpcError::new(RpcError::INTERNAL, error.to_string()),
        }
    }
}
