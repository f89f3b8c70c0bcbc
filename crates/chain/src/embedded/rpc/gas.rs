//! What something would do or cost: `eth_call`, `eth_estimateGas`, `eth_feeHistory`.
//!
//! Calls at `latest` and all estimates run in the block that would be mined now, so that deadlines look as a transaction would find them;
//! calls at a number or hash run in that block. Fees in a call are ignored: gas costs nothing here.
//! Never: changes state. Limits: [`CALL_GAS_MAX`](crate::embedded::limits::CALL_GAS_MAX) for each run, [`ESTIMATE_GAS_MAX`] for an estimate.

use alloy_primitives::TxKind;
use revm::context::result::ExecutionResult;
use serde_json::{Value, json};

use super::error::RpcError;
use super::methods::Reader;
use super::params::{BlockRef, Params};
use crate::embedded::evm::{self, Call, Moment};
use crate::embedded::limits::{ESTIMATE_GAS_MAX, FEE_BLOCKS_MAX, FEE_PERCENTILES_MAX};
use crate::embedded::world::{At, World};
use crate::wire::quantity;

const TRANSFER_GAS: u64 = 21_000;

impl Reader<'_> {
    pub(super) fn call(&self, params: &Params<'_>) -> Result<Value, RpcError> {
        params.nothing_from(2, "state overrides")?;
        let (number, moment) = match params.block(1)? {
            BlockRef::Latest => (self.head()?, self.next_moment()?),
            named => {
                let block = self.block(named)?.ok_or_else(|| RpcError::server("unknown block"))?;
                let moment = Moment { number: block.header.number, timestamp: block.header.timestamp };
                (moment.number, moment)
            }
        };
        match self.run(number, moment, params.call(0)?)? {
            ExecutionResult::Success { output, .. } => Ok(json!(output.into_data())),
            failed => Err(failure(&failed)),
        }
    }

    pub(super) fn estimate(&self, params: &Params<'_>) -> Result<Value, RpcError> {
        params.nothing_from(2, "state overrides")?;
        let call = params.call(0)?;
        let (head, moment) = (self.head()?, self.next_moment()?);
        let number = match params.block(1)? {
            BlockRef::Latest => head,
            named => self.block(named)?.ok_or_else(|| RpcError::server("unknown block"))?.header.number,
        };
        let plain = call.input.is_empty() && call.access_list.0.is_empty();
        if let (true, TxKind::Call(to)) = (plain, call.to)
            && World(At { view: self.view, number }).account(&to)?.is_empty_code_hash()
        {
            self.enough_for(number, &call)?;
            return Ok(quantity(TRANSFER_GAS));
        }
        let first = self.run(number, moment, call.clone())?;
        if !first.is_success() {
            return Err(failure(&first));
        }
        let gas = first.gas();
        let (mut too_little, mut enough) = (gas.tx_gas_used().saturating_sub(1), call.gas);
        // Most calls need what they spend at their peak and the 64th part that a call keeps back (EIP-150).
        let likely = (gas.total_gas_spent() + 2300).saturating_mul(64) / 63;
        let mut guess = likely.clamp(too_little.saturating_add(1), enough);
        let mut spent = gas.total_gas_spent();
        while enough.saturating_sub(too_little) > 1 + enough / 64 && spent < ESTIMATE_GAS_MAX {
            let works = match self.run(number, moment, Call { gas: guess, ..call.clone() }) {
                Ok(result) => {
                    spent = spent.saturating_add(result.gas().total_gas_spent());
                    result.is_success()
                }
                Err(error) if error.code == RpcError::SERVER => false, // less than the intrinsic gas
                Err(error) => return Err(error),
            };
            if works {
                enough = guess;
            } else {
                too_little = guess;
            }
            guess = too_little + (enough - too_little) / 2;
        }
        Ok(quantity(enough))
    }

    fn enough_for(&self, number: u64, call: &Call) -> Result<(), RpcError> {
        let balance = World(At { view: self.view, number }).account(&call.from)?.balance;
        if balance < call.value {
            return Err(RpcError::server(format!("insufficient funds for transfer: have {balance} want {}", call.value)));
        }
        Ok(())
    }

    fn run(&self, number: u64, moment: Moment, call: Call) -> Result<ExecutionResult, RpcError> {
        Ok(evm::simulate(At { view: self.view, number }, self.chain_id, moment, call)?)
    }

    pub(super) fn fee_history(&self, params: &Params<'_>) -> Result<Value, RpcError> {
        let newest = match params.block(1)? {
            BlockRef::Latest => self.head()?,
            named => self.block(named)?.ok_or_else(|| RpcError::server("unknown block"))?.header.number,
        };
        let percentiles = match params.get(2) {
            None => 0,
            Some(Value::Array(list)) if list.len() <= FEE_PERCENTILES_MAX => list.len(),
            Some(_) => return Err(RpcError::params(format!("percentiles must be a list of at most {FEE_PERCENTILES_MAX}"))),
        };
        let count = params.count(0)?.min(FEE_BLOCKS_MAX).min(newest + 1);
        let oldest = newest + 1 - count;
        let mut ratios = Vec::new();
        for number in oldest..=newest {
            let Some(block) = self.view.block(number)?.filter(|_| count > 0) else { break };
            ratios.push(block.header.gas_used as f64 / block.header.gas_limit as f64);
        }
        let mut history = json!({
            "oldestBlock": quantity(oldest),
            "baseFeePerGas": vec!["0x0"; ratios.len() + 1],
            "baseFeePerBlobGas": vec!["0x0"; ratios.len() + 1],
            "blobGasUsedRatio": vec![0; ratios.len()],
            "gasUsedRatio": ratios,
        });
        if percentiles > 0 {
            history["reward"] = json!(vec![vec!["0x0"; percentiles]; count as usize]);
        }
        Ok(history)
    }
}

fn failure(result: &ExecutionResult) -> RpcError {
    match result {
        ExecutionResult::Revert { output, .. } => RpcError::reverted(output),
        ExecutionResult::Halt { reason, .. } => RpcError::server(format!("execution failed: {reason:?}")),
        ExecutionResult::Success { .. } => RpcError::new(RpcError::INTERNAL, "a success is no failure"),
    }
}
