//! Recover: a client without a ledger (recovered from its phrase, or with a lost disk) finds the paid deals that it had.
//!
//! Channels have derived names and the provider gives our best voucher back, so nothing is opened or promised twice. What is owed beyond
//! that voucher cannot be checked against a meter of our own any more: it is paid as far as two epochs of what is listed explain it.
//! Never: more than that. Limits: one look for each provider while the program runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_market::Terms;
use cairn_market::channel::WINDOW_LEN;
use cairn_market::journal::Account as Place;
use cairn_market::voucher::Voucher;
use cairn_proto::shard::{GetAccount, request, response};
use cairn_proto::{Account as Told, account as wire};
use cairn_types::limits::SHARD_LEN_MAX;
use cairn_types::merkle::leaf_count;
use cairn_types::{Amount, DealId, NodeId, UnixMs};

use super::account::{Account, proposed_record};
use super::book::{BROKEN_LEN_MAX, BookError, RESTORED_EPOCHS_MAX};
use super::channel::{self, Chosen};
use super::stored::SKEW_MS;
use super::{Known, Pay, PayError, call, resync};
use crate::Inner;
use crate::error::PeerError;
use crate::ledger::Batch;
use crate::ledger::record::{PaidRecord, put_amount};

/// A provider with which there is no paid deal is asked again after this long.
const NOTHING_FOR: Duration = Duration::from_secs(3600);
/// A provider that did not answer is asked again after this long: readers wait for it.
const FAILED_FOR: Duration = Duration::from_secs(30);

impl Pay {
    /// The account of a deal, found again at its provider when the ledger does not know it. `None`: nothing is paid there.
    pub async fn account_for(&self, inner: &Arc<Inner>, node: NodeId, deal: DealId) -> Option<Arc<Account>> {
        if let Some(account) = self.account_of(node, deal) {
            return Some(account);
        }
        // A task of its own: a reader that goes to another provider meanwhile would break it off between the payment and the agreement.
        let inner = inner.clone();
        let looking = tokio::spawn(async move { inner.pay.as_ref()?.look_for_account(&inner, node, deal).await });
        looking.await.ok().flatten()
    }

    async fn look_for_account(&self, inner: &Arc<Inner>, node: NodeId, deal: DealId) -> Option<Arc<Account>> {
        let looked = |known: &Known| known.looked_until.is_some_and(|until| Instant::now() < until);
        let negotiating = self.with_known(node, |known| (!looked(known)).then(|| known.negotiating.clone()))?;
        let _one = negotiating.lock().await;
        if self.account_of(node, deal).is_some() || self.with_known(node, |known| looked(known)) {
            return self.account_of(node, deal);
        }
        let looked_for = |span: Duration| self.with_known(node, |known| known.looked_until = Some(Instant::now() + span));
        match told(inner, node, deal, self.now()).await {
            Ok(_) => match super::agree::agree(inner, self, node, deal).await {
                Ok(account) => account,
                Err(error) => {
                    tracing::warn!(provider = %node, %error, "a paid deal was not recovered");
                    looked_for(FAILED_FOR);
                    None
                }
            },
            Err(PeerError::Refused { .. }) => {
                looked_for(NOTHING_FOR);
                None
            }
            Err(_) => {
                looked_for(FAILED_FOR);
                None
            }
        }
    }
}

async fn told(inner: &Arc<Inner>, node: NodeId, deal: DealId, at: UnixMs) -> Result<cairn_proto::shard::Account, PeerError> {
    let get = GetAccount { deal_id: Bytes::copy_from_slice(deal.as_bytes()), at_ms: at.0 };
    match call(inner, node, request::Kind::GetAccount(get)).await? {
        response::Kind::Account(told) => Ok(told),
        _ => Err(PeerError::Unexpected),
    }
}

