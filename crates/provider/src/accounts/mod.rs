//! Accounts: the money side of paid deals — offers, agreements, commitments, vouchers, releases.
//!
//! A deal without an agreement has no account. Whatever changes an account is handed to the ledger under the account's lock, so rows
//! are as old as they look; a voucher is credited when it is durable, everything else counts at once and is answered when durable.
//! Never: a lock across an await, or a change left half done because its stream went away.
//! Limits: [`ACCOUNTS_MAX`] accounts, [`CLOCK_SKEW_MS`] between clocks, one look at the chain each [`LOOK_MS_MIN`] per deal.

mod account;
mod agree;
mod config;
mod cut;
mod error;
mod pay;
mod release;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_market::settlement::{ChannelRecord, Contracts, SettlementError};
use cairn_market::{Offer, Terms};
use cairn_proto::shard;
use cairn_types::{ChannelId, Clock, DealId, NodeId, NodeKey, ShardRoot, UnixMs, UnixSecs};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;

use crate::ledger::{AccountRow, AgreementRow, Change, ChannelRow, Ledger, ReleaseRow, guard, numbered};
use crate::store::{Held, Store, StoreError, Watch};
pub(crate) use account::Account;

pub use crate::ledger::LedgerError;
pub use config::{Paid, Prices};
pub use error::AccountError;
pub use view::{DealAccount, Sums};

/// Accounts of one provider.
pub const ACCOUNTS_MAX: usize = 20_000;
/// How far a client's clock may be from ours.
pub const CLOCK_SKEW_MS: u64 = 120_000;
/// Time between two looks at a channel that a client can cause.
pub const LOOK_MS_MIN: u64 = 1_000;
/// How long releases and commitments are kept: the life of a commitment and all windows of a dispute.
pub const EVIDENCE_MS: u64 = 6 * 24 * 60 * 60 * 1000;
/// An offer's life; quantised, so that it is written down once in this time.
const OFFER_SECS: u64 = 60 * 60;
/// Life of an offer at least.
const OFFER_LIFE_SECS: u64 = 24 * 60 * 60;

/// The accounts of a provider. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub store: Store,
    pub key: NodeKey,
    pub paid: Paid,
    pub terms: Terms,
    pub contracts: Contracts,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub opened_at: UnixMs,
    slots: Arc<Slots>,
    /// Hashes of terms that were offered, and until when.
    offered: Mutex<HashMap<[u8; 32], UnixSecs>>,
    /// Deals of channels: a channel pays for one deal.
    channels: Mutex<HashMap<ChannelId, DealId>>,
    /// A moment from which on our signer's word is known to bind the owner.
    binds_since: Mutex<Option<UnixSecs>>,
    /// One payout at a time.
    pub payouts: tokio::sync::Mutex<()>,
    pub wake: tokio::sync::Notify,
}

/// A deal's place.
pub(crate) struct Slot {
    pub deal: DealId,
    /// One agreement, commitment, removal or settlement of the deal at a time: a commitment never names a shard that is being released.
    pub changing: tokio::sync::Mutex<()>,
    /// One voucher at a time.
    pub paying: tokio::sync::Mutex<()>,
    pub account: Mutex<Option<Account>>,
    /// Released shards whose rows are not removed yet.
    pub removing: Mutex<HashSet<ShardRoot>>,
    /// Counts payments, for reads that wait for one.
    pub paid: watch::Sender<u64>,
    looked_at: Mutex<UnixMs>,
    /// When a proposal may next cause a look at the chain.
    next_look: Mutex<Instant>,
}

impl Slot {
    fn new(deal: DealId, account: Option<Account>, removing: HashSet<ShardRoot>) -> Slot {
        Slot {
            deal,
            changing: tokio::sync::Mutex::new(()),
            paying: tokio::sync::Mutex::new(()),
            account: Mutex::new(account),
            removing: Mutex::new(removing),
            paid: watch::Sender::new(0),
            looked_at: Mutex::new(UnixMs(0)),
            next_look: Mutex::new(Instant::now()),
        }
    }

    /// Waits until a proposal may cause a look at the chain. Called with the deal's turn to change.
    pub async fn pace(&self) {
        let at = *guard(&self.next_look);
        tokio::time::sleep_until(at).await;
        *guard(&self.next_look) = Instant::now() + Duration::from_millis(LOOK_MS_MIN);
    }

    /// Looks at or changes the account, if there is one.
    pub fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> Option<T> {
        guard(&self.account).as_mut().map(change)
    }
}

