//! Paying: terms with each provider that asks for pay, vouchers for what it proved and sent, all within a budget.
//!
//! A provider without prices works as if none of this existed.
//! Never: a voucher above our own count; a shard stored under terms that our guard refuses; a transaction in an ordinary epoch.
//! Limits: [`PayConfig`]; one negotiation, one voucher and one audit at a time for each provider.

mod account;
mod agree;
mod api;
pub(crate) mod book;
mod brief;
mod channel;
mod config;
mod error;
pub(crate) mod giving;
mod quote;
mod reads;
mod recover;
mod release;
mod resync;
mod stored;
mod view;
mod vouch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cairn_audit::disputes::Disputes;
use cairn_market::budget::Budget;
use cairn_market::deal::{Cause, Deal, End};
use cairn_market::{Contracts, Offer, Settlement};
use cairn_proto::RefusalCode;
use cairn_types::{Amount, Clock, DealId, NodeId, NodeKey, UnixMs, WalletKey};

pub(crate) use account::{Account, Inside};
pub(crate) use brief::{Acting, Brief, get_entries};
pub(crate) use channel::{close as close_channel, keep as keep_channel};
pub use config::PayConfig;
pub use error::PayError;
pub(crate) use giving::Giving;
pub use giving::{Grant, GrantView};
pub use quote::{Quote, QuoteError, QuotedOffer};
pub(crate) use reads::{ReadMeter, note as note_read};
pub(crate) use release::delete;
pub(crate) use resync::{Found, resync};
pub(crate) use stored::{Ending, SKEW_MS, is_plausible};
pub use view::{AuditFilter, AuditView, DealView, FailureView, JournalEntry, LedgerStatus, MonthSpending, OfferView};
pub(crate) use vouch::{lift, pay_audited, settle_reads};

use crate::Inner;
use crate::error::PeerError;
use crate::ledger::{Ledger, LedgerError};

/// A provider that said it is free is asked again after this long.
const FREE_FOR: Duration = Duration::from_secs(600);
/// A provider whose offer was refused is asked again after this long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// What a paying client is made of, besides its [`crate::Parts`].
pub struct Paying {
    /// Directory of its ledger.
    pub ledger: PathBuf,
    /// The ledger of the chain.
    pub settlement: Arc<dyn Settlement>,
    /// The client's node key: signs agreements and audits.
    pub node: NodeKey,
    /// The client's session key: signs vouchers and releases.
    pub session: WalletKey,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// The court, if the ledger has one.
    pub court: Option<Arc<dyn Disputes>>,
    /// Rules.
    pub config: PayConfig,
    /// Whose delegate this is; it then pays under mandates and stores nothing.
    pub acting: Option<NodeId>,
}

/// What is known of a provider's terms while the program runs.
#[derive(Default)]
struct Known {
    offer: Option<Offer>,
    free_since: Option<Instant>,
    refused: Option<(Instant, String)>,
    /// It was asked whether a paid deal is there that the ledger does not know, and is not asked again before then.
    looked_until: Option<Instant>,
    negotiating: Arc<tokio::sync::Mutex<()>>,
}

pub(crate) struct Pay {
    pub ledger: Arc<Ledger>,
    pub settlement: Arc<dyn Settlement>,
    pub contracts: Contracts,
    pub node: NodeKey,
    pub session: WalletKey,
    pub clock: Arc<dyn Clock>,
    pub court: Option<Arc<dyn Disputes>>,
    /// One challenge or step at a time.
    pub at_court: tokio::sync::Mutex<()>,
    pub config: PayConfig,
    /// Where we act for another client.
    pub acting: Option<Acting>,
    /// What our delegates were told, where we are the client.
    pub(crate) giving: Giving,
    accounts: Mutex<HashMap<NodeId, Arc<Account>>>,
    known: Mutex<HashMap<NodeId, Known>>,
    spending: Mutex<Spending>,
    stopping: AtomicBool,
}

/// What goes into channels.
struct Spending {
    budget: Budget,
    /// Set aside for transactions under way.
    pending: Amount,
}

impl Pay {
    /// Opens the ledger. Blocks on the disk.
    pub fn open(paying: Paying) -> Result<Pay, LedgerError> {
        let Paying { ledger, settlement, node, session, clock, court, config, acting } = paying;
        let ledger = Arc::new(Ledger::open(&ledger, node.id())?);
        let mut accounts = HashMap::new();
        for (provider, rows) in ledger.accounts()? {
            if let Some(inside) = Inside::from_rows(&rows, &ledger)? {
                accounts.insert(provider, Arc::new(Account::new(provider, ledger.clone(), inside)));
            }
        }
        let mut budget = Budget::new(config.month_max);
        if let Some((at, spent)) = ledger.budget()? {
            budget.resume(at, spent);
        }
        let spending = Mutex::new(Spending { budget, pending: Amount::ZERO });
        let contracts = settlement.contracts();
        let acting = match acting {
            Some(client) => Some(Acting::new(client, ledger.silence()?)),
            None => None,
        };
        let (accounts, known) = (Mutex::new(accounts), Mutex::default());
        let stopping = AtomicBool::new(false);
        let at_court = tokio::sync::Mutex::default();
        Ok(Pay {
            ledger,
            settlement,
            contracts,
            node,
            session,
            clock,
            court,
            at_court,
            config,
            acting,
            giving: Giving::default(),
            accounts,
            known,
            spending,
            stopping,
        })
    }

    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    pub fn account(&self, node: NodeId) -> Option<Arc<Account>> {
        guard(&self.accounts).get(&node).cloned()
    }

