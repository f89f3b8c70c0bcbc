//! Vouchers: promised under the account's lock, written, then sent on a stream of their own, one at a time for each provider.
//!
//! Never: sent before it is written. Limits: one stream and one voucher under way for each provider.

use std::sync::Arc;

use bytes::Bytes;
use cairn_market::channel::PromiseError;
use cairn_market::journal::Account as Place;
use cairn_proto::shard::{GetAccount, request, response};
use cairn_proto::{Account as Told, RefusalCode, account as wire};
use cairn_types::{Amount, UnixMs};

use super::account::{Account, Change, Inside};
use super::book::{Book, BookError};
use super::{Pay, PayError, channel};
use crate::Inner;
use crate::error::PeerError;

/// A payment is tried so many times over top-ups and stale vouchers.
const TRIES: usize = 3;

/// Pays for reads in the background when enough is unpaid and nobody does so already. Where a read broke off, the provider has counted
/// bytes that did not come: it is asked at once, for as long as they are unpaid it serves less.
pub(crate) fn pay_if_due(inner: &Arc<Inner>, account: &Arc<Account>) {
    // A read that is dropped when the runtime ends has nobody to pay for it.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !reads_are_due(account) || !account.begin_paying() {
        return;
    }
    let (inner, account) = (inner.clone(), account.clone());
    runtime.spawn(async move {
        loop {
            let Some(pay) = &inner.pay else { return };
            let paid = match account.with(|inside| std::mem::take(&mut inside.book.ask)) {
                true => settle_reads(&inner, pay, &account).await,
                false => pay_reads(&inner, pay, &account).await,
            };
            account.end_paying();
            if let Err(error) = &paid {
                tracing::warn!(provider = %account.node, %error, "reads not paid");
            }
            if paid.is_err() || !reads_are_due(&account) || !account.begin_paying() {
                return;
            }
        }
    });
}

fn reads_are_due(account: &Account) -> bool {
    account.with(|inside| inside.book.ask || matches!(inside.book.reads_due(), Ok(Some(_))))
}

async fn pay_reads(inner: &Arc<Inner>, pay: &Pay, account: &Account) -> Result<(), PayError> {
    self::pay(inner, pay, account, |book| book.reads_due()).await
}

/// Asks for the provider's count of reads, takes over what broke off, and pays.
pub(crate) async fn settle_reads(inner: &Arc<Inner>, pay: &Pay, account: &Account) -> Result<(), PayError> {
    let at = account.with(|inside| pay.now().max(inside.book.meter.latest()));
    let told = self::account(inner, pay, account, at).await?;
    take_over_reads(account, &told)?;
    pay_reads(inner, pay, account).await
}

/// Takes the provider's count of reads over, or raises an alarm and stays with ours.
pub(super) fn take_over_reads(account: &Account, told: &Told) -> Result<(), PayError> {
    account.change(|inside, _| {
        match inside.book.take_over_reads(told.egress_len) {
            Ok(_) => {}
            Err(error) => alarm(account, inside, error.to_string()),
        }
        Ok(())
    })
}

pub(super) fn alarm(account: &Account, inside: &mut Inside, what: String) {
    tracing::error!(provider = %account.node, what, "the provider's account is not ours");
    inside.standing.alarm = Some(what);
}

/// Promises and pays what an audit that passed comes to; the amount promised in all.
pub(crate) async fn pay_audited(inner: &Arc<Inner>, pay: &Pay, account: &Account, leaf_ms: u128) -> Result<Amount, PayError> {
    let wanted = account.change(|inside, _| Ok(inside.book.audited(leaf_ms)?))?;
    self::pay(inner, pay, account, |book| Ok(Some(wanted.max(book.payer.promised())))).await?;
    Ok(account.with(|inside| inside.book.payer.promised()))
}

