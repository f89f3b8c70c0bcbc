//! Channels: which one a deal is paid from, its deposit, and what the ledger of the chain says of it.
//!
//! Never: a channel opened or topped up twice for one wish: channels have derived salts, transactions derived ids.
//! Limits: [`ROUNDS_MAX`] channels of one deal after each other; the month's budget.

use cairn_market::budget::{BudgetError, TopUp, TopUpRule};
use cairn_market::journal::{Account as Place, Entry};
use cairn_market::settlement::{ChannelRecord, ChannelState, CommandId, OpenChannel};
use cairn_market::voucher::Parties;
use cairn_market::{SettlementError, Terms};
use cairn_types::{Amount, ChannelId, DealId, NodeId, UnixMs};
use sha2::{Digest, Sha256};

use super::account::{Account, proposed_record};
use super::{Pay, PayError, guard};
use crate::ledger::Batch;

const ROUNDS_MAX: u32 = 64;
const GIB_LEAVES: u128 = 1 << 20;

/// A channel that a deal can be paid from.
pub(super) struct Chosen {
    pub channel: ChannelId,
    pub round: u32,
    pub deposit: Amount,
    pub settled: Amount,
}

/// `SHA-256("cairn/channel/1" ‖ 0 ‖ deal ‖ round u32)`.
pub(super) fn salt(deal: DealId, round: u32) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"cairn/channel/1\0").chain_update(deal.as_bytes());
    hash.chain_update(round.to_be_bytes()).finalize().into()
}

/// The first channel of the deal that is not closed; opened when there is none.
pub(super) async fn choose(pay: &Pay, node: NodeId, deal: DealId, terms: &Terms) -> Result<Chosen, PayError> {
    let first = pay.account_of(node, deal).map_or(0, |account| account.with(|inside| inside.standing.round + 1));
    for round in first..first.saturating_add(ROUNDS_MAX) {
        let salt = salt(deal, round);
        let signer = pay.session.address();
        let parties = Parties { payer: pay.settlement.wallet(), payee: terms.owner, signer, salt };
        let channel = parties.channel_id(&pay.contracts.channels_domain());
        let record = match pay.settlement.channel(channel).await? {
            Some(ChannelRecord { state: ChannelState::Closing { .. } | ChannelState::Closed, .. }) => continue,
            Some(record) => record,
            None => open(pay, node, deal, terms, round, channel).await?,
        };
        let known = pay.ledger.turnover(Place::Deposit(channel)).debits;
        note_deposit(pay, channel, known, record.deposit)?;
        return Ok(Chosen { channel, round, deposit: record.deposit, settled: record.settled });
    }
    Err(PayError::NoChannel(ROUNDS_MAX))
}

async fn open(
    pay: &Pay,
    node: NodeId,
    deal: DealId,
    terms: &Terms,
    round: u32,
    channel: ChannelId,
) -> Result<ChannelRecord, PayError> {
    let epoch = epoch_cost(terms, GIB_LEAVES)?;
    let deposit = pay.config.deposit_min.max(epoch.times(pay.config.deposit_epochs).unwrap_or(Amount::MAX));
    let deposit = set_aside(pay, deposit)?;
    let opened = async {
        let mut batch = Batch::default();
        batch.put_deal(node, &proposed_record(deal, round, channel, Amount::ZERO));
        if pay.account(node).is_none() {
            pay.ledger.write(batch)?;
        }
        let command = CommandId::of(&[b"cairn/client/open/1", &channel.0]);
        let open = OpenChannel { payee: terms.owner, signer: pay.session.address(), deposit, salt: salt(deal, round) };
        let opened = pay.settlement.open_channel(command, open).await?;
        let record = pay.settlement.channel(opened).await?;
        let odd = || SettlementError::Refused(format!("channel {channel} is not there after it was opened"));
        Ok(record.filter(|_| opened == channel).ok_or_else(odd)?)
    };
    let record: Result<ChannelRecord, PayError> = opened.await;
    guard(&pay.spending).give_back(deposit);
    let record = record?;
    tracing::info!(provider = %node, %channel, deposit = %record.deposit, "channel opened");
    Ok(record)
}

/// What an epoch of so many leaves costs.
pub(super) fn epoch_cost(terms: &Terms, leaves: u128) -> Result<Amount, PayError> {
    Ok(terms.storage.cost(leaves.saturating_mul(u128::from(terms.epoch_ms))).map_err(super::book::BookError::from)?)
}

impl super::Spending {
    fn give_back(&mut self, amount: Amount) {
        self.pending = self.pending.minus_or_zero(amount);
    }
}

/// Sets `wanted` aside for a transaction, or what is left of the month.
fn set_aside(pay: &Pay, wanted: Amount) -> Result<Amount, PayError> {
    let now = pay.now();
    let mut spending = guard(&pay.spending);
    let left = spending.budget.left(now).map_or(Amount::MAX, |left| left.minus_or_zero(spending.pending));
    let amount = wanted.min(left);
    if amount.is_zero() || amount < pay.config.deposit_min {
        let max = pay.config.month_max.unwrap_or(Amount::MAX);
        return Err(BudgetError::Month { cost: wanted, spent: spending.budget.spent(now), max }.into());
    }
    spending.pending = spending.pending.plus(amount).unwrap_or(Amount::MAX);
    Ok(amount)
}

