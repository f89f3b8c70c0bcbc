//! The dashboard: pages for people who rent out disks or store files, served over HTTP on this machine.
//!
//! One front door for any number of nodes, which it asks over their control sockets (docs/adr/0019-dashboard.md, docs/formats/dashboard.md).
//! Never: an address that other machines reach, unless a name for it is given; a page without a session, but for the one that begins it.
//! Limits: JSON bodies of [`JSON_LEN_MAX`] bytes; objects stream; [`LIVE_MAX`] live pages.

mod alerts;
mod assets;
pub mod auth;
mod guard;
mod history;
mod kept;
mod metrics;
pub mod nodes;
mod routes;
mod sampler;
mod session;
pub mod webhooks;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::routing::{any, get, post, put};
use axum::{Router, middleware};
use cairn_types::Clock;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::home::write_private;
use crate::outcome::{ExitCode, coded, say, say_json};
use crate::status::default_dirs;
use crate::world::{SystemClock, SystemRng};
use crate::{args, config};
use alerts::Alerts;
use auth::Auth;
use guard::Door;
use history::History;
use nodes::{Node, Nodes};
use sampler::{Latest, Live, Sample};
use webhooks::{Hook, Webhooks};

/// Bytes of a JSON body that the dashboard itself reads.
pub const JSON_LEN_MAX: usize = 64 * 1024;
/// Pages that are told live numbers at the same time.
pub const LIVE_MAX: usize = 64;
/// What requests that are under way may take when the dashboard ends.
const STOP_FOR: Duration = Duration::from_secs(1);
/// Directory of the dashboard in a data directory.
pub const DIR_NAME: &str = "dashboard";
const URL_FILE: &str = "url";

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    door: Door,
    nodes: Nodes,
    latest: Latest,
    live: Arc<Live>,
    history: Arc<History>,
    alerts: Arc<Alerts>,
    webhooks: Arc<Webhooks>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl FromRef<Shared> for Door {
    fn from_ref(shared: &Shared) -> Door {
        shared.door.clone()
    }
}

impl FromRef<Shared> for Nodes {
    fn from_ref(shared: &Shared) -> Nodes {
        shared.nodes.clone()
    }
}

/// A running dashboard.
pub struct Dashboard {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    dir: std::path::PathBuf,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Dashboard {
    /// Where to open it: with the first token until a password has been chosen.
    pub fn invitation(&self) -> String {
        invitation(&self.url, &self.dir)
    }

    /// Ends it; live pages are let go, and what is passed on to a node is cut off after [`STOP_FOR`].
    pub async fn stop(self) {
        self.stop.cancel();
        let end = tokio::time::Instant::now() + STOP_FOR;
        for mut task in self.tasks {
            if tokio::time::timeout_at(end, &mut task).await.is_err() {
                task.abort();
            }
        }
        let _ = std::fs::remove_file(self.dir.join(URL_FILE)); // what stays is found dead
    }
}

/// The address of a dashboard, with its first token if no password has been chosen. The token is behind the `#`, which browsers do not send.
pub fn invitation(url: &str, dir: &Path) -> String {
    auth::first_token(dir).map_or_else(|| url.to_owned(), |token| format!("{url}/#token={token}"))
}

/// The address of the dashboard that a daemon with the data directory `home` serves, if one does.
pub fn url_of(home: &Path) -> Option<String> {
    std::fs::read_to_string(home.join(DIR_NAME).join(URL_FILE)).ok()
}

/// Runs `cairn dashboard`.
pub fn show(args: &args::Dashboard) -> Result<()> {
    let dirs = args.dir.clone().map_or_else(default_dirs, |dir| Ok(vec![dir]))?;
    let found: Vec<_> = dirs.iter().filter_map(|dir| Some((dir, url_of(dir)?))).collect();
    if found.is_empty() {
        let shown: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        let remedy = "start a provider, a gateway or a localnet, or name its directory with --dir; --dashboard-listen none switches it off";
        return Err(coded(ExitCode::Unavailable, format!("no dashboard is served from {}", shown.join(", ")), remedy));
    }
    for (dir, url) in found {
        let home = dir.join(DIR_NAME);
        if args.reset {
            auth::reset(&home, &SystemRng)?;
        }
        let url = invitation(&url, &home);
        match args.json {
            true => say_json(&json!({"dir": dir, "url": url, "password": auth::first_token(&home).is_none()}))?,
            false => say(url),
        }
    }
    Ok(())
}

/// Begins to serve the dashboard of `own` nodes and those that `config` adds, its files under `home`; `None` when it is switched off.
///
/// # Errors
/// The address cannot be had (the default address is given up with a warning), or others could reach it and no name was given for it.
pub async fn start(config: &config::Dashboard, home: &Path, own: Vec<Node>) -> Result<Option<Dashboard>> {
    let Some(wanted) = config.address() else { return Ok(None) };
    if !wanted.ip().is_loopback() && config.host.is_empty() {
        let remedy = "listen on 127.0.0.1 and reach it by ssh -L, or put a proxy with TLS before it and give its name with --dashboard-host";
        return Err(coded(
            ExitCode::Usage,
            format!("the dashboard on {wanted} would be open to other machines without TLS"),
            remedy,
        ));
    }
    let listener = match TcpListener::bind(wanted).await {
        Ok(listener) => listener,
        Err(error) if config.is_default => {
            tracing::warn!(%wanted, %error, "no dashboard: choose another address with --dashboard-listen, or none");
            return Ok(None);
        }
        Err(error) => return Err(crate::role::cannot_bind("the dashboard", &wanted.to_string(), &error)),
    };
    let mut all = own;
    for other in &config.node {
        all.push(other.find()?);
    }
    if let Some(double) = all.iter().enumerate().find(|(at, node)| all[..*at].iter().any(|before| before.name == node.name)) {
        return Err(coded(
            ExitCode::Usage,
            format!("two nodes are called {}", double.1.name),
            "choose another name with --dashboard-node",
        ));
    }
    serve(listener, config, &home.join(DIR_NAME), all.into()).map(Some)
}

fn serve(listener: TcpListener, config: &config::Dashboard, dir: &Path, nodes: Nodes) -> Result<Dashboard> {
    let address = listener.local_addr()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (told, latest) = watch::channel(Arc::new(Sample::default()));
    let url = url(address);
    let shared = Shared {
        door: Door::new(Arc::new(Auth::open(dir, clock.clone(), Arc::new(SystemRng))?), address, &config.host),
        history: Arc::new(History::open(&dir.join("history"), &nodes)?),
        alerts: Arc::new(Alerts::open(&dir.join("alerts.json"))?),
        webhooks: Arc::new(webhooks(&config.webhook, dir, &url, clock.clone())?),
        live: Arc::new(Live::new(LIVE_MAX)),
        stop: CancellationToken::new(),
        nodes,
        latest,
        clock,
    };
    write_private(&dir.join(URL_FILE), url.as_bytes())?;
    let stop = shared.stop.clone();
    let sampling =
        tokio::spawn(sampler::run(shared.nodes.clone(), shared.clock.clone(), told, shared.live.clone(), stop.clone()));
    let noting = tokio::spawn(note(shared.latest.clone(), shared.history.clone(), shared.alerts.clone()));
    let telling = tokio::spawn(shared.webhooks.clone().run(shared.alerts.clone(), stop.clone()));
    let router = router(shared);
    let ending = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ending).await {
            tracing::error!(%error, "the dashboard failed");
        }
    });
    tracing::info!(url = invitation(&url, dir), "the dashboard is up");
    Ok(Dashboard { url, dir: dir.to_owned(), stop, tasks: vec![sampling, noting, telling, serving] })
}