    /// The account of a deal.
    pub fn account_of(&self, node: NodeId, deal: DealId) -> Option<Arc<Account>> {
        self.account(node).filter(|account| account.deal == deal)
    }

    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts: Vec<_> = guard(&self.accounts).values().cloned().collect();
        accounts.sort_unstable_by_key(|account| account.node);
        accounts
    }

    /// Whether audits are ours to make: a delegate waits until its client is silent.
    pub fn is_our_turn(&self) -> bool {
        self.acting.as_ref().is_none_or(Acting::is_our_turn)
    }

    /// Forgets the accounts of all deals but these; whose they were.
    pub fn forget_deals_but(&self, deals: &[bytes::Bytes]) -> Result<Vec<NodeId>, LedgerError> {
        let kept: std::collections::HashSet<&[u8]> = deals.iter().map(|deal| &deal[..]).collect();
        let gone: Vec<_> = self.accounts().into_iter().filter(|account| !kept.contains(account.deal.as_bytes())).collect();
        for account in &gone {
            let mut batch = crate::ledger::Batch::default();
            batch.delete_account(account.node, account.deal);
            self.ledger.write(batch)?;
            guard(&self.accounts).remove(&account.node);
        }
        Ok(gone.iter().map(|account| account.node).collect())
    }

    /// What is presented to each provider, where we are a delegate.
    pub fn presents(&self) -> Vec<(NodeId, Option<cairn_proto::shard::Present>)> {
        self.accounts().iter().map(|account| (account.node, account.with(|inside| inside.standing.present.clone()))).collect()
    }

    fn add_account(&self, account: Arc<Account>) {
        guard(&self.accounts).insert(account.node, account);
    }

    fn with_known<T>(&self, node: NodeId, act: impl FnOnce(&mut Known) -> T) -> T {
        act(guard(&self.known).entry(node).or_default())
    }

    /// Why a provider gets no new shards; `None` when it may.
    pub fn barred(&self, node: NodeId) -> Option<String> {
        let refused = self.with_known(node, |known| {
            known.refused.as_ref().filter(|(since, _)| since.elapsed() < REFUSED_FOR).map(|(_, why)| why.clone())
        });
        refused.or_else(|| self.account(node)?.with(|inside| view::unfit(inside, &self.config, self.clock.now())))
    }

    /// Whether a provider was found to have lost data, or left for good.
    pub fn has_lost(&self, node: NodeId) -> bool {
        let lost = |life: Deal| {
            matches!(
                life,
                Deal::Suspect { cause: Cause::Lost, .. } | Deal::Ending { end: End::Lost | End::Silent } | Deal::Ended { .. }
            )
        };
        self.account(node).is_some_and(|account| account.with(|inside| lost(inside.standing.life)))
    }

    /// A refusal that says something of the terms.
    pub fn refused(&self, node: NodeId, code: RefusalCode) {
        match code {
            RefusalCode::AgreementDue | RefusalCode::WrongAgreement => {
                self.with_known(node, |known| known.free_since = None);
                if let Some(account) = self.account(node) {
                    account.with(|inside| inside.standing.renew = true);
                }
            }
            RefusalCode::PaymentDue => {
                if let Some(account) = self.account(node) {
                    let now = self.clock.now();
                    account.with(|inside| {
                        let next = &mut inside.standing.next_audit;
                        *next = next.map(|next| next.min(now));
                    });
                }
            }
            _ => {}
        }
    }

    /// Terms under which shards may be stored at `node` now: agreed at first use. `None` for a free provider.
    pub async fn ready(&self, inner: &Arc<Inner>, node: NodeId, deal: DealId) -> Result<Option<Arc<Account>>, PayError> {
        if let Some(account) = self.account_of(node, deal)
            && account.with(|inside| !inside.standing.renew && !inside.standing.closing)
        {
            return Ok(Some(account));
        }
        let free = |known: &mut Known| known.free_since.is_some_and(|since| since.elapsed() < FREE_FOR);
        if self.with_known(node, free) {
            return Ok(None);
        }
        let negotiating = self.with_known(node, |known| known.negotiating.clone());
        let _one = negotiating.lock().await;
        if self.with_known(node, free) {
            return Ok(None);
        }
        if let Some(account) = self.account_of(node, deal)
            && account.with(|inside| !inside.standing.renew && !inside.standing.closing)
        {
            return Ok(Some(account));
        }
        match agree::agree(inner, self, node, deal).await {
            Ok(account) => {
                self.with_known(node, |known| {
                    known.refused = None;
                    known.free_since = account.is_none().then(Instant::now);
                });
                Ok(account)
            }
            Err(error) => {
                if !error.is_passing() {
                    tracing::warn!(provider = %node, %error, "no terms with this provider");
                    self.with_known(node, |known| known.refused = Some((Instant::now(), error.to_string())));
                }
                Err(error)
            }
        }
    }

    /// No audit goes on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Writes what is not written yet and syncs, when there is anything. Blocks on the disk.
    pub fn sync(&self) -> Result<(), LedgerError> {
        for account in self.accounts() {
            account.write_paid()?;
        }
        if !self.ledger.is_dirty() {
            return Ok(());
        }
        let mut batch = crate::ledger::Batch::default();
        batch.put_alive(self.now());
        self.ledger.write(batch)?;
        self.ledger.sync()
    }
}

/// A small call about a deal, on any stream.
pub(crate) async fn call(
    inner: &Inner,
    node: NodeId,
    kind: cairn_proto::shard::request::Kind,
) -> Result<cairn_proto::shard::response::Kind, PeerError> {
    inner.peers.call(node, kind).await
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