/// Pays an account of which only the provider knows up, as far as our own signature and what is listed explain it. Gives the moment up
/// to which it is paid, and all that was promised. With `earlier`, the account goes on from one before it on the channel, which came to
/// at most what was promised.
pub(super) async fn settle(
    inner: &Arc<Inner>,
    pay: &Pay,
    node: NodeId,
    deal: DealId,
    terms: &Terms,
    chosen: &Chosen,
    earlier: bool,
) -> Result<(UnixMs, Amount), PayError> {
    let told = Told::from_wire(&told(inner, node, deal, pay.now()).await?, chosen.channel)?;
    let now = pay.now();
    if told.at.since_ms(now) > SKEW_MS || now.since_ms(told.at) > SKEW_MS {
        return Err(PeerError::Unexpected.into());
    }
    let domain = pay.contracts.channels_domain();
    let ours = told.voucher.filter(|held| held.signer(&domain) == Some(pay.session.address()));
    let promised = ours.map_or(Amount::ZERO, |held| held.voucher.cumulative);
    let carried = if earlier { promised } else { Amount::ZERO };
    let wanted = sum(terms, told.leaf_ms, told.egress_len)?.plus(carried).ok_or(BookError::Overflow)?.max(promised);
    let listed = resync::list(inner, node, deal, 0).await?;
    let leaves = listed.values().map(|listed| leaf_count(listed.len.min(SHARD_LEN_MAX))).fold(0, u64::saturating_add);
    let slack_ms = u128::from(leaves) * u128::from(terms.epoch_ms) * u128::from(RESTORED_EPOCHS_MAX);
    let slack = sum(terms, slack_ms, BROKEN_LEN_MAX + WINDOW_LEN)?.plus(Amount::from_base_units(2));
    let most = slack.and_then(|slack| slack.plus(promised)).ok_or(BookError::Overflow)?;
    if wanted > most {
        return Err(PayError::Unproven { asked: wanted, most });
    }
    let mut voucher = ours;
    if wanted > promised {
        if wanted > chosen.deposit {
            let (cumulative, deposit) = (wanted, chosen.deposit);
            return Err(BookError::Promise(cairn_market::channel::PromiseError::OverDeposit { cumulative, deposit }).into());
        }
        voucher = Some(Voucher { channel: chosen.channel, cumulative: wanted }.sign(&domain, &pay.session));
    }
    let Some(voucher) = voucher else { return Ok((told.at, Amount::ZERO)) };
    write(pay, node, deal, chosen, &voucher)?;
    if wanted > promised {
        let answer = call(inner, node, request::Kind::Pay(wire::pay(deal, &voucher))).await?;
        if !matches!(answer, response::Kind::Account(_)) {
            return Err(PeerError::Unexpected.into());
        }
    }
    tracing::info!(provider = %node, %deal, found = %promised, paid = %wanted, "paid deal recovered");
    Ok((told.at, wanted))
}

fn sum(terms: &Terms, leaf_ms: u128, egress_len: u64) -> Result<Amount, BookError> {
    terms.storage.cost(leaf_ms)?.plus(terms.egress.cost(egress_len)?).ok_or(BookError::Overflow)
}

/// The voucher is in the ledger before it is sent.
fn write(
    pay: &Pay,
    node: NodeId,
    deal: DealId,
    chosen: &Chosen,
    voucher: &cairn_market::voucher::SignedVoucher,
) -> Result<(), PayError> {
    let cumulative = voucher.voucher.cumulative;
    let signature = Bytes::copy_from_slice(voucher.signature.as_bytes());
    let paid = PaidRecord { cumulative: put_amount(cumulative), signature, ..PaidRecord::default() };
    let mut batch = Batch::default();
    batch.put_deal(node, &proposed_record(deal, chosen.round, chosen.channel, chosen.deposit));
    batch.put_paid(node, &paid);
    let (from, to) = (Place::Deposit(chosen.channel), Place::Promised(chosen.channel));
    let more = cumulative.minus_or_zero(pay.ledger.turnover(to).debits);
    let mut entries = Vec::new();
    if !more.is_zero() {
        entries.push(channel::entry(pay.now(), "voucher found again", from, to, more)?);
        batch.promise(pay.now(), more);
    }
    Ok(pay.ledger.post(batch, entries)?)
}
