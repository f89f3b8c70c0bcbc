//! `cairn recover`: a gateway's catalog from the 12 words and the network. `cairn checkpoint`: has it written there now.
//!
//! Never: an empty account shown for a wrong phrase; a catalog that is there touched. Limits: providers are looked for as long as `--wait` says.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cairn_client::{Client, FoundShard};
use cairn_gateway::objects::recover::{self as gateway, Progress, RecoverError, Recovered, Source};
use cairn_gateway::s3::S3Config;
use cairn_types::Clock as _;
use hyper::Method;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::args::{self, Common};
use crate::config::{File, Gateway, GatewayLayer, Network};
use crate::home::{self, Home, Role};
use crate::init::given_phrase;
use crate::ledger;
use crate::native::dialer;
use crate::outcome::{ExitCode, coded, failure, say, say_json};
use crate::role::gateway::open_client;
use crate::role::{Membership, join};
use crate::socket::json_request;
use crate::world::SystemClock;

/// No more providers come when none came for so long.
const QUIET_FOR: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A provider that does not answer is asked so many times.
const TRIES: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Runs `cairn checkpoint`.
pub async fn checkpoint(socket: args::Socket) -> Result<()> {
    let answer: Value = dialer(&socket)?.json(json_request(Method::POST, "/v1/checkpoint", &json!({}))?).await?;
    if socket.json {
        return say_json(&answer);
    }
    let written: Vec<&str> = answer["written"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match written.is_empty() {
        true => say("the network has it all already"),
        false => say(format_args!("written: {}", written.join(", "))),
    }
    Ok(())
}

/// Runs `cairn recover`.
pub async fn recover(args: args::Recover, common: &Common) -> Result<()> {
    let file = File::read(common.config.as_deref())?;
    let layer = GatewayLayer {
        dir: args.dir.clone(),
        chain: args.chain.clone(),
        contracts: args.contracts.clone(),
        ..GatewayLayer::default()
    };
    let config = Gateway::new(layer.over(file.gateway))?;
    let network = Network::from(args.network.clone().over(file.network));
    take_phrase(&args, &config.dir)?;
    if config.dir.join("catalog").exists() {
        return Err(refused(RecoverError::NotEmpty(config.dir.clone()), &[]));
    }
    let home = Home::open(&config.dir, Role::Gateway)?;
    let membership = Membership { listen: config.listen.clone(), external: config.external.clone(), network };
    let (network, _incoming) = join(&home, Role::Gateway, membership).await?;
    let ledger = match &config.chain {
        Some(url) => Some(ledger::open(&home, url, config.contracts.as_deref()).await?),
        None => None,
    };
    let wallet = ledger.as_ref().map(|(ledger, _)| ledger.clone());
    // Nothing is stored, so no epoch is taken.
    let client = open_client(&home, &network, &config, wallet, 0)?;
    let outcome = from_network(&args, &home, &client).await;
    network.shutdown().await;
    if let Some((_, worker)) = ledger {
        worker.stop().await;
        tokio::task::spawn_blocking(move || client.sync_ledger()).await.context("closing the ledger")??;
    }
    show(&args, &config.dir, &outcome?)
}

/// Puts the phrase that is given into a directory that has none.
fn take_phrase(args: &args::Recover, dir: &Path) -> Result<()> {
    match (given_phrase(&args.phrase)?, home::is_initialised(dir)) {
        (Some(phrase), false) => home::init(dir, &phrase, args.phrase.index),
        (None, true) => Ok(()),
        (Some(_), true) => {
            let message = format!("{} has 12 words already", dir.display());
            Err(coded(ExitCode::Usage, message, "leave the phrase out to use those, or recover into another --dir"))
        }
        (None, false) => {
            let message = format!("{} has no 12 words", dir.display());
            Err(coded(ExitCode::Usage, message, "give them with --phrase-file FILE or --phrase-stdin"))
        }
    }
}

async fn from_network(args: &args::Recover, home: &Home, client: &Client) -> Result<Recovered> {
    let bar =
        ProgressBar::with_draw_target(None, if args.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() });
    bar.set_style(ProgressStyle::with_template("{msg} {pos}/{len} {elapsed}").expect("the template is a constant"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("looking for providers");
    wait_for_providers(client, args.wait.duration()).await;
    let nodes = client.known_providers();
    if nodes.is_empty() {
        let remedy = "give the address of a node of the network with --bootstrap; cairn doctor tests it";
        return Err(coded(ExitCode::Unavailable, "no provider was found", remedy));
    }
    bar.set_message("asking providers what they have");
    bar.set_length(nodes.len() as u64);
    let (mut shards, mut silent) = (Vec::new(), Vec::new());
    for node in nodes.iter().copied() {
        match find(client, node).await {
            Ok(found) => shards.extend(found),
            Err(error) => {
                tracing::warn!(provider = %node, %error, "a provider does not answer");
                silent.push(node.to_string());
            }
        }
        bar.inc(1);
    }
    let source = Source {
        client,
        shards,
        providers: nodes.len() - silent.len(),
        node: home.node_key().id(),
        owner: &S3Config::default().account,
        allow_missing: args.allow_missing,
        now: SystemClock.now(),
    };
    let progress = |progress: Progress| {
        let (message, done, all) = match progress {
            Progress::Reading(done, all) => ("reading packs", done, all),
            Progress::Writing(done, all) => ("writing keys", done, all),
        };
        bar.set_message(message);
        bar.set_length(all);
        bar.set_position(done);
    };
    let recovered = gateway::recover(home.dir(), source, &progress).await;
    bar.finish_and_clear();
    recovered.map_err(|error| refused(error, &silent))
}

/// Waits until no more providers are found, at most `at_most`.
async fn wait_for_providers(client: &Client, at_most: Duration) {
    let begun = Instant::now();
    let (mut known, mut since) = (0, begun);
    while begun.elapsed() < at_most && (known == 0 || since.elapsed() < QUIET_FOR) {
        let now = client.known_providers().len();
        if now > known {
            (known, since) = (now, Instant::now());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn find(client: &Client, node: cairn_client::NodeId) -> Result<Vec<FoundShard>, cairn_client::PeerError> {
    let mut tries = 1;
    loop {
        match client.find(node).await {
            Ok(found) => return Ok(found),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tokio::time::sleep(RETRY_AFTER).await,
        }
        tries += 1;
    }
}

fn refused(error: RecoverError, silent: &[String]) -> anyhow::Error {
    let (code, remedy) = match &error {
        RecoverError::NotEmpty(_) => (
            ExitCode::Usage,
            "move the directory catalog away if it is damaged or was begun by mistake, or recover into another --dir".into(),
        ),
        RecoverError::Nothing { .. } => {
            let remedy =
                "see that these are the right 12 words, the right --index, and the right network (--bootstrap, --network-id)";
            (ExitCode::NotFound, remedy.to_owned())
        }
        RecoverError::Missing { .. } if silent.is_empty() => (
            ExitCode::Unavailable,
            "try again when more providers are there; --allow-missing leaves those objects out for good".into(),
        ),
        RecoverError::Missing { .. } => {
            let silent = silent.join(", ");
            (
                ExitCode::Unavailable,
                format!("try again when these providers answer: {silent}; --allow-missing leaves those objects out for good"),
            )
        }
        RecoverError::Open(_) | RecoverError::Objects(_) | RecoverError::Disk(_) => {
            return failure(error.to_string(), "try again; nothing was changed");
        }
    };
    coded(code, error.to_string(), remedy)
}

fn show(args: &args::Recover, dir: &Path, recovered: &Recovered) -> Result<()> {
    if args.json {
        return say_json(recovered);
    }
    let Recovered { shards, checkpoints, packs, buckets, keys, versions, missing, .. } = recovered;
    say(format_args!("recovered {versions} versions of objects in {buckets} buckets, and {keys} access keys"));
    say(format_args!("  from {shards} shards: {checkpoints} checkpoints and {packs} later packs"));
    if *missing > 0 {
        say(format_args!("  {missing} versions were left out, because they cannot be read now"));
    }
    if *checkpoints < 2 {
        say("  there was no checkpoint of everything: buckets have default settings, and what was deleted may be there again");
    }
    say(format_args!("Start it: cairn gateway --dir {}", dir.display()));
    Ok(())
}
