//! `cairn status`: what the daemon of a data directory is doing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::args;
use crate::home::{self, Role};
use crate::outcome::{ExitCode, coded, say, say_json};
use crate::size::rounded;
use crate::socket::{CHAIN_SOCKET, DELEGATE_SOCKET, Dialer, GATEWAY_SOCKET, LOCALNET_SOCKET, PEER_SOCKET, PROVIDER_SOCKET};
use crate::when;

const SOCKETS: [&str; 6] = [GATEWAY_SOCKET, PROVIDER_SOCKET, PEER_SOCKET, DELEGATE_SOCKET, CHAIN_SOCKET, LOCALNET_SOCKET];
const CALL: Duration = Duration::from_secs(5);

/// Runs the command.
pub async fn status(args: args::Status) -> Result<()> {
    let dirs = match args.dir {
        Some(dir) => vec![dir],
        None => default_dirs()?,
    };
    let mut answers = Vec::new();
    let mut failed = None;
    for dialer in dirs.iter().flat_map(|dir| daemons(dir)) {
        match dialer.get("/v1/status", CALL).await {
            Ok(answer) => answers.push(answer),
            Err(error) => failed = Some(error),
        }
    }
    if answers.is_empty() {
        let shown: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        let remedy = "start a daemon (cairn provider, cairn gateway, cairn localnet), or name its directory with --dir";
        let nobody = coded(ExitCode::Unavailable, format!("no daemon runs in {}", shown.join(", ")), remedy);
        return Err(failed.unwrap_or(nobody));
    }
    for answer in &answers {
        match args.json {
            true => say_json(answer)?,
            false => show(answer),
        }
    }
    Ok(())
}

/// The default data directories that exist.
pub fn default_dirs() -> Result<Vec<PathBuf>> {
    let root = home::data_root()?;
    let all = [Role::Gateway, Role::Provider, Role::Peer, Role::Delegate].map(|role| root.join(role.name()));
    let found: Vec<PathBuf> = all.iter().filter(|dir| dir.exists()).cloned().collect();
    Ok(if found.is_empty() { vec![all[0].clone()] } else { found })
}

/// The sockets in `dir`.
pub fn daemons(dir: &Path) -> Vec<Dialer> {
    let found = SOCKETS.iter().map(|name| dir.join(name)).filter(|path| path.exists());
    found.map(|path| Dialer::new(path, "it was killed or is starting; start it again")).collect()
}

fn show(answer: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let len = |value: &Value| rounded(value.as_u64().unwrap_or(0));
    if answer["endpoint"].is_string() && answer["providers"][0]["name"].is_string() {
        let running = answer["providers"].as_array().map_or(0, |all| all.iter().filter(|one| one["running"] == true).count());
        say(format_args!("localnet  {}  S3 {}", text(&answer["dir"]), text(&answer["endpoint"])));
        say(format_args!("  gateway running: {}, providers running: {running}", answer["gateway"]["running"]));
        return;
    }
    say(format_args!("{}  {}  pid {}", text(&answer["role"]), text(&answer["node"]), answer["pid"]));
    say(format_args!("  directory  {}", text(&answer["dir"])));
    say(format_args!("  since      {}", when::utc(answer["started_at_ms"].as_u64().unwrap_or(0))));
    let connected = answer["net"]["connected"].as_array().map_or(0, Vec::len);
    let listen: Vec<String> = answer["net"]["listen"].as_array().into_iter().flatten().map(text).collect();
    say(format_args!("  network    {connected} peers connected, listening on {}", listen.join(" ")));
    if let Some(store) = answer["store"].as_object() {
        let (used, total, free) = (len(&store["used_len"]), len(&store["total_len"]), len(&store["free_len"]));
        say(format_args!(
            "  store      {used} of {total} used, {free} free, {} shards, accepting: {}",
            store["shards"], store["accepting"]
        ));
        for disk in store["disks"].as_array().into_iter().flatten() {
            let state = disk["read_only"].as_str().map_or_else(|| "writable".to_owned(), |why| format!("READ-ONLY: {why}"));
            say(format_args!(
                "  disk       {}: {} of {}, {state}",
                text(&disk["path"]),
                len(&disk["used_len"]),
                len(&disk["quota_len"])
            ));
        }
        say(format_args!("  deals      {}", store["deals"].as_array().map_or(0, Vec::len)));
    }
    if let Some(objects) = answer["objects"].as_object() {
        say(format_args!("  S3         {}", text(&answer["s3"]["endpoint"])));
        say(format_args!(
            "  objects    {} in {} buckets, {}",
            objects["objects"],
            objects["buckets"],
            len(&objects["object_bytes"])
        ));
        say(format_args!("  redundancy {}", text(&answer["tier"]["redundancy"])));
    }
    if answer["superseded"] == true {
        say(
            "  SUPERSEDED: a later catalog of this account writes; this gateway changes nothing more. Stop it and use the other one",
        );
    }
    if answer["role"] == "gateway" {
        for provider in answer["providers"].as_array().into_iter().flatten() {
            let state = if provider["usable"] == true { "usable" } else { "not usable" };
            let why = provider["last_failure"].as_str().map(|why| format!(", last failure: {why}")).unwrap_or_default();
            say(format_args!("  provider   {} {state}, {} free{why}", text(&provider["node"]), len(&provider["free_len"])));
        }
    }
}
