//! The supervisor: starts the processes of a plan, waits until they work together, starts one again when asked, ends all.
//!
//! Never: restart by itself a process that ended. Limits: [`READY_MS_MAX`] until all is ready, [`STOP_MS_MAX`] to end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use cairn_types::port::draw;
use cairn_types::{NodeId, Phrase};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::child::{Running, log_tail};
use super::plan::{AccessKey, Name, Plan, home_of};
use crate::args::Common;
use crate::dashboard::nodes::{Kind, Node};
use crate::home;
use crate::outcome::{ExitCode, coded, report};
use crate::socket::{Dialer, json_request};
use crate::telemetry::LogFormat;
use crate::world::SystemRng;

/// Until the network is ready, or a process that was started again.
pub const READY_MS_MAX: u64 = 90_000;
/// Until everything has ended.
pub const STOP_MS_MAX: u64 = 10_000;
/// The part of it that the gateway may use while the providers still answer it.
const GATEWAY_STOP_MS_MAX: u64 = 8_000;
const POLL: Duration = Duration::from_millis(50);
const CALL: Duration = Duration::from_secs(5);

/// A running localnet.
pub struct Supervisor {
    dir: PathBuf,
    program: PathBuf,
    common_args: Vec<String>,
    plan: Mutex<Plan>,
    bootstrap: String,
    nodes: BTreeMap<Name, NodeId>,
    children: Mutex<BTreeMap<Name, Running>>,
    restarting: tokio::sync::Mutex<()>,
    /// Told when somebody asks for the end over the socket.
    pub stop_asked: Notify,
}

impl Supervisor {
    /// Prepares the data directories; nothing runs yet.
    pub fn new(dir: &Path, plan: Plan, common: &Common) -> Result<Arc<Supervisor>> {
        let mut nodes = BTreeMap::new();
        for name in plan.names() {
            let home = home_of(dir, name);
            let Some(role) = name.role() else {
                home::make_private_dir(&home)?;
                continue;
            };
            if !home::is_initialised(&home) {
                home::init(&home, &Phrase::from_entropy(draw(&SystemRng)), 0)?;
            }
            nodes.insert(name, home::peek_node_key(&home, role)?.id());
        }
        let listen = plan.listen(Name::Bootstrap).expect("every plan has a bootstrap node");
        let bootstrap = format!("{listen}/p2p/{}", nodes[&Name::Bootstrap]);
        Ok(Arc::new(Supervisor {
            dir: dir.to_owned(),
            program: std::env::current_exe().context("cannot tell where this program is")?,
            common_args: common_args(common),
            plan: Mutex::new(plan),
            bootstrap,
            nodes,
            children: Mutex::default(),
            restarting: tokio::sync::Mutex::default(),
            stop_asked: Notify::new(),
        }))
    }

    fn plan(&self) -> Plan {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn child(&self, name: Name) -> Option<Running> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }

    fn log(&self, name: Name) -> PathBuf {
        home_of(&self.dir, name).join("log")
    }

    fn dialer(&self, name: Name) -> Dialer {
        Dialer::new(home_of(&self.dir, name).join(name.socket()), "look at its log")
    }

    /// All processes as a dashboard shows them: the gateway first, the ledger last.
    pub fn shown(&self) -> Vec<Node> {
        let kind = |name: Name| name.role().map_or(Kind::Chain, Kind::from);
        let mut names = self.plan().names();
        names.sort_by_key(|name| (*name != Name::Gateway, matches!(name, Name::Bootstrap | Name::Chain), *name));
        names.iter().map(|name| Node::new(name.to_string(), kind(*name), &home_of(&self.dir, *name))).collect()
    }

    /// Where the dashboard listens.
    pub fn dashboard_listen(&self) -> SocketAddr {
        self.plan().dashboard_listen()
    }

    /// Directories of those that pay or are paid.
    pub fn wallets(&self) -> Vec<PathBuf> {
        self.plan().providers().chain([Name::Gateway]).map(|name| home_of(&self.dir, name)).collect()
    }

    fn start(&self, name: Name) -> Result<()> {
        let mut args = self.plan().arguments(&self.dir, name, &self.bootstrap)?;
        args.extend_from_slice(&self.common_args);
        let running = Running::start(name, &self.program, &args, &self.log(name))?;
        tracing::info!(%name, pid = running.pid, "started");
        self.children.lock().unwrap_or_else(PoisonError::into_inner).insert(name, running);
        Ok(())
    }

