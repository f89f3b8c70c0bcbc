//! Brief: what a client tells its delegate of one deal, and what the delegate makes of it.
//!
//! Never: a brief of another client, or one that our own key has no mandate in; a voucher forgotten for an older one.
//! Limits: [`ENTRIES_MAX`] shards a deal, [`DEALS_MAX`] deals of one client.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn_audit::{Entry, Inventory};
use cairn_market::journal::Account as Place;
use cairn_market::voucher::SignedMandate;
use cairn_proto::delegation::get_mandate;
use cairn_proto::shard::{BriefDeal, Present, SignedAgreement};
use cairn_proto::{Agreement, Delegation};
use cairn_types::limits::FRAME_LEN;
use cairn_types::{Address, Amount, NodeId, ShardRoot, UnixMs};

use super::account::{Account, Inside};
use super::{Pay, PayError, channel};
use crate::ledger::{AccountRows, Batch, Held, record};

/// Shards of one deal in a brief.
pub(crate) const ENTRIES_MAX: u64 = 1_000_000;
/// Deals of one client.
pub(crate) const DEALS_MAX: usize = 1_024;
/// A client that was never heard counts as silent after so long.
const SILENT_UNHEARD: Duration = Duration::from_secs(60);
/// Bytes of one shard in a brief: root 32 ‖ length u64.
const ENTRY_LEN: usize = 40;
/// Bytes of shards in one frame of a brief.
pub(crate) const ENTRIES_LEN_MAX: usize = FRAME_LEN / ENTRY_LEN * ENTRY_LEN;
const CUT: &str = "is cut short";

/// The shards of a deal as they are told.
pub(crate) fn put_entries(inventory: &Inventory) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_LEN * inventory.totals().entries as usize);
    for entry in inventory.iter() {
        bytes.extend_from_slice(entry.root().as_bytes());
        bytes.extend_from_slice(&entry.byte_len().to_be_bytes());
    }
    bytes
}

/// Appends the shards of one frame to those before; there are `count` in all, ascending by root.
pub(crate) fn get_entries(frame: &[u8], entries: &mut Vec<Entry>, count: u64) -> Result<(), PayError> {
    if frame.is_empty() || !frame.len().is_multiple_of(ENTRY_LEN) || (entries.len() + frame.len() / ENTRY_LEN) as u64 > count {
        return Err(PayError::Brief("has shards of another length, or more than it says"));
    }
    for part in frame.chunks_exact(ENTRY_LEN) {
        let (root, len) = part.split_at(32);
        let len = len.try_into().map(u64::from_be_bytes).unwrap_or_default();
        let entry = ShardRoot::from_slice(root).and_then(|root| Entry::new(root, len));
        let entry = entry.filter(|entry| entries.last().is_none_or(|last| last.root() < entry.root()));
        entries.push(entry.ok_or(PayError::Brief("has shards without a byte, or not in order"))?);
    }
    Ok(())
}

/// The client that a delegate acts for.
pub(crate) struct Acting {
    pub client: NodeId,
    heard: Mutex<(Instant, Duration)>,
}

impl Acting {
    /// `silence` as it was told last, in an earlier run too.
    pub fn new(client: NodeId, silence: Option<Duration>) -> Acting {
        Acting { client, heard: Mutex::new((Instant::now(), silence.unwrap_or(SILENT_UNHEARD))) }
    }

    /// The client is there, and its turn ends when it is silent for `silent`; whether that is another time than before.
    pub fn heard(&self, silent: Duration) -> bool {
        let before = std::mem::replace(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner), (Instant::now(), silent));
        before.1 != silent
    }

    /// For how long the client was silent, and for how long it may be.
    pub fn silence(&self) -> (Duration, Duration) {
        let (at, silent) = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (at.elapsed(), silent)
    }

    pub fn is_our_turn(&self) -> bool {
        let (since, silent) = self.silence();
        since >= silent
    }
}

/// A brief that was checked.
pub(crate) struct Brief {
    provider: NodeId,
    rows: AccountRows,
    agreement: Agreement,
    mandate: SignedMandate,
    entry_count: u64,
}

