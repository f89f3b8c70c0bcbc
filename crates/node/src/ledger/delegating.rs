//! Delegates: their routes on a gateway's control socket, and `cairn delegate`.
//!
//! Never: a secret in what is shown.

use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use cairn_client::{Client, Grant, NodeId, PayError};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Refused, blocking};
use super::wallet::{amount, dialer};
use crate::args::{self, DelegateCommand, DelegateName};
use crate::config::{Credits, Delegate, File, Network, dir_or_default};
use crate::home::{Home, Role};
use crate::outcome::{ExitCode, coded, say, say_json};
use crate::role;
use crate::socket::{DELEGATE_SOCKET, Dialer, empty, encoded, json_request, request};
use crate::span::Span;
use crate::when;

/// Routes of the control socket.
pub fn router(client: Client) -> Router {
    Router::new()
        .route("/v1/grants", get(grants).post(grant))
        .route("/v1/grants/{delegate}", axum::routing::delete(revoke))
        .with_state(client)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    delegate: String,
    for_s: u64,
    cap: cairn_types::Amount,
}

fn bad(why: &str) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "BadGrant", why, "cairn delegate grant --help says what a grant needs")
}

async fn grants(State(client): State<Client>) -> Result<Json<Value>, Refused> {
    let found = blocking(move || client.grants()).await?;
    Ok(Json(json!({"grants": found})))
}

async fn grant(State(client): State<Client>, Json(wanted): Json<Wanted>) -> Result<Json<Value>, Refused> {
    let name: DelegateName = wanted.delegate.parse().map_err(|error: String| bad(&error))?;
    let grant = Grant { delegate: name.node, address: name.address, for_s: wanted.for_s, cap: wanted.cap };
    let given = tokio::task::spawn_blocking(move || client.grant(&grant)).await.map_err(Refused::internal)?;
    match given {
        Ok(()) => Ok(Json(json!(grant))),
        Err(PayError::Brief(why)) => Err(bad(&format!("the grant {why}"))),
        Err(error) => Err(Refused::internal(error)),
    }
}

async fn revoke(State(client): State<Client>, Path(delegate): Path<NodeId>) -> Result<Json<Value>, Refused> {
    let known = blocking(move || client.revoke_grant(delegate)).await?;
    Ok(Json(json!({"delegate": delegate, "revoked": known})))
}

/// Runs `cairn delegate`.
pub async fn delegate(args: args::Delegate, common: &args::Common) -> Result<()> {
    match args.command {
        DelegateCommand::Run(run) => {
            let file = File::read(common.config.as_deref())?;
            let network = Network::from(run.network.over(file.network));
            role::delegate::run(Delegate::new(run.delegate.over(file.delegate))?, network, common.stop_at_stdin_end).await
        }
        DelegateCommand::Id(call) => id(call).await,
        DelegateCommand::Grant(args) => give(args).await,
        DelegateCommand::List(call) => list(call).await,
        DelegateCommand::Revoke(args) => take_back(args).await,
    }
}

/// The running delegate of a directory, if that is what the directory holds.
fn delegate_at(call: &args::WalletCall) -> Option<Dialer> {
    let dir = call.dir.clone()?;
    let path = dir.join(DELEGATE_SOCKET);
    path.exists().then(|| Dialer::new(path, "start it: cairn delegate run"))
}

async fn id(call: args::WalletCall) -> Result<()> {
    let dir = dir_or_default(call.dir.clone(), Role::Delegate)?;
    let name = match delegate_at(&args::WalletCall { dir: Some(dir.clone()), ..call.clone() }) {
        Some(running) => {
            let found: Value = running.json(request(Method::GET, "/v1/delegate", empty())?).await?;
            found["id"].as_str().unwrap_or_default().to_owned()
        }
        None => role::delegate::name(&Home::open(&dir, Role::Delegate)?).to_string(),
    };
    if call.json {
        return say_json(&json!({"id": name}));
    }
    say(name);
    Ok(())
}

async fn give(args: args::DelegateGrant) -> Result<()> {
    let (Span(ms), Credits(cap)) = (args.span, args.cap);
    let body = json!({"delegate": args.delegate.to_string(), "for_s": ms / 1000, "cap": cap});
    let given: Value = dialer(&args.call)?.json(json_request(Method::POST, "/v1/grants", &body)?).await?;
    if args.call.json {
        return say_json(&given);
    }
    let node = args.delegate.node;
    say(format_args!("{node} may promise up to {cap} in {} of silence; cairn delegate list shows whether it heard", args.span));
    Ok(())
}

async fn list(call: args::WalletCall) -> Result<()> {
    if let Some(running) = delegate_at(&call) {
        let found: Value = running.json(request(Method::GET, "/v1/delegate", empty())?).await?;
        return clients(&found, call.json);
    }
    let found: Value = dialer(&call)?.json(request(Method::GET, "/v1/grants", empty())?).await?;
    for grant in found["grants"].as_array().into_iter().flatten() {
        if call.json {
            say_json(grant)?;
            continue;
        }
        let heard =
            grant["heard"].as_u64().map_or_else(|| "not heard since the start".into(), |at| format!("heard {}", when::utc(at)));
        let text = |field: &str| grant[field].as_str().unwrap_or_default();
        say(format_args!("{}  {}", text("delegate"), text("address")));
        let (for_s, cap) = (grant["for_s"].as_u64().unwrap_or_default(), amount(&grant["cap"]));
        say(format_args!("  {} of silence, up to {cap}; knows {} deals; {heard}", Span(for_s * 1000), grant["deals"]));
        if !grant["failure"].is_null() {
            say(format_args!("  last word not delivered: {}", text("failure")));
        }
    }
    Ok(())
}

fn clients(found: &Value, json: bool) -> Result<()> {
    for client in found["clients"].as_array().into_iter().flatten() {
        if json {
            say_json(client)?;
            continue;
        }
        let state = if client["acting"] == true { "acting" } else { "waiting" };
        let (silent, after) = (&client["silent_s"], &client["acts_after_s"]);
        say(format_args!("{}  {state}", client["client"].as_str().unwrap_or_default()));
        say(format_args!("  silent for {silent} s, acts after {after} s"));
        for deal in client["deals"].as_array().into_iter().flatten() {
            let (provider, audited) =
                (deal["provider"].as_str().unwrap_or_default(), deal["audited"].as_u64().unwrap_or_default());
            let (promised, shards) = (amount(&deal["promised"]), &deal["shards"]);
            say(format_args!("  {provider}  {shards} shards, {promised} promised, audited {}", when::utc(audited)));
        }
    }
    Ok(())
}

async fn take_back(args: args::DelegateRevoke) -> Result<()> {
    let path = format!("/v1/grants/{}", encoded(&args.delegate.to_string()));
    let done: Value = dialer(&args.call)?.json(request(Method::DELETE, &path, empty())?).await?;
    if done["revoked"] != true {
        return Err(coded(ExitCode::NotFound, "nothing was granted to this node", "cairn delegate list shows the grants"));
    }
    if args.call.json {
        return say_json(&done);
    }
    say("it is told nothing more; what it was granted ends by itself");
    Ok(())
}
