//! EVM: revm with our rules: Cancun, no base fee, no randomness, one transaction a block.
//!
//! Never: writes anything; what changed is returned. Limits: gas.

use alloy_consensus::{Transaction, TxEnvelope};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction};
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::context_interface::transaction::AccessList;
use revm::primitives::eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN;
use revm::primitives::hardfork::SpecId;
use revm::state::EvmState;
use revm::{ExecuteEvm, MainBuilder, MainContext};

use super::journal::JournalError;
use super::limits::TX_GAS_MAX;
use super::world::{Rows, World};

/// Why the EVM did not run.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum EvmError {
    /// The transaction may not be in this block.
    #[error("{0}")]
    Invalid(InvalidTransaction),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Anything else; our bug or revm's.
    #[error("the EVM failed: {0}")]
    Failed(String),
}

/// In which block a transaction runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) number: u64,
    pub(super) timestamp: u64,
}

/// A call that is not a transaction: of `eth_call` and `eth_estimateGas`.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) from: Address,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) input: Bytes,
    pub(super) gas: u64,
    pub(super) access_list: AccessList,
}

/// Runs a signed transaction. `sender` must be who signed it.
pub(super) fn transact<R: Rows>(
    rows: R,
    chain_id: u64,
    moment: Moment,
    tx: &TxEnvelope,
    sender: Address,
) -> Result<(ExecutionResult, EvmState), EvmError> {
    let env = TxEnv {
        tx_type: tx.tx_type() as u8,
        caller: sender,
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        access_list: tx.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        ..TxEnv::default()
    };
    run(rows, config(chain_id), moment, env)
}

/// Runs a call without fees, nonce or signature.
pub(super) fn simulate<R: Rows>(rows: R, chain_id: u64, moment: Moment, call: Call) -> Result<ExecutionResult, EvmError> {
    let mut config = config(chain_id);
    config.disable_nonce_check = true;
    config.disable_eip3607 = true;
    let tx_type = if call.access_list.0.is_empty() { 0 } else { 1 };
    let env = TxEnv {
        tx_type,
        caller: call.from,
        gas_limit: call.gas,
        kind: call.to,
        value: call.value,
        data: call.input,
        chain_id: Some(chain_id),
        access_list: call.access_list,
        ..TxEnv::default()
    };
    run(rows, config, moment, env).map(|(result, _)| result)
}

fn config(chain_id: u64) -> CfgEnv {
    let mut config = CfgEnv::new_with_spec(SpecId::CANCUN).with_chain_id(chain_id);
    config.tx_gas_limit_cap = Some(TX_GAS_MAX);
    config
}

fn run<R: Rows>(rows: R, config: CfgEnv, moment: Moment, env: TxEnv) -> Result<(ExecutionResult, EvmState), EvmError> {
    let block = BlockEnv {
        number: U256::from(moment.number),
        beneficiary: Address::ZERO,
        timestamp: U256::from(moment.timestamp),
        gas_limit: TX_GAS_MAX,
        basefee: 0,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::ZERO),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(0, BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN)),
        slot_num: 0,
    };
    let mut evm = Context::mainnet().with_db(World(rows)).with_cfg(config).with_block(block).build_mainnet();
    match evm.transact(env) {
        Ok(done) => Ok((done.result, done.state)),
        Err(EVMError::Transaction(reason)) => Err(EvmError::Invalid(reason)),
        Err(EVMError::Database(error)) => Err(EvmError::Journal(error)),
        Err(other) => Err(EvmError::Failed(other.to_string())),
    }
}