/// A deposit grew from `known` to `deposit`: counts it in journal and budget.
fn note_deposit(pay: &Pay, channel: ChannelId, known: Amount, deposit: Amount) -> Result<(), PayError> {
    let more = deposit.minus_or_zero(known);
    if more.is_zero() {
        return Ok(());
    }
    let now = pay.now();
    let mut spending = guard(&pay.spending);
    // Beyond the budget too: it is in the channel already.
    let spent = spending.budget.spent(now).plus(more).unwrap_or(Amount::MAX);
    spending.budget.resume(now, spent);
    let mut batch = Batch::default();
    batch.put_budget(now, spent);
    let mut entries = Vec::new();
    let missing = more.minus_or_zero(pay.ledger.balance(Place::Wallet));
    if !missing.is_zero() {
        entries.push(entry(now, "into the wallet", Place::Outside, Place::Wallet, missing)?);
    }
    entries.push(entry(now, "deposit", Place::Wallet, Place::Deposit(channel), more)?);
    Ok(pay.ledger.post(batch, entries)?)
}

pub(super) fn entry(at: UnixMs, memo: &str, from: Place, to: Place, amount: Amount) -> Result<Entry, PayError> {
    Ok(Entry::transfer(at, memo, from, to, amount).map_err(crate::ledger::LedgerError::from)?)
}

/// Reads the channel and takes over what changed. No transaction.
pub(super) async fn refresh(pay: &Pay, account: &Account) -> Result<(), PayError> {
    let (channel, known) = account.with(|inside| (inside.channel(), inside.standing.deposit));
    let Some(record) = pay.settlement.channel(channel).await? else { return Ok(()) };
    note_deposit(pay, channel, known, record.deposit)?;
    let now = pay.now();
    account.change(|inside, change| {
        inside.standing.deposit = inside.standing.deposit.max(record.deposit);
        inside.book.payer.deposited(record.deposit);
        let settled = record.settled.minus_or_zero(inside.standing.settled);
        let settled = settled.min(pay.ledger.balance(Place::Promised(channel)));
        if !settled.is_zero() {
            inside.standing.settled = inside.standing.settled.plus(settled).unwrap_or(Amount::MAX);
            change.entries.push(entry(now, "redeemed", Place::Promised(channel), Place::Spent, settled)?);
        }
        if record.state != ChannelState::Open {
            inside.book.payer.closing(true);
            inside.standing.closing = true;
        }
        if record.state == ChannelState::Closed {
            let rest = pay.ledger.balance(Place::Deposit(channel));
            if !rest.is_zero() {
                change.entries.push(entry(now, "withdrawn", Place::Deposit(channel), Place::Wallet, rest)?);
            }
        }
        Ok(())
    })
}

/// Tops the channel up when the rule says so, or when `needed` in all is more than the deposit.
pub(super) async fn top_up(pay: &Pay, account: &Account, needed: Amount) -> Result<(), PayError> {
    let (channel, terms, deposit, remaining, leaves, number) = account.with(|inside| {
        let leaves = u128::from(inside.book.inventory.totals().leaves);
        let (book, standing) = (&inside.book, &inside.standing);
        (inside.channel(), book.terms().clone(), standing.deposit, book.payer.remaining(), leaves, standing.top_ups)
    });
    let epoch = epoch_cost(&terms, leaves)?;
    let by = pay.config.deposit_min.max(epoch.times(pay.config.deposit_epochs).unwrap_or(Amount::MAX));
    let missing = needed.minus_or_zero(deposit);
    let left = guard(&pay.spending).budget.left(pay.now());
    let rule = TopUpRule { below_epochs: pay.config.top_up_below_epochs, by: by.max(missing) };
    let wanted = match rule.decide(remaining, epoch, left) {
        _ if !missing.is_zero() => by.max(missing),
        TopUp::Enough => return Ok(()),
        TopUp::Deposit(amount) => amount.max(pay.config.deposit_min),
        TopUp::BudgetSpent { wanted } => wanted,
    };
    let amount = set_aside(pay, wanted)?;
    let command = CommandId::of(&[b"cairn/client/top-up/1", &channel.0, &number.to_be_bytes()]);
    let done = pay.settlement.top_up(command, channel, amount).await;
    guard(&pay.spending).give_back(amount);
    done?;
    account.change(|inside, _| {
        inside.standing.top_ups = number + 1;
        Ok(())
    })?;
    tracing::info!(provider = %account.node, %channel, %amount, "channel topped up");
    refresh(pay, account).await
}

/// Sees what became of channel and collateral, and tops the channel up when it is due.
pub(crate) async fn keep(pay: &Pay, account: &Account) -> Result<(), PayError> {
    refresh(pay, account).await?;
    let terms = account.with(|inside| inside.book.terms().clone());
    match super::agree::check_registration(pay, account.node, &terms).await {
        Ok(()) => account.with(|inside| inside.standing.unbacked = None),
        Err(error) if error.is_passing() => {}
        Err(error) => account.with(|inside| inside.standing.unbacked = Some(error.to_string())),
    }
    if account.with(|inside| inside.standing.closing || inside.book.inventory.is_empty()) {
        return Ok(());
    }
    top_up(pay, account, Amount::ZERO).await
}

/// Begins to close an account's channel; nothing is promised on it any more.
pub(crate) async fn close(pay: &Pay, account: &Account) -> Result<(), PayError> {
    let channel = account.change(|inside, _| {
        inside.standing.closing = true;
        inside.book.payer.closing(true);
        Ok(inside.channel())
    })?;
    let command = CommandId::of(&[b"cairn/client/close/1", &channel.0]);
    pay.settlement.request_close(command, channel).await?;
    Ok(())
}

/// Takes what is left of a closed channel back.
pub(crate) async fn withdraw(pay: &Pay, account: &Account) -> Result<(), PayError> {
    let channel = account.with(|inside| inside.channel());
    let command = CommandId::of(&[b"cairn/client/withdraw/1", &channel.0]);
    pay.settlement.withdraw(command, channel).await?;
    refresh(pay, account).await
}
