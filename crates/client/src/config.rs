//! Time-outs and bounds of a client.

use std::time::Duration;

use cairn_types::Redundancy;

/// Time-outs and bounds of a client. The defaults suit a gateway below 256 MiB of memory.
#[derive(Debug, Clone)]
pub struct Config {
    /// Fixes the redundancy; `None` chooses it by the number of providers.
    pub redundancy: Option<Redundancy>,
    /// Blobs written at once; more wait.
    pub uploads_max: usize,
    /// Blobs read at once; more wait.
    pub downloads_max: usize,
    /// Bytes asked of each provider's deal.
    pub deal_space_len: u64,
    /// A small call (deal, delete, list) must be answered within this time.
    pub call_timeout: Duration,
    /// A provider that takes or gives no byte for this long is given up.
    pub stall_timeout: Duration,
    /// After a segment's last byte, its receipts must come within this time.
    pub receipt_timeout: Duration,
    /// Once enough receipts are there, a provider slower than three times the time that took, but at least this, is replaced if there is another.
    pub straggler_grace: Duration,
    /// A read waits at least this long for a provider before it asks another one too.
    pub hedge_min: Duration,
    /// A read waits at most this long for a provider before it asks another one too.
    pub hedge_max: Duration,
    /// Cells in flight per shard being read or written.
    pub cells_ahead: usize,
    /// Bytes of a segment kept to be sent again when a provider fails early.
    pub replay_len_max: usize,
    /// A provider that does not answer for so long counts as lost, and its shards are built anew elsewhere.
    pub lost_after: Duration,
    /// A provider that failed is left out of placement this long at first, doubling with each failure in a row up to 64 times that.
    pub failed_rest: Duration,
    /// Idle streams kept per provider.
    pub idle_streams_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            redundancy: None,
            uploads_max: 24,
            downloads_max: 48,
            deal_space_len: 1 << 50,
            call_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            receipt_timeout: Duration::from_secs(60),
            straggler_grace: Duration::from_secs(2),
            hedge_min: Duration::from_millis(250),
            hedge_max: Duration::from_secs(4),
            cells_ahead: 6,
            replay_len_max: 2 * 1024 * 1024,
            lost_after: Duration::from_secs(3600),
            failed_rest: Duration::from_millis(500),
            idle_streams_max: 16,
        }
    }
}