impl Accounts {
    /// Opens the ledger and builds every account from it and from the shards that `store` holds. `key` is the node's. Blocking; before
    /// the first stream is served.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(store: Store, key: NodeKey, paid: Paid) -> Result<Accounts, LedgerError> {
        let terms = paid.terms(key.id());
        terms.check().map_err(|error| LedgerError::Terms(error.to_string()))?;
        if paid.prices.is_free() {
            return Err(LedgerError::Terms("a provider without a price is free and keeps no accounts".into()));
        }
        let ledger = Ledger::open(&paid.dir, key.id())?;
        let clock = store.clock();
        let offered = ledger.rows::<UnixSecs>(&[], &[], usize::MAX)?.into_iter();
        let offered = offered.filter_map(|(hash, until)| Some((hash.try_into().ok()?, until))).collect();
        let channels: HashMap<ChannelId, ChannelRow> = ledger
            .rows::<ChannelRow>(&[], &[], usize::MAX)?
            .into_iter()
            .filter_map(|(id, row)| Some((ChannelId::from_slice(&id)?, row)))
            .collect();
        let slots = Arc::new(Mutex::new(load(&ledger, &store, &channels)?));
        let channels = channels.into_iter().map(|(id, row)| (id, row.deal)).collect();
        let accounts = Accounts(Arc::new(Inner {
            contracts: paid.settlement.contracts(),
            opened_at: clock.now(),
            slots: slots.clone(),
            offered: Mutex::new(offered),
            channels: Mutex::new(channels),
            binds_since: Mutex::default(),
            payouts: tokio::sync::Mutex::new(()),
            wake: tokio::sync::Notify::new(),
            store: store.clone(),
            key,
            paid,
            terms,
            ledger,
            clock,
        }));
        store.watch(Arc::new(Watcher(slots)));
        Ok(accounts)
    }

    /// What this provider asks now.
    pub fn terms(&self) -> &Terms {
        &self.0.terms
    }

    /// The offer, signed. Whoever agrees to it in its life gets its terms, whatever the price is then.
    ///
    /// # Errors
    /// [`AccountError::Ledger`].
    pub(crate) async fn offer(&self) -> Result<shard::SignedOffer, AccountError> {
        let now = self.0.clock.now().secs();
        let valid_until = UnixSecs((now.0 / OFFER_SECS + 1).saturating_mul(OFFER_SECS)).plus_secs(OFFER_LIFE_SECS);
        let hash = self.0.terms.hash();
        let known = guard(&self.0.offered).get(&hash).copied();
        if known.is_none_or(|until| until < valid_until) {
            let mut change = Change::default();
            change.put_offer(&hash, valid_until);
            self.0.ledger.write(change).await?;
            guard(&self.0.offered).insert(hash, valid_until);
        }
        let offer = Offer { terms: self.0.terms.clone(), free_len: self.0.store.status().free_len, valid_until };
        Ok(cairn_proto::offer::sign(&offer, &self.0.key))
    }

    /// The place of a deal that has an account.
    pub(crate) fn slot(&self, deal: &DealId) -> Option<Arc<Slot>> {
        let slot = guard(&self.0.slots).get(deal).cloned()?;
        let is_open = guard(&slot.account).is_some();
        is_open.then_some(slot)
    }

    /// The place of a deal of `client`, made if need be.
    pub(crate) fn slot_for(&self, client: NodeId, deal: DealId) -> Result<Arc<Slot>, AccountError> {
        self.0.store.check_deal(client, deal)?;
        let mut slots = guard(&self.0.slots);
        if !slots.contains_key(&deal) && slots.len() >= ACCOUNTS_MAX {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || guard(&slot.account).is_some());
            if slots.len() >= ACCOUNTS_MAX {
                return Err(AccountError::TooManyAccounts(ACCOUNTS_MAX));
            }
        }
        let slot = slots.entry(deal).or_insert_with(|| Arc::new(Slot::new(deal, None, HashSet::new())));
        Ok(slot.clone())
    }

    /// The place of a deal of `client` that has an account.
    pub(crate) fn open_slot(&self, client: NodeId, deal: DealId) -> Result<Arc<Slot>, AccountError> {
        self.0.store.check_deal(client, deal)?;
        self.slot(&deal).ok_or(AccountError::AgreementDue("nothing was agreed on this deal"))
    }

    /// All places with accounts.
    pub(crate) fn open_slots(&self) -> Vec<Arc<Slot>> {
        let slots: Vec<Arc<Slot>> = guard(&self.0.slots).values().cloned().collect();
        slots.into_iter().filter(|slot| guard(&slot.account).is_some()).collect()
    }

    /// A channel as the chain has it.
    pub(crate) async fn channel(&self, id: ChannelId) -> Result<Option<ChannelRecord>, AccountError> {
        let record = self.0.paid.settlement.channel(id).await;
        record.map_err(|error: SettlementError| AccountError::Chain(error.to_string()))
    }

    /// Looks at the deal's channel again, because a client says that there is more in it; not too often.
    pub(crate) async fn look(&self, slot: &Slot) -> Result<(), AccountError> {
        let now = self.0.clock.now();
        {
            let mut looked_at = guard(&slot.looked_at);
            if now.since_ms(*looked_at) < LOOK_MS_MIN && *looked_at != UnixMs(0) {
                return Ok(());
            }
            *looked_at = now;
        }
        let Some(id) = slot.with(|account| account.agreement.channel) else { return Ok(()) };
        let Some(record) = self.channel(id).await? else { return Ok(()) };
        slot.with(|account| {
            account.payee.deposited(record.deposit);
            account.channel.deposit = account.payee.deposit();
        });
        Ok(())
    }
}

