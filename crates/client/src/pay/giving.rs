//! Giving: who may audit and pay while this client is silent, and what they are told.
//!
//! A delegate is told of each deal when its shards or its channel changed and before its mandate runs low, and of the client's life every
//! few seconds. Mandates end by themselves: a delegate that is told nothing more can do nothing after [`Grant::for_s`].
//! Never: a data key, or a right to store, delete or read in clear. Limits: [`GRANTS_MAX`] delegates, one brief at a time to each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use cairn_market::channel::{MANDATE_SECS_MIN, WINDOW_LEN};
use cairn_market::voucher::Mandate;
use cairn_proto::Delegation;
use cairn_proto::delegation::put_mandate;
use cairn_proto::shard::{Brief, BriefDeal, BriefTaken, request, response};
use cairn_types::limits::FRAME_LEN;
use cairn_types::{Address, Amount, ChannelId, DealId, InventoryRoot, NodeId, UnixMs, UnixSecs};
use serde::Serialize;
use tokio::time::Instant;

use super::account::Account;
use super::brief::{DEALS_MAX, ENTRIES_LEN_MAX, put_entries};
use super::{Pay, PayError, channel};
use crate::error::PeerError;
use crate::ledger::record::{self, AuditRecord, GrantRecord};
use crate::ledger::{Batch, LedgerError};
use crate::session::{Session, within};
use crate::{Client, Inner};

/// Delegates of one client.
pub const GRANTS_MAX: usize = 8;
/// How long a delegate may act at least: as long as a provider wants a mandate to last, and some time to use it.
pub const FOR_SECS_MIN: u64 = 2 * MANDATE_SECS_MIN;
/// How long a delegate may act at most.
pub const FOR_SECS_MAX: u64 = 366 * 24 * 3600;
const TICK: Duration = Duration::from_secs(1);
/// A word at least so often, and four times an epoch where those are short.
const WORD_EVERY_MAX: Duration = Duration::from_secs(10);
const WORD_EVERY_MIN: Duration = Duration::from_secs(1);
/// The delegate acts when it heard nothing for so many words.
const WORDS_MISSED: u32 = 4;
/// After a failure the next try comes so much later.
const AGAIN: Duration = Duration::from_secs(15);
/// Shards of a deal that may be told in a second; larger deals are told less often.
const TOLD_PER_SEC: u64 = 20_000;
/// The delegate's word on a whole deal must come within this time.
const TAKEN_TIMEOUT: Duration = Duration::from_secs(120);

/// Who may audit and pay for a client that is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// The delegate's node.
    pub delegate: NodeId,
    /// Whose vouchers count under the mandates.
    pub address: Address,
    /// How long it may act without a word of the client, in seconds.
    pub for_s: u64,
    /// What it may promise in that time, on all channels together.
    pub cap: Amount,
}

/// A grant and how it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantView {
    /// The grant.
    #[serde(flatten)]
    pub grant: Grant,
    /// When it was given.
    pub since: UnixMs,
    /// When the delegate last took a word of ours; nothing since the start of this program.
    pub heard: Option<UnixMs>,
    /// Deals that it knows as they are.
    pub deals: usize,
    /// Why the last word did not arrive, for people.
    pub failure: Option<String>,
}

/// What a delegate was told of a deal.
#[derive(Clone, Copy)]
struct ToldDeal {
    channel: ChannelId,
    root: InventoryRoot,
    mandate: Mandate,
    allowance: Amount,
    /// Nothing more of this deal before then.
    not_before: Instant,
}

#[derive(Default)]
struct Told {
    deals: HashMap<DealId, ToldDeal>,
    heard: Option<UnixMs>,
    word_at: Option<Instant>,
    not_before: Option<Instant>,
    failure: Option<String>,
    is_busy: bool,
}

/// What all delegates were told.
#[derive(Default)]
pub(crate) struct Giving(Mutex<HashMap<NodeId, Told>>);

impl Giving {
    fn with<T>(&self, delegate: NodeId, act: impl FnOnce(&mut Told) -> T) -> T {
        act(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(delegate).or_default())
    }

    fn forget(&self, delegate: NodeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&delegate);
    }
}

impl Grant {
    fn of(delegate: NodeId, record: &GrantRecord) -> Result<Grant, LedgerError> {
        let address = Address::from_slice(&record.address).ok_or_else(|| LedgerError::damaged("a delegate's address"))?;
        Ok(Grant { delegate, address, for_s: record.for_s, cap: record::get_amount(&record.cap)? })
    }
}

