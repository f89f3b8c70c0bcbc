//! Changes to the ledger in this program's words; written together.

use std::collections::BTreeMap;

use cairn_market::journal::{Account, Journal, Line, Opening, Posted, Turnover};
use cairn_market::price::MONTH_MS;
use cairn_types::{Amount, DealId, NodeId, ShardRoot, UnixMs};
use rocksdb::WriteBatch;

use super::record::{self, AuditRecord, DealRecord, DisputeRow, GrantRecord, JournalRecord, MeterRecord, PaidRecord};
use super::*;

/// A group of changes.
#[derive(Default)]
pub(crate) struct Batch {
    rows: WriteBatch,
    /// Promised by month; added to what is there when it is posted.
    promised: BTreeMap<u64, Amount>,
}

impl Batch {
    pub(super) fn into_rows(self) -> WriteBatch {
        debug_assert!(self.promised.is_empty(), "promises are posted, not only written");
        self.rows
    }

    pub fn put_deal(&mut self, node: NodeId, row: &DealRecord) {
        self.rows.put(key_of_node(DEAL, node), record::encode(row));
    }

    pub fn put_paid(&mut self, node: NodeId, row: &PaidRecord) {
        self.rows.put(key_of_node(PAID, node), record::encode(row));
    }

    pub fn put_meter(&mut self, node: NodeId, row: &MeterRecord) {
        self.rows.put(key_of_node(METER, node), record::encode(row));
    }

    pub fn put_shard(&mut self, deal: DealId, root: ShardRoot, held: Held) {
        self.rows.put(key_of_shard(SHARD, deal, root), fixed(&[&held.len.to_be_bytes(), &held.start.0.to_be_bytes()]));
    }

    pub fn delete_shard(&mut self, deal: DealId, root: ShardRoot) {
        self.rows.delete(key_of_shard(SHARD, deal, root));
    }

    pub fn put_sent(&mut self, deal: DealId, root: ShardRoot, len: u64, at: UnixMs) {
        self.rows.put(key_of_shard(SENT, deal, root), fixed(&[&len.to_be_bytes(), &at.0.to_be_bytes()]));
    }

    pub fn delete_sent(&mut self, deal: DealId, root: ShardRoot) {
        self.rows.delete(key_of_shard(SENT, deal, root));
    }

    pub fn put_released(&mut self, deal: DealId, root: ShardRoot, at: UnixMs) {
        self.rows.put(key_of_shard(RELEASED, deal, root), fixed(&[&at.0.to_be_bytes()]));
    }

    pub fn delete_released(&mut self, deal: DealId, root: ShardRoot) {
        self.rows.delete(key_of_shard(RELEASED, deal, root));
    }

    pub fn put_audit(&mut self, audit: &AuditRecord) {
        self.rows.put(key_of_audit(audit), record::encode(audit));
    }

    pub fn delete_audit(&mut self, audit: &AuditRecord) {
        self.rows.delete(key_of_audit(audit));
    }

    pub fn put_dispute(&mut self, dispute: &DisputeRow) {
        let key = [&[DISPUTE][..], &dispute.begun_ms.to_be_bytes(), &dispute.id].concat();
        self.rows.put(key, record::encode(dispute));
    }

    pub fn put_silence(&mut self, silence: std::time::Duration) {
        self.rows.put([SILENCE], fixed(&[&u64::try_from(silence.as_millis()).unwrap_or(u64::MAX).to_be_bytes()]));
    }

    pub fn put_grant(&mut self, delegate: NodeId, grant: &GrantRecord) {
        self.rows.put(key_of_node(GRANT, delegate), record::encode(grant));
    }

    pub fn delete_grant(&mut self, delegate: NodeId) {
        self.rows.delete(key_of_node(GRANT, delegate));
    }

    /// Deletes all that is kept of a provider's deal but its journal and audits.
    pub fn delete_account(&mut self, node: NodeId, deal: DealId) {
        for kind in [DEAL, PAID, METER] {
            self.rows.delete(key_of_node(kind, node));
        }
        let shards = |end: u8| [&[SHARD][..], deal.as_bytes(), &[end; 33]].concat();
        self.rows.delete_range([&[SHARD][..], deal.as_bytes()].concat(), shards(0xFF));
    }

    pub fn put_budget(&mut self, at: UnixMs, spent: Amount) {
        self.rows.put([BUDGET], fixed(&[&at.0.to_be_bytes(), &spent.base_units().to_be_bytes()]));
    }

    /// Counts a promise in its month.
    pub fn promise(&mut self, now: UnixMs, more: Amount) {
        let month = self.promised.entry(now.0 / MONTH_MS).or_default();
        *month = month.plus(more).unwrap_or(Amount::MAX);
    }

    pub(super) fn take_promised(&mut self) -> BTreeMap<u64, Amount> {
        std::mem::take(&mut self.promised)
    }

    pub(super) fn put_promised(&mut self, month: u64, promised: Amount) {
        self.rows.put(key_of_month(month), fixed(&[&promised.base_units().to_be_bytes()]));
    }

    pub fn put_alive(&mut self, now: UnixMs) {
        self.rows.put([ALIVE], fixed(&[&now.0.to_be_bytes()]));
    }

    /// An entry as it was posted, and what its accounts came to in `journal`, which it was posted to.
    pub(super) fn put_entry(&mut self, posted: &Posted, journal: &Journal) {
        let key = [&[ENTRY][..], &posted.number.to_be_bytes()].concat();
        self.rows.put(key, record::encode(&JournalRecord::of(&posted.entry)));
        for line in posted.entry.lines() {
            let (Line::Debit(account, _) | Line::Credit(account, _)) = *line;
            self.put_turnover(TURNOVER, account, journal.turnover(account));
        }
    }

    pub(super) fn delete_entry(&mut self, number: u64) {
        self.rows.delete([&[ENTRY][..], &number.to_be_bytes()].concat());
    }

    /// What the entries deleted so far came to.
    pub(super) fn put_opening(&mut self, opening: &Opening) {
        self.rows.put([ROLLED_UP], fixed(&[&opening.first().to_be_bytes()]));
        for (account, turnover) in opening.accounts() {
            self.put_turnover(ROLLED_UP, account, turnover);
        }
    }

    fn put_turnover(&mut self, kind: u8, account: Account, turnover: Turnover) {
        let key = [&[kind][..], &record::put_account(account)].concat();
        let (debits, credits) = (turnover.debits.base_units(), turnover.credits.base_units());
        self.rows.put(key, fixed(&[&debits.to_be_bytes(), &credits.to_be_bytes()]));
    }
}

fn key_of_audit(audit: &AuditRecord) -> Vec<u8> {
    [&[AUDIT][..], &audit.at_ms.to_be_bytes(), &audit.id].concat()
}

fn fixed(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    fields.iter().for_each(|field| bytes.extend_from_slice(field));
    bytes
}