/// Finishes what was begun, also when the stream that asked for it is gone.
pub(crate) async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, AccountError>> + Send + 'static,
) -> Result<T, AccountError> {
    tokio::spawn(work).await.unwrap_or(Err(AccountError::Store(StoreError::Closed)))
}

type Slots = Mutex<HashMap<DealId, Arc<Slot>>>;

/// Tells the accounts of new shards. Holds nothing that holds the store: the store's own threads let go of it.
struct Watcher(Arc<Slots>);

impl Watch for Watcher {
    fn stored(&self, deal: DealId, root: ShardRoot, len: u64, stored_at: UnixMs) {
        let Some(slot) = guard(&self.0).get(&deal).cloned() else { return };
        if let Some(Err(error)) = slot.with(|account| account.stored(Held { root, len, stored_at })) {
            error!(%deal, %root, %error, "a shard is stored and not counted");
        }
    }
}

/// Builds the accounts: every shard that lies there counts, but those whose removal was begun.
fn load(
    ledger: &Ledger,
    store: &Store,
    channels: &HashMap<ChannelId, ChannelRow>,
) -> Result<HashMap<DealId, Arc<Slot>>, LedgerError> {
    let mut removing: HashMap<DealId, HashSet<(ShardRoot, UnixMs)>> = HashMap::new();
    for (deal, number) in ledger.pending()? {
        if let Some(row) = ledger.row::<ReleaseRow>(&numbered(&deal, number))? {
            let removed = row.removed.iter().map(|removed| (row.roots[usize::from(removed.index)], removed.stored_at));
            removing.entry(deal).or_default().extend(removed);
        }
    }
    let mut slots = HashMap::new();
    for (key, signed) in ledger.rows::<AgreementRow>(&[], &[], usize::MAX)? {
        let damaged = |kind: char| LedgerError::Damaged(kind);
        let deal = DealId::from_slice(&key).ok_or(damaged('g'))?;
        let wire = shard::Agree { agreement: signed.agreement.clone(), client_signature: signed.client_signature.clone() };
        let agreement = cairn_proto::Agreement::proposed(&wire).map_err(|_| damaged('g'))?;
        let channel = *channels.get(&agreement.channel).ok_or(damaged('c'))?;
        let row = ledger.row::<AccountRow>(&key)?.ok_or(damaged('a'))?;
        let removing = removing.remove(&deal).unwrap_or_default();
        let held = held_by(store, &deal, &removing).map_err(|error| LedgerError::Store(error.to_string()))?;
        let account = Account::resumed(agreement, signed, channel, row, &held);
        let mut account = account.map_err(|error| LedgerError::Store(error.to_string()))?;
        account.next_number = release::next_number(ledger, &deal)?;
        let removing = removing.into_iter().map(|(root, _)| root).collect();
        slots.insert(deal, Arc::new(Slot::new(deal, Some(account), removing)));
    }
    Ok(slots)
}

/// Shards of a deal, each once with its first moment, but those dated as in `but`.
fn held_by(store: &Store, deal: &DealId, but: &HashSet<(ShardRoot, UnixMs)>) -> Result<Vec<Held>, StoreError> {
    let mut held = Vec::new();
    store.each_held(deal, |shard| {
        if !but.contains(&(shard.root, shard.stored_at)) {
            held.push(shard);
        }
    })?;
    held.sort_unstable_by_key(|shard| (shard.root, shard.stored_at));
    held.dedup_by_key(|shard| shard.root);
    Ok(held)
}