/// Promises the amount that `due` says, and sends the best voucher. Tops up when the deposit is too small.
pub(super) async fn pay(
    inner: &Arc<Inner>,
    pay: &Pay,
    account: &Account,
    due: impl Fn(&Book) -> Result<Option<Amount>, BookError>,
) -> Result<(), PayError> {
    let mut control = account.control.lock().await;
    for _ in 0..TRIES {
        let Some(wanted) = account.with(|inside| due(&inside.book))? else { return Ok(()) };
        match promise(pay, account, wanted) {
            Ok(()) => {}
            Err(PayError::Book(BookError::Promise(PromiseError::OverDeposit { .. }))) => {
                let topped_up = match &pay.acting {
                    Some(_) => Err(PayError::MandateSpent),
                    None => channel::top_up(pay, account, wanted).await,
                };
                if let Err(error) = topped_up {
                    account.with(|inside| alarm(account, inside, format!("the channel was not topped up: {error}")));
                    let deposit = account.with(|inside| inside.standing.deposit);
                    promise(pay, account, wanted.min(deposit))?; // all that there is
                } else {
                    continue;
                }
            }
            Err(error) => return Err(error),
        }
        if send(inner, pay, account, &mut control).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Promises and writes. What is promised already needs nothing.
fn promise(pay: &Pay, account: &Account, cumulative: Amount) -> Result<(), PayError> {
    let now = pay.now();
    account.change(|inside, change| {
        let before = inside.book.payer.promised();
        if cumulative <= before {
            return Ok(());
        }
        inside.book.promise(cumulative, &pay.contracts.channels_domain(), &pay.session)?;
        let more = cumulative.minus_or_zero(before);
        note_promise(inside, change, now, "voucher", more)
    })
}

fn note_promise(inside: &Inside, change: &mut Change, now: UnixMs, memo: &str, more: Amount) -> Result<(), PayError> {
    let channel = inside.channel();
    let entry = channel::entry(now, memo, Place::Deposit(channel), Place::Promised(channel), more)?;
    change.entries.push(entry.growing(inside.book.terms().epoch_ms)); // one an epoch, not one for each voucher
    change.batch.promise(now, more);
    Ok(())
}

/// Sends the best voucher; `false` when the provider holds a better one of ours, which is now ours too.
async fn send(
    inner: &Arc<Inner>,
    pay: &Pay,
    account: &Account,
    control: &mut Option<crate::session::Session>,
) -> Result<bool, PayError> {
    let unsent = |inside: &mut Inside| inside.book.voucher.filter(|voucher| voucher.voucher.cumulative > inside.standing.taken);
    let Some(voucher) = account.with(unsent) else { return Ok(true) };
    let taken = || account.with(|inside| inside.standing.taken = voucher.voucher.cumulative);
    let message = request::Kind::Pay(wire::pay(account.deal, &voucher));
    let answer = on_control(inner, account, control, message).await;
    match answer {
        Ok(response::Kind::Account(told)) => {
            let told = Told::from_wire(&told, voucher.voucher.channel)?;
            if told.voucher.is_none_or(|held| held.voucher.cumulative < voucher.voucher.cumulative) {
                account.with(|inside| alarm(account, inside, "it does not hold the voucher that it took".into()));
            }
            taken();
            Ok(true)
        }
        Ok(_) => Err(PeerError::Unexpected.into()),
        Err(PeerError::Refused { code: RefusalCode::WrongVoucher, message }) => {
            let before = voucher.voucher.cumulative;
            let at = account.with(|inside| pay.now().max(inside.book.meter.latest()));
            let kind = request::Kind::GetAccount(GetAccount { deal_id: id(account), at_ms: at.0 });
            let response::Kind::Account(told) = on_control(inner, account, control, kind).await? else {
                return Err(PeerError::Unexpected.into());
            };
            let told = Told::from_wire(&told, voucher.voucher.channel)?;
            if told.voucher.is_some_and(|held| held.voucher.cumulative == before) {
                taken();
                return Ok(true); // it came twice
            }
            match lift(pay, account, &told)? {
                true => Ok(false),
                false => Err(PeerError::Refused { code: RefusalCode::WrongVoucher, message }.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn id(account: &Account) -> Bytes {
    Bytes::copy_from_slice(account.deal.as_bytes())
}

/// One request on the stream for vouchers, which is replaced once when it proves dead.
async fn on_control(
    inner: &Arc<Inner>,
    account: &Account,
    control: &mut Option<crate::session::Session>,
    kind: request::Kind,
) -> Result<response::Kind, PeerError> {
    let timeout = inner.config.call_timeout;
    if let Some(mut session) = control.take() {
        match session.call(kind.clone(), timeout).await {
            Err(PeerError::Frame(_)) => {}
            Err(error @ PeerError::Refused { .. }) => {
                *control = Some(session);
                return Err(error);
            }
            answer => {
                *control = answer.is_ok().then_some(session);
                return answer;
            }
        }
    }
    let mut session = inner.peers.fresh_session(account.node).await?;
    let answer = session.call(kind, timeout).await;
    if matches!(answer, Ok(_) | Err(PeerError::Refused { .. })) {
        *control = Some(session);
    }
    answer
}

/// The provider's account at `at`. A better voucher of ours in it becomes ours again.
pub(super) async fn account(inner: &Arc<Inner>, pay: &Pay, account: &Account, at: UnixMs) -> Result<Told, PayError> {
    let channel = account.with(|inside| inside.channel());
    let kind = request::Kind::GetAccount(GetAccount { deal_id: id(account), at_ms: at.0 });
    let told = {
        let mut control = account.control.lock().await;
        on_control(inner, account, &mut control, kind).await?
    };
    let response::Kind::Account(told) = told else { return Err(PeerError::Unexpected.into()) };
    let told = Told::from_wire(&told, channel)?;
    lift(pay, account, &told)?;
    Ok(told)
}

/// Goes on from a voucher that the provider gave back, when it is ours and above what we know: this ledger was restored from a copy, or
/// somebody acted for us: a delegate for its client, or a client after its delegate's last word.
pub(crate) fn lift(pay: &Pay, account: &Account, told: &Told) -> Result<bool, PayError> {
    let Some(held) = told.voucher else { return Ok(false) };
    let promised = account.with(|inside| inside.book.payer.promised());
    let signer = account.with(|inside| inside.standing.client_signer).unwrap_or(pay.session.address());
    let ours = || held.giver(&pay.contracts.channels_domain()) == Some(signer);
    if held.voucher.cumulative <= promised || !ours() {
        return Ok(false);
    }
    let delegated = held.mandate.is_some() || pay.acting.is_some();
    let (provider, known, held_now) = (account.node, promised, held.voucher.cumulative);
    match delegated {
        true => tracing::info!(%provider, %known, held = %held_now, "the provider holds a later voucher than is known here"),
        false => {
            tracing::warn!(%provider, %known, held = %held_now, "the provider holds a later voucher of ours: this ledger was restored")
        }
    }
    let now = pay.now();
    account.change(|inside, change| {
        let more = held.voucher.cumulative.minus_or_zero(inside.book.payer.promised());
        let deposit = inside.standing.deposit;
        if held.voucher.cumulative > deposit {
            let missing = held.voucher.cumulative.minus_or_zero(deposit);
            let channel = inside.channel();
            change.entries.push(channel::entry(now, "found again", Place::Outside, Place::Deposit(channel), missing)?);
            inside.standing.deposit = held.voucher.cumulative;
        } else if pay.acting.is_some() {
            // The client promised it, out of what is no part of the mandate.
            change.entries.push(channel::entry(now, "by the client", Place::Outside, Place::Deposit(inside.channel()), more)?);
        }
        inside.book.lift(&held, deposit);
        if !delegated {
            (inside.standing.adopt_from, inside.standing.restored) = (Some(UnixMs(0)), true);
        } else if !inside.book.take_over_paid_reads(told.egress_len)? {
            alarm(account, inside, format!("it counts {} bytes of reads, more than what was promised explains", told.egress_len));
        }
        note_promise(inside, change, now, "voucher found again", more)
    })?;
    Ok(true)
}
