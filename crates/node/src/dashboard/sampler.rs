//! Asks every node now and then how it is, for the live page, the charts, the alerts and the metrics.
//!
//! Never: a node that does not answer holds up another; a number that the node did not give. Limits: [`CALL`] for an answer; every
//! [`FAST`] while somebody looks, else every [`SLOW`]; what asks the ledger only every so many rounds.

use std::sync::Arc;
use std::time::Duration;

use cairn_types::{Clock, UnixMs};
use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::nodes::{Kind, Node, Nodes};
use crate::outcome::{Failure, report};
use crate::socket::refusal_code;

const CALL: Duration = Duration::from_secs(5);
/// Between two rounds while somebody looks.
pub const FAST: Duration = Duration::from_secs(2);
/// Between two rounds while nobody does.
pub const SLOW: Duration = Duration::from_secs(15);
/// The ledger and the catalog are asked in one of so many fast rounds.
const DEAR_EVERY: u64 = 3;

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
    /// `/v1/health` of a gateway.
    pub health: Option<Value>,
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
            failed_audits: None,
            disputes: None,
        }
    }
}

/// The latest sample.
pub type Latest = watch::Receiver<Arc<Sample>>;

/// Samples until `stop`. Only while `looking` has receivers are rounds fast.
pub async fn run(
    nodes: Nodes,
    clock: Arc<dyn Clock>,
    latest: watch::Sender<Arc<Sample>>,
    looking: Arc<()>,
    stop: CancellationToken,
) {
    let mut round = 0u64;
    while !stop.is_cancelled() {
        // The task's own handle is one of them.
        let watched = Arc::strong_count(&looking) > 2;
        let before = latest.borrow().clone();
        let dear = !watched || round.is_multiple_of(DEAR_EVERY);
        let asked = nodes.iter().enumerate().map(|(at, node)| ask(node, before.nodes.get(at), dear));
        let nodes = join_all(asked).await;
        latest.send_replace(Arc::new(Sample { at: clock.now(), nodes }));
        round += 1;
        let pause = if watched || round < DEAR_EVERY { FAST } else { SLOW };
        let until = tokio::time::Instant::now() + pause;
        // Somebody who opens the page does not wait for the end of a slow pause.
        while tokio::time::Instant::now() < until && (watched || Arc::strong_count(&looking) <= 2) {
            if stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(200))).await.is_none() {
                return;
            }
        }
    }
}

async fn ask(node: &Node, before: Option<&NodeSample>, dear: bool) -> NodeSample {
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
    if let (false, Some(before)) = (dear, before.filter(|before| before.error.is_none())) {
        let NodeSample { money, wallet, health, failed_audits, disputes, .. } = before.clone();
        return NodeSample { money, wallet, health, failed_audits, disputes, ..sample };
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
            (sample.money, sample.wallet, sample.health, sample.failed_audits, sample.disputes) = futures::join!(
                get("/v1/spending"),
                get("/v1/wallet"),
                get("/v1/health"),
                get("/v1/audits?failed=true&max=20"),
                get("/v1/disputes"),
            );
        }
        Kind::Peer | Kind::Chain => {}
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
