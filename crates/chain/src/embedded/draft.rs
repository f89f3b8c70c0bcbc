//! Draft: blocks that are mined and not yet on disk, over the journal.
//!
//! Never: read by anyone but the sequencer; others see a block when it is synced. Limits: [`super::limits::BATCH_TXS_MAX`] blocks.

use std::collections::HashMap;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, Receipt, ReceiptEnvelope, TxEnvelope};
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::context::result::ExecutionResult;
use rocksdb::WriteBatch;

use super::block::{Block, MinedTx};
use super::evm::{self, EvmError, Moment};
use super::fingerprint::Fingerprint;
use super::journal::{Journal, JournalError, Table};
use super::limits::TX_GAS_MAX;
use super::world::{Change, Rows, World, changes};

/// A transaction whose signature was checked.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) envelope: TxEnvelope,
    pub(super) sender: Address,
}

/// Blocks in the making.
pub(super) struct Draft<'a> {
    journal: &'a Journal,
    chain_id: u64,
    rows: HashMap<Vec<u8>, Option<Vec<u8>>>,
    codes: HashMap<B256, Bytes>,
    hashes: HashMap<u64, B256>,
    mined: HashMap<B256, u64>,
    batch: WriteBatch,
    blocks: usize,
    head: Option<Block>,
    fingerprint: Fingerprint,
}

impl Rows for &Draft<'_> {
    fn row(&self, row: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        match self.rows.get(row) {
            Some(value) => Ok(value.clone()),
            None => self.journal.get(Table::State, row),
        }
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, JournalError> {
        match self.codes.get(hash) {
            Some(code) => Ok(Some(code.clone())),
            None => Ok(self.journal.get(Table::Code, hash.as_slice())?.map(Bytes::from)),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, JournalError> {
        match self.hashes.get(&number) {
            Some(hash) => Ok(*hash),
            None => Ok(self.journal.view().block(number)?.map_or(B256::ZERO, |block| block.hash)),
        }
    }
}

impl<'a> Draft<'a> {
    /// A draft on top of what is on disk.
    pub(super) fn new(journal: &'a Journal, chain_id: u64) -> Result<Draft<'a>, JournalError> {
        Ok(Draft {
            journal,
            chain_id,
            rows: HashMap::new(),
            codes: HashMap::new(),
            hashes: HashMap::new(),
            mined: HashMap::new(),
            batch: WriteBatch::default(),
            blocks: 0,
            head: journal.view().head()?,
            fingerprint: journal.fingerprint()?,
        })
    }

    /// Newest block; none before genesis.
    pub(super) fn head(&self) -> Option<&Block> {
        self.head.as_ref()
    }

    /// Blocks that are not on disk.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Whether this transaction is in a block.
    pub(super) fn has_tx(&self, hash: &B256) -> Result<bool, JournalError> {
        Ok(self.mined.contains_key(hash) || self.journal.view().number_of_tx(hash)?.is_some())
    }

    /// The next nonce of `address`.
    pub(super) fn nonce(&self, address: &Address) -> Result<u64, JournalError> {
        Ok(World(self).account(address)?.nonce)
    }

    /// Mines block 0. `extra` tells two chains with the same id apart.
    pub(super) fn mine_genesis(&mut self, timestamp: u64, extra: B256) {
        let header = self.header(Moment { number: 0, timestamp }, None);
        self.push(Block::new(Header { extra_data: Bytes::copy_from_slice(extra.as_slice()), ..header }, None));
    }

    /// Mines a block of `tx`, or an empty one.
    ///
    /// # Errors
    /// [`EvmError`]; then the draft is as it was.
    pub(super) fn mine(&mut self, tx: Option<Checked>, timestamp: u64) -> Result<(), EvmError> {
        let number = self.head.as_ref().map_or(0, |head| head.header.number + 1);
        let moment = Moment { number, timestamp };
        let Some(Checked { envelope, sender }) = tx else {
            let header = self.header(moment, None);
            self.push(Block::new(header, None));
            return Ok(());
        };
        let (result, state) = evm::transact(&*self, self.chain_id, moment, &envelope, sender)?;
        let (changed, codes) = changes(&&*self, state)?;
        for Change { row, before, after } in changed {
            self.journal.put_row(&mut self.batch, number, &row, before.as_deref(), after.as_deref());
            if let Some(value) = &before {
                self.fingerprint.remove(&row, value);
            }
            if let Some(value) = &after {
                self.fingerprint.add(&row, value);
            }
            self.rows.insert(row, after);
        }
        for (hash, code) in codes {
            self.journal.put_code(&mut self.batch, &hash, &code);
            self.codes.insert(hash, code);
        }
        let created = result.created_address();
        let receipt = receipt(&envelope, result);
        let tx = MinedTx { envelope, sender, receipt, created };
        let header = self.header(moment, Some(&tx));
        self.push(Block::new(header, Some(tx)));
        Ok(())
    }

    /// Stages the test clock beside the blocks.
    pub(super) fn put_clock_ahead_s(&mut self, ahead_s: u64) {
        self.journal.put_clock_ahead_s(&mut self.batch, ahead_s);
    }

    /// Puts everything on disk and waits for it. On an error the draft must be thrown away.
    pub(super) fn write(&mut self) -> Result<(), JournalError> {
        self.journal.write_synced(std::mem::take(&mut self.batch))?;
        self.rows.clear();
        self.codes.clear();
        self.hashes.clear();
        self.mined.clear();
        self.blocks = 0;
        Ok(())
    }

    fn push(&mut self, block: Block) {
        self.journal.put_block(&mut self.batch, &block, &self.fingerprint);
        self.hashes.insert(block.header.number, block.hash);
        if let Some(tx) = &block.tx {
            self.mined.insert(*tx.envelope.tx_hash(), block.header.number);
        }
        self.blocks += 1;
        self.head = Some(block);
    }

    fn header(&self, moment: Moment, tx: Option<&MinedTx>) -> Header {
        Header {
            parent_hash: self.head.as_ref().map_or(B256::ZERO, |head| head.hash),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: Address::ZERO,
            state_root: self.fingerprint.root(),
            transactions_root: tx.map_or(EMPTY_ROOT_HASH, |tx| calculate_transaction_root(std::slice::from_ref(&tx.envelope))),
            receipts_root: tx.map_or(EMPTY_ROOT_HASH, |tx| calculate_receipt_root(std::slice::from_ref(&tx.receipt))),
            logs_bloom: tx.map(|tx| *tx.receipt.logs_bloom()).unwrap_or_default(),
            difficulty: U256::ZERO,
            number: moment.number,
            gas_limit: TX_GAS_MAX,
            gas_used: tx.map_or(0, |tx| tx.receipt.cumulative_gas_used()),
            timestamp: moment.timestamp,
            mix_hash: B256::ZERO,
            base_fee_per_gas: Some(0),
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        }
    }
}

fn receipt(envelope: &TxEnvelope, result: ExecutionResult) -> ReceiptEnvelope {
    let (status, gas) = (result.is_success(), result.tx_gas_used());
    // What a failed transaction said before it failed did not happen.
    let logs = if status { result.into_logs() } else { Vec::new() };
    let receipt = Receipt { status: status.into(), cumulative_gas_used: gas, logs };
    ReceiptEnvelope::from_typed(envelope.tx_type(), receipt.with_bloom())
}
