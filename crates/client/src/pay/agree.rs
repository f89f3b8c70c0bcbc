//! Agreeing on terms: offer, checks, channel, agreement; again when the provider's terms change.
//!
//! Never: a deposit before the offer passed every check; new terms before the old ones' account is paid up.

use std::sync::Arc;

use cairn_market::offer::check_gouging;
use cairn_market::settlement::ProviderRecord;
use cairn_market::{Offer, Terms};
use cairn_proto::shard::{GetOffer, request, response};
use cairn_proto::{Account as Told, Agreement, RefusalCode, offer};
use cairn_types::{Amount, DealId, NodeId};

use super::account::{Account, Inside};
use super::channel::{self, Chosen};
use super::{Pay, PayError, call, recover, vouch};
use crate::Inner;
use crate::error::PeerError;
use crate::ledger::Batch;

const GIB_LEN: u64 = 1 << 30;

/// Terms with `node` for `deal`; `None` when it is free.
pub(super) async fn agree(inner: &Arc<Inner>, pay: &Pay, node: NodeId, deal: DealId) -> Result<Option<Arc<Account>>, PayError> {
    let Some(offer) = asked(inner, pay, node).await? else { return Ok(None) };
    let before = pay.account_of(node, deal);
    if let Some(account) = &before {
        channel::refresh(pay, account).await?;
    }
    if let Some(account) = before.filter(|account| account.with(|inside| !inside.standing.closing)) {
        renew(inner, pay, &account, offer.terms).await?;
        return Ok(Some(account));
    }
    let chosen = channel::choose(pay, node, deal, &offer.terms).await?;
    let account = first(inner, pay, node, deal, offer.terms, chosen).await?;
    pay.add_account(account.clone());
    super::resync::take_stock(inner, pay, &account).await?;
    Ok(Some(account))
}

