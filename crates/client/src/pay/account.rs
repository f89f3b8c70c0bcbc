//! Account: the book of one provider with everything about it that the ledger keeps.
//!
//! Never: a change that a voucher or a receipt rests on and that is not written; the lock over an await.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cairn_audit::{Entry, Inventory};
use cairn_market::Meter;
use cairn_market::channel::Payer;
use cairn_market::deal::{Deal, Epoch};
use cairn_market::score::{Score, Seen};
use cairn_market::voucher::{SignedMandate, SignedVoucher, Voucher};
use cairn_proto::delegation::{get_mandate, put_mandate};
use cairn_proto::shard::{self, Present, SignedAgreement};
use cairn_proto::{Agreement, BoxStream};
use cairn_types::{Address, Amount, ChannelId, DealId, EvmSignature, NodeId, UnixMs};
use tokio::sync::RwLock;

use super::PayError;
use super::book::Book;
use crate::ledger::record::{self, DealRecord, MeterRecord, PaidRecord};
use crate::ledger::{AccountRows, Batch, Ledger, LedgerError};
use crate::session::Session;

/// What is known of one deal besides its book.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub round: u32,
    pub deposit: Amount,
    pub settled: Amount,
    pub signed: SignedAgreement,
    pub life: Deal,
    pub score: Score,
    pub sweep: u64,
    /// The latest moment of a Commit that was sent.
    pub committed: UnixMs,
    /// When the last audit ended.
    pub audited: UnixMs,
    pub closing: bool,
    pub top_ups: u64,
    /// When the next audit is due; set when there is something to audit.
    pub next_audit: Option<UnixMs>,
    /// Shards whose first store is not older than this and which the ledger does not know were receipted in a time that it may
    /// have lost.
    pub adopt_from: Option<UnixMs>,
    /// The provider held a later voucher of ours than this ledger knows.
    pub restored: bool,
    /// The provider wants new terms.
    pub renew: bool,
    /// Of what was promised, what the provider has taken. Not kept over a restart.
    pub taken: Amount,
    /// Counts of reads as they were written last.
    pub counts: (u64, u64, u32),
    /// What is wrong with its registration or collateral.
    pub unbacked: Option<String>,
    /// Audits in a row that ended late or refused. Not kept over a restart: time in which nobody looked is nobody's silence.
    pub missed: u64,
    /// What went wrong last, for people.
    pub alarm: Option<String>,
    /// Whose own vouchers count, where we are a delegate.
    pub client_signer: Option<Address>,
    /// What we present to the provider as a delegate.
    pub present: Option<Present>,
}

/// What the lock holds.
pub(crate) struct Inside {
    pub book: Book,
    pub standing: Standing,
}

/// One provider that is paid.
pub(crate) struct Account {
    pub node: NodeId,
    pub deal: DealId,
    /// The end of a Store and a Delete take it shared, a Commit takes it alone.
    pub gate: Arc<RwLock<()>>,
    pub auditing: tokio::sync::Mutex<()>,
    /// The stream on which vouchers go.
    pub control: tokio::sync::Mutex<Option<Session>>,
    paying: AtomicBool,
    inside: Mutex<Inside>,
    ledger: Arc<Ledger>,
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<BoxStream>();
};

impl Account {
    pub fn new(node: NodeId, ledger: Arc<Ledger>, inside: Inside) -> Account {
        Account {
            node,
            deal: inside.book.agreement.deal,
            gate: Arc::default(),
            auditing: tokio::sync::Mutex::new(()),
            control: tokio::sync::Mutex::new(None),
            paying: AtomicBool::new(false),
            inside: Mutex::new(inside),
            ledger,
        }
    }

    /// Looks into the account, or changes what is written later anyway.
    pub fn with<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        act(&mut self.inside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the account and writes all of its rows together with what `act` puts into the batch, before anybody else sees it.
    /// When `act` or the write fails, the account is as before.
    pub fn change<T>(&self, act: impl FnOnce(&mut Inside, &mut Change) -> Result<T, PayError>) -> Result<T, PayError> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let (light, inventory) = (inside.light(), inside.book.inventory.totals());
        let mut change = Change::default();
        let done = act(&mut inside, &mut change);
        let written = done.and_then(|done| {
            change.batch.put_deal(self.node, &deal_record(&inside));
            change.batch.put_paid(self.node, &paid_record(&inside.book));
            change.batch.put_meter(self.node, &meter_record(&inside.book));
            self.ledger.post(std::mem::take(&mut change.batch), std::mem::take(&mut change.entries))?;
            Ok(done)
        });
        if written.is_err() {
            inside.restore(light);
            if inside.book.inventory.totals() != inventory {
                inside.book.inventory = Inventory::from_entries(self.ledger.shards(self.deal)?).unwrap_or_default();
            }
        }
        written
    }

