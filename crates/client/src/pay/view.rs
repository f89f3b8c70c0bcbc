//! Views: what a node, a command line or a dashboard sees of deals, audits and money.

use cairn_market::deal::Deal;
use cairn_market::journal::{self, Line};
use cairn_market::score::Explained;
use cairn_types::{Address, Amount, ChannelId, DealId, NodeId, ShardRoot, UnixMs};
use serde::Serialize;

use super::account::Inside;
use super::{Account, Pay, PayConfig};
use crate::ledger::LedgerError;
use crate::ledger::record::AuditRecord;

/// A paid deal.
#[derive(Debug, Clone, Serialize)]
pub struct DealView {
    /// The provider.
    pub provider: NodeId,
    /// The deal.
    pub deal: DealId,
    /// Where it stands.
    pub life: Deal,
    /// The channel it is paid from.
    pub channel: ChannelId,
    /// Who is paid.
    pub payee: Address,
    /// In the channel, all in all.
    pub deposit: Amount,
    /// Promised so far: the best voucher.
    pub promised: Amount,
    /// Redeemed as last seen.
    pub settled: Amount,
    /// Owed now by our own meter; nothing when it cannot be told.
    pub owed: Option<Amount>,
    /// Owed and not promised.
    pub potential: Amount,
    /// Shards there.
    pub shards: u64,
    /// Their bytes.
    pub stored_len: u64,
    /// Body bytes read under the present terms.
    pub egress_len: u64,
    /// Price of a GiB and month.
    pub storage_price: Amount,
    /// Price of a GiB read.
    pub egress_price: Amount,
    /// Length of an epoch.
    pub epoch_ms: u64,
    /// What an epoch costs at present.
    pub epoch_cost: Option<Amount>,
    /// When the present terms began.
    pub since: UnixMs,
    /// When the last audit ended.
    pub audited: UnixMs,
    /// When the next is due.
    pub next_audit: Option<UnixMs>,
    /// Whether the data is there.
    pub durability: Explained,
    /// Whether readers get it.
    pub retrieval: Explained,
    /// The channel is being closed.
    pub closing: bool,
    /// Why it gets no new shards.
    pub barred: Option<String>,
    /// What went wrong last.
    pub alarm: Option<String>,
}

/// An audit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditView {
    /// Its id, in hex.
    pub id: String,
    /// When it began.
    pub at: UnixMs,
    /// When it ended.
    pub ended: UnixMs,
    /// Of whom.
    pub provider: NodeId,
    /// Of which deal.
    pub deal: DealId,
    /// passed, late, refused, gone, corrupt or diverged.
    pub grade: &'static str,
    /// Probes asked.
    pub probes: u32,
    /// Probes held.
    pub held: u32,
    /// Probes that are evidence.
    pub failed: u32,
    /// The first of them.
    pub failures: Vec<FailureView>,
    /// Why, for people.
    pub reason: String,
    /// Promised in all after it.
    pub promised: Amount,
    /// Whether the provider committed.
    pub committed: bool,
}

/// A probe that is evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureView {
    /// The shard.
    pub shard: ShardRoot,
    /// The block, counted from the shard's start.
    pub block: u64,
    /// The first drawn leaf, counted from the shard's start.
    pub leaf: u64,
    /// Why.
    pub reason: String,
}

/// Which audits are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this provider.
    pub provider: Option<NodeId>,
    /// Only those that did not pass.
    pub failed: bool,
    /// From then on.
    pub since: UnixMs,
    /// At most so many, the latest; 0: 1000.
    pub max: usize,
}

/// An entry of the journal with its number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalEntry {
    /// From 0 on.
    pub number: u64,
    /// When.
    pub at: UnixMs,
    /// What for.
    pub memo: String,
    /// Debits and credits.
    pub lines: Vec<Line>,
}

/// The client's money at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LedgerStatus {
    /// Owed and not promised.
    pub potential: Amount,
    /// Promised and not redeemed.
    pub promised: Amount,
    /// Redeemed by providers.
    pub redeemed: Amount,
    /// In channels and not promised.
    pub deposited: Amount,
    /// Went into channels this month.
    pub month_deposited: Amount,
    /// Left of this month's budget; nothing: no limit.
    pub month_left: Option<Amount>,
    /// Whether no credit appeared or vanished.
    pub conserved: bool,
}

/// What was promised in a month of 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MonthSpending {
    /// When the month began.
    pub start: UnixMs,
    /// Promised in it.
    pub promised: Amount,
}

