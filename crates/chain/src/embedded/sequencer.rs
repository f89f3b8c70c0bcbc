//! Sequencer: the one thread that makes blocks. It takes what waits, mines a block for each transaction, writes all of them with one
//! disk sync, and only then answers.
//!
//! Never: an answer before the sync; a transaction out of nonce order (one that comes early is refused, not kept).
//! Limits: [`QUEUE_MAX`], [`BATCH_TXS_MAX`].

use std::sync::Arc;

use alloy_primitives::Address;
use cairn_types::Clock;
use revm::context::result::InvalidTransaction;
use tokio::sync::{mpsc, oneshot};

use super::draft::{Checked, Draft};
use super::evm::EvmError;
use super::journal::{Journal, JournalError};
use super::limits::{BATCH_TXS_MAX, CLOCK_STEP_S_MAX, QUEUE_MAX};

/// Why a transaction, or a step of the test clock, was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// Its nonce was used.
    #[error("nonce too low: the next nonce of {sender} is {next}, the transaction has {nonce}")]
    NonceTooLow {
        /// Who signed.
        sender: Address,
        /// What must come next.
        next: u64,
        /// What came.
        nonce: u64,
    },
    /// It came before its turn; send it again when the ones before it are in.
    #[error("nonce too high: the next nonce of {sender} is {next}, the transaction has {nonce}; nothing is kept for later")]
    NonceTooHigh {
        /// Who signed.
        sender: Address,
        /// What must come next.
        next: u64,
        /// What came.
        nonce: u64,
    },
    /// The rules of the EVM forbid it.
    #[error("{0}")]
    Invalid(String),
    /// Too much waits.
    #[error("the chain is busy; try again")]
    Busy,
    /// The chain stops.
    #[error("the chain stops")]
    Stopping,
    /// The journal failed; nothing was mined.
    #[error("{0}")]
    Failed(String),
}

impl From<JournalError> for SubmitError {
    fn from(error: JournalError) -> Self {
        SubmitError::Failed(error.to_string())
    }
}

enum Work {
    /// Mines a transaction.
    Tx(Box<Checked>),
    /// Mines an empty block.
    Empty,
    /// Moves the test clock on by seconds.
    Advance(u64),
    /// Fixes the next block's time, in seconds.
    NextTime(u64),
}

struct Job {
    work: Work,
    reply: oneshot::Sender<Result<(), SubmitError>>,
}

/// The way to the sequencer. The last clone waits for the thread's end.
#[derive(Clone)]
pub(super) struct Sequencer {
    handle: Arc<Handle>,
}

struct Handle {
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join(); // its panic was reported where it happened
        }
    }
}

impl Sequencer {
    /// Starts the thread on an opened journal that has its genesis.
    pub(super) fn start(journal: Arc<Journal>, chain_id: u64, clock: Arc<dyn Clock>) -> std::io::Result<Sequencer> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let thread =
            std::thread::Builder::new().name("sequencer".into()).spawn(move || run(&journal, chain_id, &*clock, jobs))?;
        Ok(Sequencer { handle: Arc::new(Handle { queue: Some(queue), thread: Some(thread) }) })
    }

    /// Mines a transaction; answers when it is on disk. Once this was polled it happens even if the caller goes away.
    pub(super) async fn submit(&self, tx: Checked) -> Result<(), SubmitError> {
        self.ask(Work::Tx(Box::new(tx))).await
    }

    /// Mines an empty block.
    pub(super) async fn mine(&self) -> Result<(), SubmitError> {
        self.ask(Work::Empty).await
    }

    /// Moves the test clock on.
    pub(super) async fn advance(&self, seconds: u64) -> Result<(), SubmitError> {
        self.ask(Work::Advance(seconds)).await
    }

    /// Fixes the next block's time.
    pub(super) async fn next_time(&self, seconds: u64) -> Result<(), SubmitError> {
        self.ask(Work::NextTime(seconds)).await
    }

    async fn ask(&self, work: Work) -> Result<(), SubmitError> {
        let (reply, answer) = oneshot::channel();
        let queue = self.handle.queue.as_ref().ok_or(SubmitError::Stopping)?;
        queue.try_send(Job { work, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
            mpsc::error::TrySendError::Closed(_) => SubmitError::Stopping,
        })?;
        answer.await.map_err(|_| SubmitError::Stopping)?
    }
}

/// Block time in seconds: never before the parent's; blocks of one second share it.
pub(super) fn block_time(parent_s: u64, now_s: u64, ahead_s: u64) -> u64 {
    parent_s.max(now_s.saturating_add(ahead_s))
}