    /// Writes the counts of reads, when they changed.
    pub fn write_paid(&self) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        let changed = self.with(|inside| {
            let counts = (inside.book.received_len, inside.book.lost_len, inside.book.broken);
            batch.put_paid(self.node, &paid_record(&inside.book));
            std::mem::replace(&mut inside.standing.counts, counts) != counts
        });
        if changed { self.ledger.write(batch) } else { Ok(()) }
    }

    pub fn record(&self, now: UnixMs, seen: &Seen) {
        self.with(|inside| inside.standing.score.record(now, seen));
    }

    /// Takes the right to pay; `false` when somebody has it.
    pub fn begin_paying(&self) -> bool {
        !self.paying.swap(true, Ordering::AcqRel)
    }

    pub fn end_paying(&self) {
        self.paying.store(false, Ordering::Release);
    }
}

/// What goes into the ledger with a change.
#[derive(Default)]
pub(crate) struct Change {
    pub batch: Batch,
    pub entries: Vec<cairn_market::journal::Entry>,
}

/// All of an account but the inventory, which is too large to copy for each change.
struct Light {
    book: Book,
    standing: Standing,
}

impl Inside {
    fn light(&mut self) -> Light {
        let inventory = std::mem::take(&mut self.book.inventory);
        let light = Light { book: self.book.clone(), standing: self.standing.clone() };
        self.book.inventory = inventory;
        light
    }

    fn restore(&mut self, light: Light) {
        let inventory = std::mem::take(&mut self.book.inventory);
        *self = Inside { book: Book { inventory, ..light.book }, standing: light.standing };
    }

    /// The account of new terms.
    pub fn new(agreement: Agreement, signed: SignedAgreement, round: u32, deposit: Amount) -> Inside {
        let standing = Standing {
            round,
            deposit,
            settled: Amount::ZERO,
            signed,
            life: Deal::Active { due: Epoch(1) },
            score: Score::new(),
            sweep: 0,
            committed: UnixMs(0),
            audited: UnixMs(0),
            closing: false,
            top_ups: 0,
            next_audit: None,
            adopt_from: None,
            restored: false,
            renew: false,
            taken: Amount::ZERO,
            counts: (0, 0, 0),
            unbacked: None,
            missed: 0,
            alarm: None,
            client_signer: None,
            present: None,
        };
        Inside { book: Book::new(agreement, deposit), standing }
    }

    /// The account as the ledger has it; `None` when there are no terms yet.
    pub fn from_rows(rows: &AccountRows, ledger: &Ledger) -> Result<Option<Inside>, LedgerError> {
        Inside::of(rows, ledger.alive_before(), |deal| ledger.shards(deal))
    }