    /// Starts everything and waits until the gateway can use every provider and the S3 endpoint answers.
    pub async fn start_all(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(READY_MS_MAX);
        let plan = self.plan();
        // The ledger first: a provider that finds none begins by waiting for it.
        let (first, rest): (Vec<Name>, Vec<Name>) = plan.names().into_iter().partition(|name| *name == Name::Chain);
        for names in [first, rest] {
            for name in &names {
                self.start(*name)?;
            }
            for name in names {
                self.answers(name, deadline).await?;
            }
        }
        for name in plan.providers() {
            self.seen_by_gateway(name, true, deadline).await?;
        }
        self.s3_answers(deadline).await?;
        if plan.is_paid() {
            self.has_money(deadline).await?;
        }
        self.ensure_key().await
    }

    /// Every provider is registered on the ledger, and the gateway has credits to pay with.
    async fn has_money(&self, deadline: Instant) -> Result<()> {
        for name in self.plan().providers() {
            let dialer = self.dialer(name);
            let done = || async { Ok(dialer.get("/v1/status", CALL).await?["registered"] == true) };
            self.until(name, "its registration on the ledger", deadline, done).await?;
        }
        let dialer = self.dialer(Name::Gateway);
        let done =
            || async { Ok(dialer.get("/v1/wallet", CALL).await?["credits"].as_str().is_some_and(|credits| credits != "0")) };
        self.until(Name::Gateway, "its having credits", deadline, done).await
    }

    /// Starts one process again, after stopping it if it still runs, and waits until it is ready.
    pub async fn restart(&self, name: Name) -> Result<()> {
        let _one_at_a_time = self.restarting.lock().await;
        // An unknown name is refused before anything is stopped.
        self.plan().arguments(&self.dir, name, &self.bootstrap)?;
        let deadline = Instant::now() + Duration::from_millis(READY_MS_MAX);
        if let Some(running) = self.child(name) {
            running.stop(Duration::from_millis(STOP_MS_MAX)).await;
        }
        self.start(name)?;
        self.answers(name, deadline).await?;
        match name {
            Name::Chain | Name::Bootstrap => Ok(()),
            Name::Gateway => {
                for provider in self.plan().providers() {
                    if self.child(provider).is_some_and(|running| running.ended().is_none()) {
                        self.seen_by_gateway(provider, true, deadline).await?;
                    }
                }
                self.s3_answers(deadline).await
            }
            Name::Provider(_) => match self.child(Name::Gateway).filter(|gateway| gateway.ended().is_none()) {
                Some(_) => self.seen_by_gateway(name, false, deadline).await,
                None => Ok(()),
            },
        }
    }