/// The provider's offer, once it passed every check; `None` when it has none.
pub(super) async fn asked(inner: &Arc<Inner>, pay: &Pay, node: NodeId) -> Result<Option<Offer>, PayError> {
    let wire = match call(inner, node, request::Kind::GetOffer(GetOffer {})).await {
        Ok(response::Kind::Offer(wire)) => wire,
        Ok(_) => return Err(PeerError::Unexpected.into()),
        Err(PeerError::Refused { code: RefusalCode::BadRequest, .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let offer = offer::verify(&wire, node, pay.now().secs())?;
    pay.with_known(node, |known| known.offer = Some(offer.clone()));
    if offer.terms.storage.amount().is_zero() && offer.terms.egress.amount().is_zero() {
        return Ok(None);
    }
    check_price(pay, &offer.terms)?;
    check_contracts(pay, &offer.terms)?;
    check_registration(pay, node, &offer.terms).await?;
    Ok(Some(offer))
}

fn check_price(pay: &Pay, terms: &Terms) -> Result<(), PayError> {
    let limits = [
        ("a GiB and month", terms.storage.amount(), pay.config.storage_price_max),
        ("a GiB read", terms.egress.amount(), pay.config.egress_price_max),
    ];
    for (what, price, max) in limits {
        if let Some(max) = max.filter(|max| price > *max) {
            return Err(PayError::TooDear { what, price, max });
        }
    }
    let others: Vec<Terms> = super::guard(&pay.known)
        .iter()
        .filter(|(node, _)| **node != terms.node)
        .filter_map(|(_, known)| Some(known.offer.as_ref()?.terms.clone()))
        .collect();
    Ok(check_gouging(terms, &others, pay.config.gouging_times_max)?)
}

fn check_contracts(pay: &Pay, terms: &Terms) -> Result<(), PayError> {
    let ours = &pay.contracts;
    let same = [
        ("chain", terms.chain_id == ours.chain_id),
        ("contract Channels", terms.channels == ours.channels),
        ("contract Court", terms.court == ours.court),
        ("contract Providers", terms.providers == ours.providers),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(PayError::OtherContracts(what)),
        None => Ok(()),
    }
}

pub(super) async fn check_registration(pay: &Pay, node: NodeId, terms: &Terms) -> Result<(), PayError> {
    let record = pay.settlement.provider(terms.owner).await?.ok_or(PayError::Registration("its owner is not registered"))?;
    if record.node != node {
        return Err(PayError::Registration("its owner is registered with another node"));
    }
    let now = pay.now().secs();
    if !pay.settlement.signer_valid(terms.owner, terms.signer, now).await? {
        return Err(PayError::Registration("its signer's commitments would not bind its owner"));
    }
    let stored_len = pay.account(node).map_or(0, |account| account.with(|inside| inside.book.inventory.totals().bytes));
    let gibs = stored_len.div_ceil(GIB_LEN).max(1);
    let needed = terms.collateral_per_gib.times(gibs).ok_or(PayError::Registration("its collateral is beyond any amount"))?;
    let has = counted(&record, now.0);
    if has < needed { Err(PayError::Collateral { has, needed }) } else { Ok(()) }
}

/// Collateral that will still be there when a commitment of today has run out and was disputed.
fn counted(record: &ProviderRecord, now: u64) -> Amount {
    let last = now + cairn_types::limits::COMMITMENT_LIFE_SECS_MAX + 24 * 3600;
    let unbonding = if record.unbond_at.0 > last { record.unbonding } else { Amount::ZERO };
    record.collateral.plus(unbonding).unwrap_or(Amount::MAX)
}

/// Agrees for the first time on a channel.
async fn first(
    inner: &Arc<Inner>,
    pay: &Pay,
    node: NodeId,
    deal: DealId,
    terms: Terms,
    chosen: Chosen,
) -> Result<Arc<Account>, PayError> {
    let client = pay.node.id();
    let proposal = |start, carried| Agreement { deal, client, terms: terms.clone(), channel: chosen.channel, start, carried };
    let mut agreed = propose(inner, pay, node, proposal(pay.now(), Amount::ZERO)).await;
    // It knows of an agreement that this ledger does not; then, if that is not enough, of one that goes on from another.
    for earlier in [false, true] {
        if !matches!(&agreed, Err(PayError::Peer(error)) if is_owed(error)) {
            break;
        }
        let (start, carried) = recover::settle(inner, pay, node, deal, &terms, &chosen, earlier).await?;
        agreed = propose(inner, pay, node, proposal(start, carried)).await;
    }
    let (agreement, signed) = agreed?;
    let mut inside = Inside::new(agreement, signed, chosen.round, chosen.deposit);
    inside.standing.settled = chosen.settled;
    if let Some(before) = pay.account_of(node, deal) {
        inside.standing.score = before.with(|before| before.standing.score);
    }
    let account = Arc::new(Account::new(node, pay.ledger.clone(), inside));
    account.change(|_, _| Ok(()))?;
    Ok(account)
}

async fn propose(
    inner: &Arc<Inner>,
    pay: &Pay,
    node: NodeId,
    proposal: Agreement,
) -> Result<(Agreement, cairn_proto::shard::SignedAgreement), PayError> {
    let agree = proposal.propose(&pay.node);
    let response::Kind::Agreement(signed) = call(inner, node, request::Kind::Agree(agree.clone())).await? else {
        return Err(PeerError::Unexpected.into());
    };
    let agreement = Agreement::signed(&signed)?;
    if agreement != proposal || signed.agreement != agree.agreement {
        return Err(PayError::OtherAgreement);
    }
    Ok((agreement, signed))
}

/// Goes on under the provider's present terms: repeats the agreement when they are the same, else pays the old ones up and agrees anew
/// on the same channel.
async fn renew(inner: &Arc<Inner>, pay: &Pay, account: &Arc<Account>, terms: Terms) -> Result<(), PayError> {
    let before = account.with(|inside| inside.book.agreement.clone());
    if before.terms == terms {
        match propose(inner, pay, account.node, before).await {
            Ok(_) => {
                account.with(|inside| inside.standing.renew = false);
                return Ok(());
            }
            // The provider does not take so old a beginning: it has forgotten the agreement.
            Err(PayError::Peer(error)) if is_refusal(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let _alone = tokio::time::timeout(inner.config.call_timeout, account.gate.write()).await.map_err(|_| PayError::Busy)?;
    let at = account.with(|inside| pay.now().max(inside.book.meter.latest()).max(inside.standing.committed));
    let told: Told = vouch::account(inner, pay, account, at).await?;
    let carried = account.change(|inside, _| {
        inside.book.take_over_reads(told.egress_len)?;
        let leaf_ms = inside.book.leaf_ms(at)?.min(told.leaf_ms);
        Ok(inside.book.audited(leaf_ms)?)
    })?;
    vouch::pay(inner, pay, account, |book| Ok(Some(carried.max(book.payer.promised())))).await?;
    let proposal = account.with(|inside| Agreement { terms, start: at, carried, ..inside.book.agreement.clone() });
    let (agreement, signed) = propose(inner, pay, account.node, proposal).await?;
    account.change(|inside, change| {
        let book = &mut inside.book;
        book.agreement = agreement;
        (book.storage, book.received_len, book.lost_len, book.adopted) = (Amount::ZERO, 0, 0, 0);
        book.meter = cairn_market::Meter::new();
        for entry in book.inventory.iter() {
            book.meter.add(entry.leaf_count(), at).map_err(super::book::BookError::from)?;
            restart(&mut change.batch, account.deal, entry, at);
        }
        (inside.standing.signed, inside.standing.renew) = (signed, false);
        Ok(())
    })
}

fn restart(batch: &mut Batch, deal: DealId, entry: cairn_audit::Entry, start: cairn_types::UnixMs) {
    batch.put_shard(deal, entry.root(), crate::ledger::Held { len: entry.byte_len(), start });
}

fn is_owed(error: &PeerError) -> bool {
    matches!(error, PeerError::Refused { code: RefusalCode::PaymentDue | RefusalCode::WrongAgreement, .. })
}

fn is_refusal(error: &PeerError) -> bool {
    matches!(error, PeerError::Refused { code: RefusalCode::WrongAgreement | RefusalCode::BadRequest, .. })
}
