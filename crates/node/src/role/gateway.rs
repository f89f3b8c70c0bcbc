//! `cairn gateway`: catalog, client, object store, S3 endpoint and native API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cairn_client::{Client, CourtRule, Parts, PayConfig, Paying};
use cairn_gateway::catalog::Catalog;
use cairn_gateway::native::{self, Native};
use cairn_gateway::objects::{Objects, ObjectsConfig};
use cairn_gateway::s3::{self, S3Config};
use cairn_net::Network;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{About, Membership, cannot_bind, join, raise_open_files};
use crate::config;
use crate::dashboard;
use crate::dashboard::nodes::{Kind, Node};
use crate::home::{Home, Role};
use crate::ledger::{self, Ledger, paying};
use crate::outcome::{ExitCode, coded};
use crate::socket::{self, GATEWAY_SOCKET};
use crate::stop::{DRAIN_MS_MAX, Stop};
use crate::world::{SystemClock, SystemRng};

/// What requests in flight may take after SIGTERM; the rest of [`DRAIN_MS_MAX`] is for the catalog and the network.
const DRAIN: Duration = Duration::from_secs(6);

/// Runs until asked to stop.
pub async fn run(
    config: config::Gateway,
    network: config::Network,
    dashboard: config::Dashboard,
    at_stdin_end: bool,
) -> Result<()> {
    let home = Home::open(&config.dir, Role::Gateway)?;
    let mut stop = Stop::listen(at_stdin_end, DRAIN_MS_MAX)?;
    raise_open_files();
    let listener = TcpListener::bind(&config.s3_listen).await;
    let listener = listener.map_err(|error| cannot_bind("S3", &config.s3_listen, &error))?;
    let s3_address = listener.local_addr()?;
    let (s3_config, s3_endpoint) = front(&config, s3_address)?;
    let membership = Membership { listen: config.listen.clone(), external: config.external.clone(), network };
    let (network, _incoming) = join(&home, Role::Gateway, membership).await?;
    let ledger = match &config.chain {
        Some(url) => Some(ledger::open(&home, url, config.contracts.as_deref()).await?),
        None => None,
    };
    let wallet = ledger.as_ref().map(|(ledger, _)| ledger.clone());
    let (objects, client) = open_objects(&home, &network, &config, wallet.clone()).await?;
    let funding = wallet.clone().map(|ledger| tokio::spawn(paying::keep_funded(ledger)));

    let endpoint = json!({"endpoint": s3_endpoint.url, "region": s3_endpoint.region});
    let (about, about_network, about_client) = (About::new(Role::Gateway, &home), network.clone(), client.clone());
    let native = Native {
        objects: objects.clone(),
        client: client.clone(),
        owner: s3_config.account.clone(),
        s3: s3_endpoint,
        more: wallet.map(|ledger| paying::router(client.clone(), ledger)).unwrap_or_default(),
        about: Arc::new(move || {
            let mut fields = about.fields(&about_network);
            fields.insert("s3".into(), endpoint.clone());
            fields.insert("superseded".into(), about_client.is_superseded().into());
            fields
        }),
    };
    let shutdown = CancellationToken::new();
    let mut s3 = tokio::spawn(s3::serve(vec![listener], objects.clone(), s3_config, shutdown.clone()));
    let (control, _file) = socket::bind(&home.path(GATEWAY_SOCKET))?;
    let mut native = tokio::spawn(native::serve(control, native, shutdown.clone().cancelled_owned()));
    let dashboard = dashboard::start(&dashboard, home.dir(), vec![Node::new("gateway", Kind::Gateway, home.dir())]).await?;
    tracing::info!(node = %network_name(&network), s3 = %s3_address, "gateway is up");

    let mut failed = None;
    tokio::select! {
        () = stop.asked() => {}
        ended = &mut s3 => failed = Some(anyhow!("the S3 endpoint ended: {ended:?}")),
        ended = &mut native => failed = Some(anyhow!("the native API ended: {ended:?}")),
    }
    tracing::info!("stopping: requests in flight may finish");
    if let Some(dashboard) = dashboard {
        tokio::spawn(dashboard.stop());
    }
    shutdown.cancel();
    if failed.is_none() {
        let drained = futures::future::join(s3, native);
        if tokio::time::timeout(DRAIN + Duration::from_secs(1), drained).await.is_err() {
            tracing::warn!("requests in flight did not finish in time and are cut off");
        }
    }
    objects.stop().await;
    network.shutdown().await;
    if let Some((_, worker)) = ledger {
        funding.inspect(tokio::task::JoinHandle::abort);
        worker.stop().await;
        tokio::task::spawn_blocking(move || client.sync_ledger()).await.context("closing the ledger")??;
    }
    tracing::info!("stopped");
    failed.map_or(Ok(()), Err)
}