/// An offer as it was last seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfferView {
    /// The provider.
    pub provider: NodeId,
    /// Price of a GiB and month.
    pub storage_price: Amount,
    /// Price of a GiB read.
    pub egress_price: Amount,
    /// Collateral for each GiB.
    pub collateral_per_gib: Amount,
    /// Bytes that it still takes.
    pub free_len: u64,
    /// Where.
    pub region: String,
    /// Why it is not used.
    pub refused: Option<String>,
}

const GRADES: [&str; 6] = ["passed", "late", "refused", "gone", "corrupt", "diverged"];

/// Why a provider gets no new shards.
pub(super) fn unfit(inside: &Inside, config: &PayConfig, now: UnixMs) -> Option<String> {
    let standing = &inside.standing;
    match standing.life {
        Deal::Active { .. } | Deal::Proposed | Deal::Agreed => {}
        Deal::Late { .. } => return Some("its last audit is missing".into()),
        Deal::Suspect { .. } => return Some("it is suspected of having lost data".into()),
        Deal::Ending { .. } | Deal::Ended { .. } if standing.closing => return None, // a new channel may do
        Deal::Ending { .. } | Deal::Ended { .. } => return Some("the deal is ending".into()),
    }
    if let Some(why) = &standing.unbacked {
        return Some(why.clone());
    }
    let (durability, retrieval) = (standing.score.durability(now).permille, standing.score.retrieval(now).permille);
    if durability < config.durability_floor {
        return Some(format!("its durability score is {durability} of 1000"));
    }
    (retrieval < config.retrieval_floor).then(|| format!("its retrieval score is {retrieval} of 1000"))
}

pub(crate) fn deal(pay: &Pay, account: &Account) -> DealView {
    let now = pay.now();
    let barred = pay.barred(account.node);
    account.with(|inside| {
        let (book, standing) = (&inside.book, &inside.standing);
        let (totals, promised) = (book.inventory.totals(), book.payer.promised());
        let owed = book.owed(now.max(book.meter.latest())).ok();
        DealView {
            provider: account.node,
            deal: account.deal,
            life: standing.life,
            channel: inside.channel(),
            payee: book.terms().owner,
            deposit: standing.deposit,
            promised,
            settled: standing.settled,
            owed,
            potential: owed.unwrap_or(promised).minus_or_zero(promised),
            shards: totals.entries,
            stored_len: totals.bytes,
            egress_len: book.egress_len(),
            storage_price: book.terms().storage.amount(),
            egress_price: book.terms().egress.amount(),
            epoch_ms: book.terms().epoch_ms,
            epoch_cost: super::channel::epoch_cost(book.terms(), u128::from(totals.leaves)).ok(),
            since: book.agreement.start,
            audited: standing.audited,
            next_audit: standing.next_audit,
            durability: standing.score.durability(now),
            retrieval: standing.score.retrieval(now),
            closing: standing.closing,
            barred,
            alarm: standing.alarm.clone(),
        }
    })
}

impl AuditView {
    pub(crate) fn of(record: &AuditRecord) -> Result<AuditView, LedgerError> {
        let damaged = || LedgerError::damaged("an audit");
        let failure = |failure: &crate::ledger::record::FailureRecord| {
            Some(FailureView {
                shard: ShardRoot::from_slice(&failure.root)?,
                block: failure.block,
                leaf: failure.leaf,
                reason: failure.reason.clone(),
            })
        };
        let grade = (record.grade as usize).checked_sub(1).and_then(|grade| GRADES.get(grade)).ok_or_else(damaged)?;
        Ok(AuditView {
            id: record.id.iter().map(|byte| format!("{byte:02x}")).collect(),
            at: UnixMs(record.at_ms),
            ended: UnixMs(record.ended_ms),
            provider: NodeId::from_slice(&record.provider).ok_or_else(damaged)?,
            deal: DealId::from_slice(&record.deal).ok_or_else(damaged)?,
            grade,
            probes: record.probes,
            held: record.held,
            failed: record.failed,
            failures: record.failures.iter().map(failure).collect::<Option<_>>().ok_or_else(damaged)?,
            reason: record.reason.clone(),
            promised: crate::ledger::record::get_amount(&record.promised)?,
            committed: !record.commitment.is_empty(),
        })
    }
}

impl JournalEntry {
    pub(crate) fn of(number: u64, entry: &journal::Entry) -> JournalEntry {
        JournalEntry { number, at: entry.at(), memo: entry.memo().to_owned(), lines: entry.lines().to_vec() }
    }
}
