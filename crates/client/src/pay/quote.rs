//! Quote: what storing some bytes would cost, on which offers, before anything is stored.
//!
//! Never: a promise, or a transaction; it asks providers for their offers and looks at the ledger. Limits: [`OFFERS_AT_ONCE`] asked at once.

use std::sync::Arc;

use cairn_market::{EgressPrice, StoragePrice, Terms, estimate};
use cairn_types::{Amount, NodeId};
use futures::{StreamExt, stream};
use serde::Serialize;

use super::{Pay, agree, channel, guard};
use crate::upload::needed;
use crate::{Client, Inner, WriteError};

const OFFERS_AT_ONCE: usize = 16;
const GIB_LEAVES: u128 = 1 << 20;

/// What bytes would cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// Bytes of the object.
    pub len: u64,
    /// Shards that suffice / shards stored.
    pub redundancy: String,
    /// Providers that would hold it.
    pub providers: usize,
    /// Bytes at all of them together.
    pub stored_len: u64,
    /// The upload itself costs nothing; so many credits would go into new channels now, from which what follows is paid.
    pub deposit: Amount,
    /// For a month of 30 days.
    pub month: Amount,
    /// For reading it back once.
    pub read: Amount,
    /// What this rests on: the cheapest offers, one for each provider.
    pub offers: Vec<QuotedOffer>,
}

/// One offer of a quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuotedOffer {
    /// The provider.
    pub provider: NodeId,
    /// Price of a GiB and month.
    pub storage_price: Amount,
    /// Price of a GiB read.
    pub egress_price: Amount,
    /// Whether there is a deal with it already, whose terms these are.
    pub agreed: bool,
}

/// Why there is no quote.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// Too few providers have an offer that would be taken.
    #[error("{0}")]
    Providers(WriteError),
    /// Beyond what can be counted.
    #[error("so many bytes cost more than can be counted")]
    Uncountable,
}

/// A provider that could hold a shard.
struct Priced {
    offer: QuotedOffer,
    /// What would go into its channel.
    deposit: Amount,
}

impl Client {
    /// What `len` bytes would cost, at the cheapest offers of the providers that would take them.
    ///
    /// # Errors
    /// [`QuoteError`].
    pub async fn quote(&self, len: u64) -> Result<Quote, QuoteError> {
        let inner = &self.0;
        let nodes: Vec<NodeId> = inner.candidates().into_iter().map(|candidate| candidate.node).collect();
        let mut priced: Vec<Priced> = stream::iter(nodes)
            .map(|node| price(inner, node))
            .buffer_unordered(OFFERS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        priced.sort_unstable_by_key(|priced| (priced.offer.storage_price, priced.offer.egress_price, priced.offer.provider));
        let few = |have| QuoteError::Providers(WriteError::NotEnoughProviders { have, need: needed(inner) });
        let redundancy = inner.tier(priced.len()).ok_or_else(|| few(priced.len()))?.redundancy;
        // A fixed redundancy may be served by fewer providers than it has shards; the quote is for all of them.
        let mut chosen: Vec<&Priced> = priced.iter().take(redundancy.total()).collect();
        let dearest = *chosen.last().ok_or_else(|| few(0))?;
        chosen.resize(redundancy.total(), dearest);
        let storage: Vec<StoragePrice> =
            chosen.iter().map(|priced| StoragePrice::per_gib_month(priced.offer.storage_price)).collect();
        let uncountable = |_| QuoteError::Uncountable;
        let month = estimate::month(len, redundancy, &storage).map_err(uncountable)?;
        let mut egress: Vec<Amount> = chosen.iter().map(|priced| priced.offer.egress_price).collect();
        egress.sort_unstable();
        let read = estimate::read(len, EgressPrice::per_gib(egress[egress.len() / 2])).map_err(|_| QuoteError::Uncountable)?;
        let offers: Vec<QuotedOffer> = priced.iter().take(redundancy.total()).map(|priced| priced.offer.clone()).collect();
        let deposits = priced.iter().take(redundancy.total()).map(|priced| priced.deposit);
        Ok(Quote {
            len,
            redundancy: redundancy.to_string(),
            providers: offers.len(),
            stored_len: u64::try_from(month.stored_len).unwrap_or(u64::MAX),
            deposit: if len == 0 { Amount::ZERO } else { Amount::sum(deposits).ok_or(QuoteError::Uncountable)? },
            month: month.month,
            read,
            offers,
        })
    }
}

/// What a provider asks; nothing when it would get no shard.
async fn price(inner: &Arc<Inner>, node: NodeId) -> Option<Priced> {
    let Some(pay) = &inner.pay else { return Some(free(node)) };
    if let Some(account) = pay.account(node) {
        return Some(account.with(|inside| of_terms(inside.book.terms(), Amount::ZERO, true)));
    }
    let known =
        guard(&pay.known).get(&node).and_then(|known| known.offer.clone()).filter(|offer| offer.valid_until > pay.now().secs());
    let asked = match known {
        Some(offer) => Ok(Some(offer)),
        None => agree::asked(inner, pay, node).await,
    };
    match asked {
        Ok(Some(offer)) => Some(of_terms(&offer.terms, first_deposit(pay, &offer.terms)?, false)),
        Ok(None) => Some(free(node)),
        Err(error) => {
            tracing::debug!(provider = %node, %error, "not in the quote");
            None
        }
    }
}

fn first_deposit(pay: &Pay, terms: &Terms) -> Option<Amount> {
    let epoch = channel::epoch_cost(terms, GIB_LEAVES).ok()?;
    Some(pay.config.deposit_min.max(epoch.times(pay.config.deposit_epochs)?))
}

fn of_terms(terms: &Terms, deposit: Amount, agreed: bool) -> Priced {
    let (storage_price, egress_price) = (terms.storage.amount(), terms.egress.amount());
    Priced { offer: QuotedOffer { provider: terms.node, storage_price, egress_price, agreed }, deposit }
}

fn free(node: NodeId) -> Priced {
    let offer = QuotedOffer { provider: node, storage_price: Amount::ZERO, egress_price: Amount::ZERO, agreed: false };
    Priced { offer, deposit: Amount::ZERO }
}