fn webhooks(hooks: &[Hook], dir: &Path, url: &str, clock: Arc<dyn Clock>) -> Result<Webhooks> {
    let opened = Webhooks::open(hooks, &dir.join("webhooks.json"), url, clock);
    opened.map_err(|error| match error.downcast_ref::<cairn_chain::https::NoCertificates>() {
        Some(why) => coded(ExitCode::Unavailable, format!("webhooks cannot be told: {why}"), "or name http:// addresses only"),
        None => error,
    })
}

/// Loopback is named by number, so that no name service is asked.
fn url(address: SocketAddr) -> String {
    let shown = if address.ip().is_unspecified() { SocketAddr::new([127, 0, 0, 1].into(), address.port()) } else { address };
    format!("http://{shown}")
}

/// Writes each sample into the charts and the alerts, until the sampler has ended.
async fn note(mut latest: Latest, history: Arc<History>, alerts: Arc<Alerts>) {
    while latest.changed().await.is_ok() {
        let (sample, history, alerts) = (latest.borrow_and_update().clone(), history.clone(), alerts.clone());
        let noted = tokio::task::spawn_blocking(move || {
            history.note(&sample);
            alerts.note(&sample);
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "a sample was not noted");
        }
    }
}

fn router(shared: Shared) -> Router {
    let door = shared.door.clone();
    let inside = Router::new()
        .route("/api/password", put(session::change))
        .route("/api/nodes", get(nodes::list))
        .route("/api/nodes/{name}/history", get(routes::history))
        .route("/api/events", get(routes::events))
        .route("/api/alerts", get(routes::alerts))
        .route("/api/alerts/acknowledge", post(routes::acknowledge))
        .route("/api/alerts/test", post(routes::test_webhooks))
        .route("/api/session", axum::routing::delete(session::log_out))
        .layer(DefaultBodyLimit::max(JSON_LEN_MAX))
        .route("/api/nodes/{name}/v1/{*path}", any(nodes::pass))
        .route_layer(middleware::from_fn_with_state(door.clone(), Door::check_session));
    Router::new()
        .route("/api/session", get(session::show).post(session::log_in))
        .layer(DefaultBodyLimit::max(JSON_LEN_MAX))
        .merge(inside)
        .route("/health", get(routes::health))
        .route("/ready", get(routes::ready))
        .route("/metrics", get(routes::metrics))
        .fallback(assets::serve)
        .layer(middleware::from_fn_with_state(door, Door::check_origin))
        .with_state(shared)
}

#[cfg(test)]
mod tests;