fn run(journal: &Journal, chain_id: u64, clock: &dyn Clock, mut jobs: mpsc::Receiver<Job>) {
    let mut kept: Option<(Draft<'_>, TestClock)> = None;
    while let Some(first) = jobs.blocking_recv() {
        let opened = match kept.take() {
            Some(open) => Ok(open),
            None => Draft::new(journal, chain_id).and_then(|draft| Ok((draft, TestClock::read(journal)?))),
        };
        let (mut draft, mut test_clock) = match opened {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, "the chain's journal cannot be read");
                let _ = first.reply.send(Err(error.into()));
                continue;
            }
        };
        let (mut next, mut answers) = (Some(first), Vec::new());
        while let Some(job) = next.take() {
            let answer = step(&mut draft, &mut test_clock, clock, job.work);
            answers.push((job.reply, answer));
            if draft.blocks() < BATCH_TXS_MAX && answers.len() < QUEUE_MAX {
                next = jobs.try_recv().ok();
            }
        }
        let written = draft.write();
        if let Err(error) = &written {
            tracing::error!(%error, "blocks could not be written");
        }
        for (reply, answer) in answers {
            let answer =
                written.as_ref().map_err(|error| SubmitError::from(error.clone())).and(answer.as_ref().map_err(Clone::clone));
            let _ = reply.send(answer.copied()); // whoever asked may be gone; the block stands all the same
        }
        kept = written.is_ok().then_some((draft, test_clock));
    }
}

/// How far block time runs ahead of the clock, for tests of deadlines.
struct TestClock {
    ahead_s: u64,
    next_s: Option<u64>,
}

impl TestClock {
    fn read(journal: &Journal) -> Result<TestClock, JournalError> {
        Ok(TestClock { ahead_s: journal.clock_ahead_s()?, next_s: None })
    }
}

fn step(draft: &mut Draft<'_>, test_clock: &mut TestClock, clock: &dyn Clock, work: Work) -> Result<(), SubmitError> {
    let now_s = clock.now().0 / 1000;
    let parent_s = draft.head().map_or(0, |head| head.header.timestamp);
    let timestamp = block_time(test_clock.next_s.unwrap_or(parent_s), now_s, test_clock.ahead_s);
    match work {
        Work::Tx(tx) => {
            if draft.has_tx(tx.envelope.tx_hash())? {
                return Ok(()); // sent twice, mined once
            }
            mine(draft, *tx, timestamp)?;
            test_clock.next_s = None;
        }
        Work::Empty => {
            draft.mine(None, timestamp).map_err(|error| SubmitError::Failed(error.to_string()))?;
            test_clock.next_s = None;
        }
        Work::Advance(seconds) => {
            if seconds > CLOCK_STEP_S_MAX {
                return Err(SubmitError::Invalid(format!("the test clock moves by at most {CLOCK_STEP_S_MAX} s at once")));
            }
            test_clock.ahead_s = test_clock.ahead_s.saturating_add(seconds);
            draft.put_clock_ahead_s(test_clock.ahead_s);
        }
        Work::NextTime(seconds) => {
            if seconds < timestamp || seconds - timestamp > CLOCK_STEP_S_MAX {
                return Err(SubmitError::Invalid(format!("the next block can be at {timestamp} s at the earliest")));
            }
            test_clock.ahead_s = seconds.saturating_sub(now_s);
            test_clock.next_s = Some(seconds);
            draft.put_clock_ahead_s(test_clock.ahead_s);
        }
    }
    Ok(())
}

fn mine(draft: &mut Draft<'_>, tx: Checked, timestamp: u64) -> Result<(), SubmitError> {
    use alloy_consensus::Transaction;
    let (sender, nonce, next) = (tx.sender, tx.envelope.nonce(), draft.nonce(&tx.sender)?);
    if nonce < next {
        return Err(SubmitError::NonceTooLow { sender, next, nonce });
    }
    if nonce > next {
        return Err(SubmitError::NonceTooHigh { sender, next, nonce });
    }
    draft.mine(Some(tx), timestamp).map_err(|error| match error {
        EvmError::Invalid(InvalidTransaction::LackOfFundForMaxFee { fee, balance }) => {
            SubmitError::Invalid(format!("insufficient funds for gas * price + value: have {balance} want {fee}"))
        }
        EvmError::Invalid(reason) => SubmitError::Invalid(reason.to_string()),
        EvmError::Journal(error) => error.into(),
        EvmError::Failed(reason) => SubmitError::Failed(reason),
    })
}
