//! Embedded: a whole EVM chain in this process, for a machine or a group of friends: one sequencer, its journal, and the JSON-RPC that
//! wallets and tools speak.
//!
//! Never: acknowledges a transaction before it is on disk, or takes one without a good signature. Limits: [`limits`].

mod block;
mod draft;
mod evm;
mod fingerprint;
mod journal;
pub mod limits;
mod rpc;
mod sequencer;
pub(crate) mod shipped;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::B256;
use cairn_types::{Clock, Rng, port::draw};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use journal::{JournalError, OpenError};
pub use sequencer::SubmitError;
pub use world::GRANT;

use crate::genesis::{self, Contracts};
use crate::wire;
use draft::{Checked, Draft};
use journal::Journal;
use sequencer::Sequencer;

/// How an embedded chain is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Directory of its journal.
    pub path: PathBuf,
    /// Chain id; cannot change once made.
    pub chain_id: u64,
    /// Lets any caller move the chain's time on (`evm_increaseTime`). Only for tests of deadlines: it breaks every promise in time.
    pub test_clock: bool,
}

impl EmbeddedConfig {
    /// The usual chain in `path`.
    pub fn new(path: PathBuf) -> EmbeddedConfig {
        EmbeddedConfig { path, chain_id: genesis::CHAIN_ID, test_clock: false }
    }
}

/// An open embedded chain. Cheap to clone; the last clone waits for the sequencer's end.
#[derive(Clone)]
pub struct Embedded {
    // The sequencer goes first: its thread reads the journal.
    sequencer: Sequencer,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    readers: Arc<Semaphore>,
    chain_id: u64,
    test_clock: bool,
}

impl Embedded {
    /// Opens or makes the chain. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: EmbeddedConfig, clock: Arc<dyn Clock>, rng: &dyn Rng) -> Result<Embedded, OpenError> {
        let EmbeddedConfig { path, chain_id, test_clock } = config;
        let journal = Arc::new(Journal::open(&path, chain_id)?);
        begin(&journal, chain_id, clock.now().0 / 1000, rng)?;
        let started = Sequencer::start(journal.clone(), chain_id, clock.clone());
        let sequencer = started.map_err(|error| OpenError::Directory { path, reason: error.to_string() })?;
        let readers = Arc::new(Semaphore::new(limits::READS_IN_FLIGHT_MAX));
        Ok(Embedded { sequencer, journal, clock, readers, chain_id, test_clock })
    }

    /// Where the contracts are.
    pub fn contracts(&self) -> Contracts {
        Contracts::at_genesis()
    }

    /// Its chain id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Serves JSON-RPC until `stop`; requests in flight are finished.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        rpc::server::serve(self.clone(), listener, stop).await;
    }

    /// Number and hash of the newest block.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn head(&self) -> Result<(u64, [u8; 32]), JournalError> {
        let head = self.journal.view().head()?;
        Ok(head.map_or((0, [0; 32]), |head| (head.header.number, head.hash.0)))
    }

    /// Reads everything and compares it: state with its fingerprint, every block with its parent and its index rows. Blocks on the disk.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn verify(&self) -> Result<(), JournalError> {
        verify(&self.journal)
    }
}

fn begin(journal: &Journal, chain_id: u64, now_s: u64, rng: &dyn Rng) -> Result<(), OpenError> {
    let wrong = |error: &dyn std::fmt::Display| OpenError::Genesis(error.to_string());
    let mut draft = Draft::new(journal, chain_id).map_err(|error| wrong(&error))?;
    if draft.head().is_some() {
        return Ok(());
    }
    draft.mine_genesis(now_s, B256::from(draw::<32>(rng)));
    let key = genesis::deployer();
    for (nonce, deployment) in (0u64..).zip(genesis::deployments()) {
        let envelope = genesis::deploy(&deployment, chain_id, nonce, 0, &key);
        draft.mine(Some(Checked { envelope, sender: wire::evm(key.address()) }), now_s).map_err(|error| wrong(&error))?;
        let made = draft.head().and_then(|head| head.tx.as_ref()).is_some_and(|tx| tx.receipt.is_success());
        if !made {
            return Err(OpenError::Genesis(format!("the constructor of {} failed", deployment.name)));
        }
    }
    draft.write().map_err(|error| wrong(&error))
}

fn verify(journal: &Journal) -> Result<(), JournalError> {
    let damaged = |reason: String| JournalError::Damaged { table: "blocks", reason };
    let view = journal.view();
    let Some(head) = view.head()? else { return Ok(()) };
    let (kept, counted) = (journal.fingerprint()?.root(), journal.recount()?.root());
    if kept != counted || head.header.state_root != counted {
        return Err(damaged(format!(
            "the state's fingerprint is {counted}, kept is {kept}, the head says {}",
            head.header.state_root
        )));
    }
    let mut parent = B256::ZERO;
    for number in 0..=head.header.number {
        let block = view.block(number)?.ok_or_else(|| damaged(format!("block {number} is missing")))?;
        if block.header.number != number
            || block.header.parent_hash != parent
            || view.number_of_block(&block.hash)? != Some(number)
        {
            return Err(damaged(format!("block {number} does not follow its parent")));
        }
        if let Some(tx) = &block.tx
            && view.number_of_tx(tx.envelope.tx_hash())? != Some(number)
        {
            return Err(damaged(format!("the transaction of block {number} is not indexed")));
        }
        parent = block.hash;
    }
    Ok(())
}
