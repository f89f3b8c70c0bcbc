//! Limits of the embedded chain, in one place. Lengths are bytes.
//!
//! Never: a request whose cost no line here bounds.

use std::time::Duration;

/// Gas of one transaction, and so of one block; as EIP-7825 has it, rounded to what old wallets know.
pub const TX_GAS_MAX: u64 = 30_000_000;
/// Gas of one `eth_call` or estimate.
pub const CALL_GAS_MAX: u64 = 30_000_000;
/// Gas of all runs of one estimate.
pub const ESTIMATE_GAS_MAX: u64 = 8 * CALL_GAS_MAX;
/// A raw transaction.
pub const TX_LEN_MAX: usize = 128 * 1024;
/// Transactions that wait for the sequencer.
pub const QUEUE_MAX: usize = 1024;
/// Transactions mined before one disk sync.
pub const BATCH_TXS_MAX: usize = 64;
/// Body of a request.
pub const BODY_LEN_MAX: usize = 1 << 20;
/// Calls in one batch request.
pub const BATCH_CALLS_MAX: usize = 64;
/// All answers to one request.
pub const ANSWER_LEN_MAX: usize = 16 << 20;
/// Blocks that one `eth_getLogs` looks through.
pub const LOGS_BLOCKS_MAX: u64 = 10_000;
/// Logs that one `eth_getLogs` answers.
pub const LOGS_MAX: usize = 10_000;
/// Addresses, or topics of one position, in one filter.
pub const FILTER_ITEMS_MAX: usize = 64;
/// Blocks of one `eth_feeHistory`.
pub const FEE_BLOCKS_MAX: u64 = 1024;
/// Percentiles of one `eth_feeHistory`.
pub const FEE_PERCENTILES_MAX: usize = 100;
/// Requests that read or run at once.
pub const READS_IN_FLIGHT_MAX: usize = 4;
/// A request that waits longer for its turn is refused.
pub const READ_WAIT: Duration = Duration::from_secs(5);
/// Open connections.
pub const CONNECTIONS_MAX: usize = 256;
/// A request's head, or its body, must be here after this.
pub const REQUEST_READ: Duration = Duration::from_secs(10);
/// Seconds that one call may move the test clock: a hundred years.
pub const CLOCK_STEP_S_MAX: u64 = 3_155_760_000;

const _: () = assert!(TX_LEN_MAX * 2 + 1024 < BODY_LEN_MAX);
const _: () = assert!(BODY_LEN_MAX < ANSWER_LEN_MAX);
