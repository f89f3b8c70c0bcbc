//! Asks every node now and then how it is, for the live page, the charts, the alerts and the metrics.
//!
//! Never: a node that does not answer holds up another; a number that the node did not give. Limits: [`CALL`] for an answer; every
//! [`FAST`] while somebody looks, else every [`SLOW`]; what asks the ledger only every so many rounds, and what has a gateway look at all its
//! segments only every [`HEALTH_MS`].

use std::sync::Arc;
use std::time::Duration;

use cairn_types::{Clock, UnixMs};
use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::nodes::{Kind, Node, Nodes};
use crate::outcome::{Failure, report};
use crate::socket::refusal_code;

const CALL: Duration = Duration::from_secs(5);
/// Between two rounds while somebody looks.
pub const FAST: Duration = Duration::from_secs(2);
/// Between two rounds while nobody does.
pub const SLOW: Duration = Duration::from_secs(15);
/// The ledger is asked in one of so many fast rounds.
const DEAR_EVERY: u64 = 3;
/// Between two questions for the health of all segments: a gateway reads every manifest to answer.
const HEALTH_MS: u64 = 60_000;

/// All nodes at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sample {
    /// When.
    pub at: UnixMs,
    /// In the order in which they are shown.
    pub nodes: Vec<NodeSample>,
}

/// One node at one moment. What does not go for it, such as money without a ledger, is null.
#[derive(Debug, Clone, Serialize)]
pub struct NodeSample {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Why it could not be asked.
    pub error: Option<Trouble>,
    /// `/v1/status`
    pub status: Option<Value>,
    /// `/v1/earnings` of a provider, `/v1/spending` of a gateway.
    pub money: Option<Value>,
    /// `/v1/wallet`
    pub wallet: Option<Value>,
    /// `/v1/health` of a gateway, as of `health_at`.
    pub health: Option<Value>,
    /// When it was asked for its health.
    #[serde(skip)]
    pub health_at: Option<UnixMs>,
    /// `/v1/audits?failed=true` of a gateway.
    pub failed_audits: Option<Value>,
    /// `/v1/disputes`
    pub disputes: Option<Value>,
}

/// What went wrong and what helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// What went wrong.
    pub message: String,
    /// What helps.
    pub remedy: String,
}

impl NodeSample {
    /// Of a node that was not asked yet.
    pub fn new(name: &str, kind: Kind) -> NodeSample {
        NodeSample {
            name: name.into(),
            kind,
            error: None,
            status: None,
            money: None,
            wallet: None,
            health: None,
            health_at: None,
            failed_audits: None,
            disputes: None,
        }
    }
}

/// The latest sample.
pub type Latest = watch::Receiver<Arc<Sample>>;

/// Pages that look at live numbers.
pub struct Live {
    seats: Arc<Semaphore>,
    count: usize,
    came: Notify,
}

impl Live {
    /// Room for so many pages.
    pub fn new(count: usize) -> Live {
        Live { seats: Arc::new(Semaphore::new(count)), count, came: Notify::new() }
    }

    /// A page that looks as long as the permit lives; `None` when there is no room.
    pub fn sit_down(&self) -> Option<OwnedSemaphorePermit> {
        let permit = self.seats.clone().try_acquire_owned().ok()?;
        self.came.notify_one();
        Some(permit)
    }

    /// Whether somebody looks.
    pub fn is_watched(&self) -> bool {
        self.seats.available_permits() < self.count
    }
}

/// Samples until `stop`. Only while somebody looks are rounds fast.
pub async fn run(
    nodes: Nodes,
    clock: Arc<dyn Clock>,
    latest: watch::Sender<Arc<Sample>>,
    live: Arc<Live>,
    stop: CancellationToken,
) {
    let mut round = 0u64;
    while !stop.is_cancelled() {
        let (watched, before, now) = (live.is_watched(), latest.borrow().clone(), clock.now());
        let dear = !watched || round.is_multiple_of(DEAR_EVERY);
        let asked = nodes.iter().enumerate().map(|(at, node)| ask(node, before.nodes.get(at), dear, now));
        let nodes = join_all(asked).await;
        latest.send_replace(Arc::new(Sample { at: clock.now(), nodes }));
        round += 1;
        let pause = if watched || round < DEAR_EVERY { FAST } else { SLOW };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // Somebody who opens the page does not wait for the end of a slow pause.
            () = live.came.notified(), if !watched => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn ask(node: &Node, before: Option<&NodeSample>, dear: bool, now: UnixMs) -> NodeSample {
    let mut sample = NodeSample::new(&node.name, node.kind);
    match node.dialer.get("/v1/status", CALL).await {
        Ok(status) => sample.status = Some(status),
        Err(error) => {
            let remedy = error.downcast_ref::<Failure>().map(|failure| failure.remedy.clone()).unwrap_or_default();
            let message = format!("{}: {}", node.name, report(&error).lines().next().unwrap_or_default());
            tracing::debug!(message, "not asked");
            sample.error = Some(Trouble { message, remedy });
            return sample;
        }
    }
    let before = before.filter(|before| before.error.is_none());
    if let Some(before) = before.filter(|_| !dear) {
        return NodeSample { status: sample.status, ..before.clone() };
    }
    let get = |path: &'static str| async move {
        match node.dialer.get(path, CALL).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                // A node without a ledger does not have the route.
                if refusal_code(&error).is_none() {
                    tracing::debug!(node = node.name, path, %error, "not asked");
                }
                None
            }
        }
    };
    match node.kind {
        Kind::Provider => {
            (sample.money, sample.wallet, sample.disputes) =
                futures::join!(get("/v1/earnings"), get("/v1/wallet"), get("/v1/disputes"));
        }
        Kind::Gateway => {
            (sample.money, sample.wallet, sample.failed_audits, sample.disputes) = futures::join!(
                get("/v1/spending"),
                get("/v1/wallet"),
                get("/v1/audits?failed=true&max=20"),
                get("/v1/disputes"),
            );
            let fresh = |at: &UnixMs| now.since_ms(*at) < HEALTH_MS;
            (sample.health, sample.health_at) = match before.filter(|before| before.health_at.as_ref().is_some_and(fresh)) {
                Some(before) => (before.health.clone(), before.health_at),
                None => (get("/v1/health").await, Some(now)),
            };
        }
        Kind::Peer | Kind::Delegate | Kind::Chain => {}
    }
    sample
}

/// A number at a path of keys, be it a JSON number or a decimal string of base units.
pub fn number(value: Option<&Value>, path: &[&str]) -> Option<u128> {
    let value = path.iter().try_fold(value?, |value, key| value.get(*key))?;
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().map(u128::from),
    }
}