    /// Waits until `done`; an end of `name` meanwhile is an error that shows its log.
    async fn until<F: Future<Output = Result<bool>>>(
        &self,
        name: Name,
        what: &str,
        deadline: Instant,
        done: impl Fn() -> F,
    ) -> Result<()> {
        let mut last = String::new();
        loop {
            match done().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = format!(" ({})", report(&error)),
            }
            if let Some(how) = self.child(name).and_then(|running| running.ended()) {
                let message =
                    format!("{name} ended ({how}) before {what}; the end of its log:\n{}", log_tail(&self.log(name), 12));
                return Err(coded(
                    ExitCode::Failure,
                    message,
                    "mend what the log names; if a port is taken, stop who holds it or use a new --dir",
                ));
            }
            if Instant::now() >= deadline {
                let message = format!("{what} did not happen in time{last}");
                return Err(coded(ExitCode::Unavailable, message, format!("look at {}", self.log(name).display())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn answers(&self, name: Name, deadline: Instant) -> Result<()> {
        let dialer = self.dialer(name);
        let pid = self.child(name).map_or(0, |running| running.pid);
        let done = || async { Ok(dialer.get("/v1/status", CALL).await?["pid"] == pid) };
        self.until(name, "its answering on its socket", deadline, done).await
    }

    /// The gateway has a connection to a provider, and with `usable` would give it shards now.
    async fn seen_by_gateway(&self, provider: Name, usable: bool, deadline: Instant) -> Result<()> {
        let node = self.nodes.get(&provider).context("every process of the plan has a node")?.to_string();
        let dialer = self.dialer(Name::Gateway);
        let is_node = |entry: &Value| entry["node"] == *node;
        let done = || async {
            let status = dialer.get("/v1/status", CALL).await?;
            let connected = status["net"]["connected"].as_array().is_some_and(|peers| peers.iter().any(is_node));
            let given = status["providers"].as_array().is_some_and(|all| all.iter().any(|p| is_node(p) && p["usable"] == true));
            Ok(if usable { given } else { connected })
        };
        self.until(Name::Gateway, &format!("the gateway's seeing {provider}"), deadline, done).await
    }

    async fn s3_answers(&self, deadline: Instant) -> Result<()> {
        let address = self.plan().s3_listen;
        let done = || async { Ok(TcpStream::connect(address).await.is_ok() && http_answers(address).await?) };
        self.until(Name::Gateway, "the S3 endpoint's answering", deadline, done).await
    }

    /// Makes the access key at the first start, or again when the gateway does not know the one of the plan.
    async fn ensure_key(&self) -> Result<()> {
        let dialer = self.dialer(Name::Gateway);
        if let Some(key) = self.plan().key {
            let listed = dialer.get("/v1/keys", CALL).await?;
            let known = |entry: &Value| entry["access_key"] == *key.access_key && entry["revoked"] != true;
            if listed["keys"].as_array().is_some_and(|keys| keys.iter().any(known)) {
                return Ok(());
            }
            tracing::warn!(access_key = key.access_key, "the gateway does not know this key any more; making a new one");
        }
        let key: AccessKey = dialer.json(json_request(Method::POST, "/v1/keys", &json!({"label": "localnet"}))?).await?;
        let mut plan = self.plan();
        plan.key = Some(key);
        plan.save(&self.dir)?;
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
        Ok(())
    }

    /// What `--json` prints.
    pub fn describe(&self) -> Value {
        let plan = self.plan();
        let process = |name: Name| {
            let child = self.child(name);
            let ended = child.as_ref().and_then(Running::ended);
            let pid = child.filter(|_| ended.is_none()).map(|running| running.pid);
            json!({
                "name": name.to_string(),
                "pid": pid,
                "running": pid.is_some(),
                "ended": ended,
                "peer_id": self.nodes.get(&name),
                "dir": home_of(&self.dir, name),
                "address": plan.listen(name).map(|listen| match self.nodes.get(&name) {
                    Some(node) => format!("{listen}/p2p/{node}"),
                    None => listen,
                }),
            })
        };
        json!({
            "endpoint": format!("http://{}", plan.s3_listen),
            "region": plan.region,
            "access_key": plan.key.as_ref().map(|key| &key.access_key),
            "secret_key": plan.key.as_ref().map(|key| &key.secret_key),
            "gateway": process(Name::Gateway),
            "providers": plan.providers().map(process).collect::<Vec<_>>(),
            "bootstrap": process(Name::Bootstrap),
            "chain": plan.has_own_chain().then(|| process(Name::Chain)),
            "chain_url": plan.is_paid().then(|| plan.chain_url()),
            "dir": self.dir,
            "pid": std::process::id(),
        })
    }

    /// Ends everything: the gateway first, so that what it is doing can be finished, then the rest.
    pub async fn stop_all(&self) {
        let deadline = Instant::now() + Duration::from_millis(STOP_MS_MAX);
        if let Some(gateway) = self.child(Name::Gateway) {
            gateway.terminate().await;
            gateway.wait(Duration::from_millis(GATEWAY_STOP_MS_MAX)).await;
        }
        let children: Vec<Running> = self.children.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(500));
        futures::future::join_all(children.iter().map(|child| child.stop(left))).await;
    }
}

fn common_args(common: &Common) -> Vec<String> {
    let format = match common.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let threads = common.worker_threads.map_or(2, std::num::NonZeroUsize::get);
    // No configuration file: the plan says everything.
    let mut args = vec![
        "--config=/dev/null".to_owned(),
        "--stop-at-stdin-end".to_owned(),
        format!("--log-format={format}"),
        format!("--worker-threads={threads}"),
    ];
    args.extend(common.log_level.iter().map(|level| format!("--log-level={level}")));
    args
}

/// Any answer of an HTTP server will do: the endpoint refuses what is not signed.
async fn http_answers(address: std::net::SocketAddr) -> Result<bool> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = hyper::Request::builder().uri("/").header("host", address.to_string()).body(crate::socket::empty())?;
        let answer = sender.send_request(request).await;
        connection.abort();
        Ok(answer.map(|_| true)?)
    };
    tokio::time::timeout(CALL, exchange).await.map_err(|_| anyhow!("the S3 endpoint is silent"))?
}