/// Tells delegates what they need, until the client is gone.
pub(crate) async fn run(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        let Some(pay) = &inner.pay else { return };
        let grants = match pay.ledger.grants() {
            Ok(grants) => grants,
            Err(error) => {
                tracing::error!(%error, "delegates cannot be told anything");
                continue;
            }
        };
        for (delegate, grant) in grants {
            let now = Instant::now();
            let begun = pay.giving.with(delegate, |told| {
                let due = !told.is_busy && told.not_before.is_none_or(|at| at <= now);
                told.is_busy |= due;
                due
            });
            if begun {
                tokio::spawn(tell(Arc::downgrade(&inner), delegate, grant));
            }
        }
    }
}

/// Tells one delegate all that it does not know yet.
async fn tell(inner: Weak<Inner>, delegate: NodeId, record: GrantRecord) {
    let Some(inner) = inner.upgrade() else { return };
    let Some(pay) = &inner.pay else { return };
    let told = told(&inner, pay, delegate, &record).await;
    let now = pay.now();
    pay.giving.with(delegate, |state| {
        state.is_busy = false;
        match &told {
            Ok(false) => {}
            Ok(true) => (state.heard, state.failure) = (Some(now), None),
            Err(error) => {
                (state.failure, state.not_before) = (Some(error.to_string()), Some(Instant::now() + AGAIN));
                state.deals.clear(); // it may be another machine by the time it is back
            }
        }
    });
    if let Err(error) = told {
        tracing::warn!(%delegate, %error, "the delegate was told nothing");
    }
}

/// `false`: there was nothing to tell.
async fn told(inner: &Arc<Inner>, pay: &Pay, delegate: NodeId, record: &GrantRecord) -> Result<bool, PayError> {
    let grant = Grant::of(delegate, record)?;
    let mut accounts = pay.accounts();
    accounts.truncate(DEALS_MAX);
    let due: Vec<&Arc<Account>> = accounts.iter().filter(|account| is_due(pay, &grant, account)).collect();
    let word_due = pay.giving.with(delegate, |told| told.word_at.is_none_or(|at| at <= Instant::now()));
    if due.is_empty() && !word_due {
        return Ok(false);
    }
    let (share, every) = (share(pay, &grant, &accounts), word_every(&accounts));
    let mut session = inner.peers.fresh_session(delegate).await?;
    for account in due {
        deal(pay, &grant, account, (&share, every), &mut session).await?;
    }
    word(pay, (&accounts, every), (delegate, record), &mut session).await?;
    pay.giving.with(delegate, |told| told.word_at = Some(Instant::now() + every));
    Ok(true)
}

fn word_every(accounts: &[Arc<Account>]) -> Duration {
    let epochs = accounts.iter().map(|account| account.with(|inside| inside.book.terms().epoch_ms));
    Duration::from_millis(epochs.min().unwrap_or(u64::MAX) / 4).clamp(WORD_EVERY_MIN, WORD_EVERY_MAX)
}

fn is_due(pay: &Pay, grant: &Grant, account: &Account) -> bool {
    let now = pay.now().secs();
    let (channel, root, promised, deposit, ready) = account.with(|inside| {
        let ready = !inside.standing.closing && !inside.book.inventory.is_empty();
        let (book, deposit) = (&inside.book, inside.standing.deposit);
        (inside.channel(), book.inventory.root(), book.payer.promised(), deposit, ready)
    });
    let told = pay.giving.with(grant.delegate, |told| told.deals.get(&account.deal).copied());
    let Some(told) = told else { return ready };
    // A quarter of the allowance is used up, and what is left of the deposit can make up for it.
    let most = promised.plus(told.allowance).unwrap_or(Amount::MAX).min(deposit);
    let used = most.minus_or_zero(told.mandate.cumulative_max);
    let low = used.times(4).is_none_or(|four| four > told.allowance) && !used.is_zero();
    let old = told.mandate.valid_until < now.plus_secs(grant.for_s - grant.for_s / 8);
    ready && told.not_before <= Instant::now() && (told.channel != channel || told.root != root || low || old)
}

/// What each deal may cost while the client is silent: storage, audits, and a few windows; all together no more than the cap.
fn share(pay: &Pay, grant: &Grant, accounts: &[Arc<Account>]) -> HashMap<DealId, Amount> {
    let wanted = accounts.iter().map(|account| {
        let amount = account.with(|inside| {
            let terms = inside.book.terms();
            let epochs = grant.for_s.saturating_mul(1000) / terms.epoch_ms.max(1) + 2;
            let totals = inside.book.inventory.totals();
            let storage = channel::epoch_cost(terms, u128::from(totals.leaves)).ok()?.times(epochs)?;
            let swept = totals.bytes.checked_div(pay.config.sweep_epochs).unwrap_or(0);
            let read = (pay.config.samples as u64 * FRAME_LEN as u64).min(totals.bytes).saturating_add(swept);
            let egress = terms.egress.cost(read.saturating_mul(epochs).saturating_add(4 * WINDOW_LEN)).ok()?;
            storage.plus(egress)
        });
        (account.deal, amount.unwrap_or(Amount::MAX))
    });
    let wanted: HashMap<DealId, Amount> = wanted.collect();
    let sum = Amount::sum(wanted.values().copied()).unwrap_or(Amount::MAX);
    if sum <= grant.cap {
        return wanted;
    }
    // In parts of a million, so that no product overflows.
    let part = |amount: Amount| {
        let parts = amount.base_units() / (sum.base_units() / 1_000_000 + 1);
        Amount::from_base_units(grant.cap.base_units() / 1_000_000 * parts)
    };
    wanted.into_iter().map(|(deal, amount)| (deal, part(amount))).collect()
}