/// How the S3 endpoint is set up, and how clients reach it.
fn front(config: &config::Gateway, address: SocketAddr) -> Result<(S3Config, s3::Endpoint)> {
    let tls = config.tls.as_ref().map(|tls| s3::Tls::load(&tls.cert, &tls.key)).transpose();
    let tls = tls.map_err(|error| coded(ExitCode::Usage, error.to_string(), "correct --s3-tls-cert and --s3-tls-key"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = config.s3_url.as_ref().map_or_else(|| format!("{scheme}://{address}"), ToString::to_string);
    let (region, domain) = (config.region.clone(), config.s3_domain.clone());
    let endpoint = s3::Endpoint { url, region: region.clone() };
    Ok((S3Config { region, domain, tls, drain: DRAIN, ..S3Config::default() }, endpoint))
}

fn network_name(network: &Network) -> cairn_client::NodeId {
    use cairn_proto::Transport;
    network.local()
}

async fn open_objects(
    home: &Home,
    network: &Network,
    config: &config::Gateway,
    ledger: Option<Ledger>,
) -> Result<(Objects, Client)> {
    let (dir, node) = (home.dir().to_owned(), home.node_key().id());
    let catalog = tokio::task::spawn_blocking(move || Catalog::open(&dir, node)).await.context("opening the catalog")??;
    let client = open_client(home, network, config, ledger, catalog.writer_epoch())?;
    let (clock, rng) = (Arc::new(SystemClock), Arc::new(SystemRng));
    let objects_config = ObjectsConfig {
        day_ms: config.lifecycle_day.0.max(1),
        checkpoint_every_ms: config.checkpoint_every.0.max(1),
        ..ObjectsConfig::default()
    };
    let objects = Objects::open(catalog, client.clone(), objects_config, clock, rng).await?;
    Ok((objects, client))
}

/// A gateway's client, paid if there is a ledger; shards that it stores are of `writer_epoch`.
pub fn open_client(
    home: &Home,
    network: &Network,
    config: &config::Gateway,
    ledger: Option<Ledger>,
    writer_epoch: u64,
) -> Result<Client> {
    let parts = Parts {
        transport: Arc::new(network.clone()),
        keys: home.data_keys(),
        rng: Arc::new(SystemRng),
        writer_epoch,
        config: cairn_client::Config {
            redundancy: config.redundancy,
            lost_after: config.repair_after.duration(),
            ..cairn_client::Config::default()
        },
    };
    let Some(ledger) = ledger else { return Ok(Client::new(parts)) };
    let paying = Paying {
        ledger: home.path("ledger"),
        court: Some(Arc::new(ledger.clone())),
        settlement: Arc::new(ledger),
        node: home.node_key(),
        session: home.session_key(),
        clock: Arc::new(SystemClock),
        acting: None,
        config: PayConfig {
            month_max: config.budget.0,
            court: match config.court {
                config::Court::Auto => CourtRule::Auto,
                config::Court::Never => CourtRule::Never,
                config::Court::Always => CourtRule::Always,
            },
            ..PayConfig::default()
        },
    };
    Ok(Client::paid(parts, paying)?)
}