impl Brief {
    /// Reads a brief of the client that `pay` acts for.
    pub fn check(pay: &Pay, wire: BriefDeal) -> Result<Brief, PayError> {
        let acting = pay.acting.as_ref().ok_or(PayError::Brief("is for a delegate"))?;
        if wire.entry_count > ENTRIES_MAX {
            return Err(PayError::Brief("has too many shards"));
        }
        let provider = NodeId::from_slice(&wire.provider).ok_or(PayError::Brief(CUT))?;
        let mut rows = AccountRows {
            deal: record::decode(&wire.deal_row)?,
            paid: record::decode(&wire.paid_row)?,
            meter: record::decode(&wire.meter_row)?,
        };
        let signed = SignedAgreement {
            agreement: rows.deal.agreement.clone(),
            client_signature: rows.deal.client_signature.clone(),
            provider_signature: rows.deal.provider_signature.clone(),
        };
        let agreement = Agreement::signed(&signed)?;
        if agreement.client != acting.client || agreement.terms.node != provider {
            return Err(PayError::Brief("is of a deal between others"));
        }
        let signer = Address::from_slice(&wire.client_signer).ok_or(PayError::Brief(CUT))?;
        let mandate = wire.mandate.as_ref().and_then(|mandate| get_mandate(mandate, agreement.channel));
        let mandate = mandate.ok_or(PayError::Brief("has no mandate"))?;
        if mandate.mandate.delegate != pay.session.address()
            || !mandate.mandate.is_by_one_of(&pay.contracts.channels_domain(), &[signer], &mandate.signature)
        {
            return Err(PayError::Brief("has a mandate that is not for us, or for other contracts"));
        }
        let present = wire.present.ok_or(PayError::Brief("has no delegation"))?;
        match Delegation::presented(&present, pay.node.id(), pay.now().secs()) {
            Ok(given) if given.deal == agreement.deal && given.client == acting.client => {}
            _ => return Err(PayError::Brief("has a delegation that is not for us, or is over")),
        }
        let deposit = record::get_amount(&rows.deal.deposit)?.min(mandate.mandate.cumulative_max);
        rows.deal.deposit = record::put_amount(deposit);
        rows.deal.client_signer = wire.client_signer;
        (rows.deal.mandate, rows.deal.present) = (wire.mandate, Some(present));
        Ok(Brief { provider, rows, agreement, mandate, entry_count: wire.entry_count })
    }

    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// Keeps it, with the shards that came with it; what to present to which provider. What was promised here already stays promised.
    pub async fn take(self, pay: &Pay, entries: Vec<Entry>) -> Result<(NodeId, Option<Present>), PayError> {
        let known = pay.account(self.provider);
        let _no_audit = match &known {
            Some(account) => Some(account.auditing.lock().await),
            None if pay.accounts().len() >= DEALS_MAX => return Err(PayError::Brief("is of one deal too many")),
            None => None,
        };
        let deal = self.agreement.deal;
        // Before anything is written: what cannot be read would keep the ledger from opening again.
        let inside = Inside::of(&self.rows, UnixMs(0), |_| Ok(entries.clone()))?;
        let mut inside = inside.ok_or(PayError::Brief("has no agreement"))?;
        let mut batch = Batch::default();
        if let Some(before) = &known {
            batch.delete_account(self.provider, before.deal);
        }
        batch.put_deal(self.provider, &self.rows.deal);
        batch.put_paid(self.provider, &self.rows.paid);
        batch.put_meter(self.provider, &self.rows.meter);
        for entry in &entries {
            batch.put_shard(deal, entry.root(), Held { len: entry.byte_len(), start: UnixMs(0) });
        }
        pay.ledger.post(batch, self.funded(pay, &known)?)?;
        if let Some(before) = &known {
            let (voucher, audited, channel) =
                before.with(|before| (before.book.voucher, before.standing.audited, before.channel()));
            if let (Some(voucher), true) = (voucher, channel == self.agreement.channel) {
                let deposit = inside.standing.deposit;
                inside.book.lift(&voucher, deposit);
            }
            inside.standing.audited = inside.standing.audited.max(audited);
            let epoch_ms = inside.book.terms().epoch_ms;
            let next = inside.standing.audited.plus_ms(epoch_ms);
            inside.standing.next_audit = inside.standing.next_audit.map(|at| at.max(next));
        }
        let present = inside.standing.present.clone();
        let account = Account::new(self.provider, pay.ledger.clone(), inside);
        account.change(|_, _| Ok(()))?; // with the voucher that was kept
        pay.add_account(account.into());
        Ok((self.provider, present))
    }

    /// The journal of a delegate knows of a channel what the mandate lets it promise.
    fn funded(&self, pay: &Pay, known: &Option<std::sync::Arc<Account>>) -> Result<Vec<cairn_market::journal::Entry>, PayError> {
        let channel = self.agreement.channel;
        let promised = known.as_ref().map_or(Amount::ZERO, |account| account.with(|inside| inside.book.payer.promised()));
        let told =
            if self.rows.paid.signature.is_empty() { Amount::ZERO } else { record::get_amount(&self.rows.paid.cumulative)? };
        let wanted = self.mandate.mandate.cumulative_max.minus_or_zero(promised.max(told));
        let missing = wanted.minus_or_zero(pay.ledger.balance(Place::Deposit(channel)));
        if missing.is_zero() {
            return Ok(Vec::new());
        }
        Ok(vec![channel::entry(pay.now(), "mandate", Place::Outside, Place::Deposit(channel), missing)?])
    }
}