/// Tells of one deal.
async fn deal(
    pay: &Pay,
    grant: &Grant,
    account: &Account,
    (share, every): (&HashMap<DealId, Amount>, Duration),
    session: &mut Session,
) -> Result<(), PayError> {
    let valid_until = pay.now().secs().plus_secs(grant.for_s);
    let allowance = share.get(&account.deal).copied().unwrap_or(Amount::ZERO);
    let (rows, (entries, count), root, mandate) = account.with(|inside| {
        let most = inside.book.payer.promised().plus(allowance).unwrap_or(Amount::MAX);
        let mandate = Mandate {
            channel: inside.channel(),
            delegate: grant.address,
            cumulative_max: most.min(inside.standing.deposit),
            valid_until,
        };
        let inventory = &inside.book.inventory;
        let (entries, count) = (put_entries(inventory), inventory.totals().entries);
        (inside.rows(), (entries, count), inventory.root(), mandate)
    });
    let deal = brief_of(pay, grant, account, (&rows, mandate, count), valid_until);
    let brief = Brief { deal: Some(deal), silent_ms: silent_ms(every), ..Brief::default() };
    let sent = within(TAKEN_TIMEOUT, async {
        session.send(request::Kind::Brief(brief)).await?;
        for part in entries.chunks(ENTRIES_LEN_MAX) {
            session.write.send_body(part).await?;
        }
        session.write.flush().await?;
        match session.answer().await? {
            response::Kind::BriefTaken(_) => Ok(()),
            _ => Err(PeerError::Unexpected),
        }
    });
    sent.await?;
    let not_before = Instant::now() + TICK * 2 + Duration::from_secs(count / TOLD_PER_SEC);
    let told = ToldDeal { channel: mandate.channel, root, mandate, allowance, not_before };
    pay.giving.with(grant.delegate, |state| state.deals.insert(account.deal, told));
    Ok(())
}

fn brief_of(
    pay: &Pay,
    grant: &Grant,
    account: &Account,
    (rows, mandate, entry_count): (&crate::ledger::AccountRows, Mandate, u64),
    valid_until: UnixSecs,
) -> BriefDeal {
    let given = Delegation { deal: account.deal, client: pay.node.id(), delegate: grant.delegate, valid_until };
    BriefDeal {
        provider: Bytes::copy_from_slice(account.node.as_bytes()),
        deal_row: record::encode(&rows.deal).into(),
        paid_row: record::encode(&rows.paid).into(),
        meter_row: record::encode(&rows.meter).into(),
        client_signer: Bytes::copy_from_slice(pay.session.address().as_bytes()),
        mandate: Some(put_mandate(&mandate.sign(&pay.contracts.channels_domain(), &pay.session))),
        present: Some(given.sign(&pay.node)),
        entry_count,
    }
}

fn silent_ms(every: Duration) -> u64 {
    (every * WORDS_MISSED).as_millis() as u64
}

/// Says that the client is there and which deals it has, and takes the delegate's audits.
async fn word(
    pay: &Pay,
    (accounts, every): (&[Arc<Account>], Duration),
    (delegate, record): (NodeId, &GrantRecord),
    session: &mut Session,
) -> Result<(), PayError> {
    let deals: Vec<Bytes> = accounts.iter().map(|account| Bytes::copy_from_slice(account.deal.as_bytes())).collect();
    let mut after = record.audits_until_ms;
    loop {
        let word = Brief { deal: None, silent_ms: silent_ms(every), deals: deals.clone(), audits_after_ms: after };
        let answer = session.call(request::Kind::Brief(word), TAKEN_TIMEOUT).await?;
        let response::Kind::BriefTaken(BriefTaken { audits }) = answer else { return Err(PeerError::Unexpected.into()) };
        let Some(until) = take_audits(pay, delegate, &audits)?.filter(|until| *until > after) else { return Ok(()) };
        after = until;
        // Not when it was revoked, or given anew, in the meantime.
        pay.giving.with(delegate, |_| {
            let is_given = |(node, now): &(NodeId, GrantRecord)| *node == delegate && now.since_ms == record.since_ms;
            if !pay.ledger.grants()?.iter().any(is_given) {
                return Ok(());
            }
            let mut batch = Batch::default();
            batch.put_grant(delegate, &GrantRecord { audits_until_ms: after, ..record.clone() });
            pay.ledger.write(batch)
        })?;
    }
}