    /// The account of these rows and shards, in a ledger that was `alive` then.
    pub fn of(
        rows: &AccountRows,
        alive: UnixMs,
        shards: impl FnOnce(DealId) -> Result<Vec<Entry>, LedgerError>,
    ) -> Result<Option<Inside>, LedgerError> {
        let AccountRows { deal, paid, meter } = rows;
        if deal.agreement.is_empty() {
            return Ok(None);
        }
        let signed = SignedAgreement {
            agreement: deal.agreement.clone(),
            client_signature: deal.client_signature.clone(),
            provider_signature: deal.provider_signature.clone(),
        };
        let damaged = |what: &str| LedgerError::damaged(what);
        let agreement = Agreement::signed(&signed).map_err(|error| damaged(&error.to_string()))?;
        let deposit = record::get_amount(&deal.deposit)?;
        let (id, channel) = (agreement.deal, agreement.channel);
        let mut inside = Inside::new(agreement, signed, deal.round, deposit);
        let standing = &mut inside.standing;
        standing.settled = record::get_amount(&deal.settled)?;
        standing.life = record::get_life(&deal.life)?;
        standing.score = record::get_score(&deal.score)?;
        (standing.sweep, standing.closing, standing.top_ups) = (deal.sweep, deal.closing, deal.top_ups);
        (standing.committed, standing.audited) = (UnixMs(deal.committed_ms), UnixMs(deal.audited_ms));
        standing.adopt_from = Some(alive);
        standing.client_signer = Address::from_slice(&deal.client_signer);
        standing.present = deal.present.clone();
        let book = &mut inside.book;
        if !paid.signature.is_empty() {
            let signature = EvmSignature::from_slice(&paid.signature).ok_or_else(|| damaged("a voucher's signature"))?;
            let cumulative = record::get_amount(&paid.cumulative)?;
            book.payer = Payer::new(channel, deposit, cumulative.max(book.agreement.carried));
            let mandate = mandate_of(paid.mandate.as_ref(), channel)?;
            book.voucher = Some(SignedVoucher { voucher: Voucher { channel, cumulative }, signature, mandate });
        }
        book.mandate = mandate_of(deal.mandate.as_ref(), channel)?;
        book.payer.closing(deal.closing);
        book.storage = if paid.storage.is_empty() { Amount::ZERO } else { record::get_amount(&paid.storage)? };
        (book.received_len, book.lost_len) = (paid.received_len, paid.lost_len);
        book.broken = paid.broken.saturating_add(1); // what was under way when the program ended
        if !meter.meter.is_empty() {
            book.meter = record::get_meter(&meter.meter)?;
            book.adopted = record::get_u128(&meter.adopted)?;
        }
        book.inventory = Inventory::from_entries(shards(id)?).map_err(|error| damaged(&error.to_string()))?;
        if book.meter != Meter::new() {
            inside.standing.next_audit = Some(UnixMs(deal.audited_ms).plus_ms(inside.book.terms().epoch_ms));
        }
        Ok(Some(inside))
    }

    pub fn channel(&self) -> ChannelId {
        self.book.agreement.channel
    }

    /// What is kept of it besides the shards.
    pub fn rows(&self) -> AccountRows {
        AccountRows { deal: deal_record(self), paid: paid_record(&self.book), meter: meter_record(&self.book) }
    }
}

/// A deal's row before there are terms.
pub(crate) fn proposed_record(deal: DealId, round: u32, channel: ChannelId, deposit: Amount) -> DealRecord {
    DealRecord {
        deal: Bytes::copy_from_slice(deal.as_bytes()),
        round,
        channel: Bytes::copy_from_slice(channel.as_bytes()),
        deposit: record::put_amount(deposit),
        ..DealRecord::default()
    }
}

fn deal_record(inside: &Inside) -> DealRecord {
    let Inside { book, standing } = inside;
    DealRecord {
        deal: Bytes::copy_from_slice(book.agreement.deal.as_bytes()),
        round: standing.round,
        channel: Bytes::copy_from_slice(book.agreement.channel.as_bytes()),
        deposit: record::put_amount(standing.deposit),
        settled: record::put_amount(standing.settled),
        agreement: standing.signed.agreement.clone(),
        client_signature: standing.signed.client_signature.clone(),
        provider_signature: standing.signed.provider_signature.clone(),
        life: record::put_life(standing.life),
        score: Bytes::copy_from_slice(&standing.score.to_bytes()),
        sweep: standing.sweep,
        committed_ms: standing.committed.0,
        audited_ms: standing.audited.0,
        closing: standing.closing,
        top_ups: standing.top_ups,
        client_signer: standing.client_signer.map_or(Bytes::new(), |signer| Bytes::copy_from_slice(signer.as_bytes())),
        mandate: book.mandate.as_ref().map(put_mandate),
        present: standing.present.clone(),
    }
}

fn mandate_of(record: Option<&shard::Mandate>, channel: ChannelId) -> Result<Option<SignedMandate>, LedgerError> {
    record.map(|record| get_mandate(record, channel).ok_or_else(|| LedgerError::damaged("a mandate"))).transpose()
}

fn paid_record(book: &Book) -> PaidRecord {
    let signature = book.voucher.map_or(Bytes::new(), |signed| Bytes::copy_from_slice(signed.signature.as_bytes()));
    PaidRecord {
        cumulative: record::put_amount(book.voucher.map_or(Amount::ZERO, |signed| signed.voucher.cumulative)),
        signature,
        storage: record::put_amount(book.storage),
        received_len: book.received_len,
        lost_len: book.lost_len,
        broken: book.broken,
        mandate: book.voucher.and_then(|signed| signed.mandate).as_ref().map(put_mandate),
    }
}

fn meter_record(book: &Book) -> MeterRecord {
    MeterRecord {
        meter: Bytes::copy_from_slice(&book.meter.to_bytes()),
        adopted: Bytes::copy_from_slice(&book.adopted.to_be_bytes()),
    }
}