/// Keeps a delegate's audits, and goes on from what they counted; when the last of them began.
fn take_audits(pay: &Pay, delegate: NodeId, audits: &[Bytes]) -> Result<Option<u64>, PayError> {
    let mut last = None;
    for audit in audits {
        let audit: AuditRecord = record::decode(audit)?;
        let unsigned = AuditRecord { signature: Bytes::new(), ..audit.clone() };
        if !delegate.verify(crate::auditor::AUDIT_DOMAIN, &prost::Message::encode_to_vec(&unsigned), &audit.signature) {
            return Err(PayError::Brief("came back with an audit that the delegate did not sign"));
        }
        let mut batch = Batch::default();
        batch.put_audit(&audit);
        pay.ledger.write(batch)?;
        last = last.max(Some(audit.at_ms));
        let account = NodeId::from_slice(&audit.provider).and_then(|node| pay.account(node));
        let Some(account) = account.filter(|account| account.deal.as_bytes()[..] == audit.deal[..]) else { continue };
        account.change(|inside, _| {
            if inside.channel().as_bytes()[..] == audit.channel[..] {
                let book = &mut inside.book;
                book.received_len = book.received_len.max(audit.egress_len.saturating_sub(book.lost_len));
            }
            if audit.grade == 1 {
                inside.standing.audited = inside.standing.audited.max(UnixMs(audit.ended_ms));
            }
            Ok(())
        })?;
    }
    Ok(last)
}

impl Client {
    /// Lets a node audit and pay for this client while it is silent. A grant that was given to the node before is replaced.
    ///
    /// # Errors
    /// [`PayError::NotPaid`] where nothing is paid, [`PayError::Brief`] for a grant that makes no sense, [`LedgerError`].
    pub fn grant(&self, grant: &Grant) -> Result<(), PayError> {
        let pay = self.0.pay.as_ref().ok_or(PayError::NotPaid(grant.delegate))?;
        if !(FOR_SECS_MIN..=FOR_SECS_MAX).contains(&grant.for_s) {
            return Err(PayError::Brief("would hold for less than two hours, or for more than a year"));
        }
        if grant.delegate == pay.node.id() || grant.cap.is_zero() {
            return Err(PayError::Brief("would be for this node itself, or for nothing"));
        }
        let before = pay.ledger.grants()?;
        if before.len() >= GRANTS_MAX && !before.iter().any(|(delegate, _)| *delegate == grant.delegate) {
            return Err(PayError::Brief("would be for one delegate too many: revoke another"));
        }
        let record = GrantRecord {
            address: Bytes::copy_from_slice(grant.address.as_bytes()),
            for_s: grant.for_s,
            cap: record::put_amount(grant.cap),
            since_ms: pay.now().0,
            audits_until_ms: 0,
        };
        let mut batch = Batch::default();
        batch.put_grant(grant.delegate, &record);
        pay.giving.with(grant.delegate, |_| pay.ledger.write(batch))?;
        pay.giving.forget(grant.delegate);
        Ok(pay.ledger.sync()?)
    }

    /// Tells a delegate nothing more; its mandates end by themselves. `false` when there was none.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn revoke_grant(&self, delegate: NodeId) -> Result<bool, PayError> {
        let Some(pay) = &self.0.pay else { return Ok(false) };
        let known = pay.ledger.grants()?.iter().any(|(node, _)| *node == delegate);
        let mut batch = Batch::default();
        batch.delete_grant(delegate);
        pay.giving.with(delegate, |_| pay.ledger.write(batch))?;
        pay.giving.forget(delegate);
        pay.ledger.sync()?;
        Ok(known)
    }

    /// All grants.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn grants(&self) -> Result<Vec<GrantView>, LedgerError> {
        let Some(pay) = &self.0.pay else { return Ok(Vec::new()) };
        let view = |(delegate, record): (NodeId, GrantRecord)| {
            let grant = Grant::of(delegate, &record)?;
            let (heard, deals, failure) = pay.giving.with(delegate, |told| (told.heard, told.deals.len(), told.failure.clone()));
            Ok(GrantView { grant, since: UnixMs(record.since_ms), heard, deals, failure })
        };
        pay.ledger.grants()?.into_iter().map(view).collect()
    }
}
