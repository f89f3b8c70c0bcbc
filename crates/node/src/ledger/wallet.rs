//! `cairn wallet`: through the running daemon of a data directory; `export` reads the phrase itself.
//!
//! Never: the private key without being asked for it in so many words.

use std::path::PathBuf;

use anyhow::Result;
use cairn_types::port::draw;
use cairn_types::{Amount, WalletKey};
use hyper::Method;
use serde_json::{Value, json};

use crate::args::{self, WalletCommand};
use crate::home;
use crate::outcome::{ExitCode, coded, say, say_json};
use crate::socket::{Dialer, GATEWAY_SOCKET, PROVIDER_SOCKET, empty, json_request, request};
use crate::world::SystemRng;

/// Runs the command.
pub async fn wallet(args: args::Wallet) -> Result<()> {
    match args.command {
        WalletCommand::Balance(call) => balance(call).await,
        WalletCommand::Deposit(call) => deposit(call).await,
        WalletCommand::Withdraw(args) => withdraw(args).await,
        WalletCommand::Export(args) => export(args),
    }
}

/// The node's directory: a localnet's is that of its gateway.
fn node_dir(call: &args::WalletCall) -> Result<PathBuf> {
    let dir = match &call.dir {
        Some(dir) => dir.clone(),
        None => home::data_root()?.join("gateway"),
    };
    let gateway = dir.join("gateway");
    Ok(if !home::is_initialised(&dir) && home::is_initialised(&gateway) { gateway } else { dir })
}

/// The daemon of a node's directory, whichever role it has.
pub fn dialer(call: &args::WalletCall) -> Result<Dialer> {
    let dir = node_dir(call)?;
    let socket = [GATEWAY_SOCKET, PROVIDER_SOCKET].map(|name| dir.join(name)).into_iter().find(|path| path.exists());
    let path = socket.unwrap_or_else(|| dir.join(GATEWAY_SOCKET));
    Ok(Dialer::new(path, "start the daemon of this directory (cairn gateway or cairn provider, with --chain)"))
}

async fn balance(call: args::WalletCall) -> Result<()> {
    let found: Value = dialer(&call)?.json(request(Method::GET, "/v1/wallet", empty())?).await?;
    if call.json {
        return say_json(&found);
    }
    say(format_args!("address   {}", found["address"].as_str().unwrap_or_default()));
    say(format_args!("credits   {}", amount(&found["credits"])));
    say(format_args!("chain     {}", found["chain_id"]));
    if let Some(trouble) = found["trouble"].as_str() {
        say(format_args!("the ledger is not up to date: {trouble}"));
    }
    Ok(())
}

/// An amount as people read it.
pub fn amount(value: &Value) -> String {
    serde_json::from_value::<Amount>(value.clone()).map_or_else(|_| "?".into(), |amount| amount.to_string())
}

async fn deposit(call: args::WalletCall) -> Result<()> {
    let dialer = dialer(&call)?;
    let found: Value = dialer.json(request(Method::GET, "/v1/wallet", empty())?).await?;
    if found["faucet"].is_null() {
        if call.json {
            return say_json(&json!({"address": found["address"], "token": found["token"], "chain_id": found["chain_id"]}));
        }
        say(format_args!(
            "send credits of the token {} on chain {} to",
            found["token"].as_str().unwrap_or_default(),
            found["chain_id"]
        ));
        say(found["address"].as_str().unwrap_or_default());
        return Ok(());
    }
    let given: Value = dialer.json(json_request(Method::POST, "/v1/wallet/faucet", &json!({}))?).await?;
    if call.json {
        return say_json(&given);
    }
    say(format_args!("credits   {}", amount(&given["credits"])));
    Ok(())
}

async fn withdraw(args: args::WalletWithdraw) -> Result<()> {
    let id = args.id.unwrap_or_else(|| hex::encode(draw::<8>(&SystemRng)));
    let wanted = json!({"id": id, "to": args.to, "amount": args.amount});
    let done: Value = dialer(&args.call)?.json(json_request(Method::POST, "/v1/wallet/withdraw", &wanted)?).await?;
    if args.call.json {
        return say_json(&done);
    }
    say(format_args!("sent      {} to {}", amount(&done["amount"]), args.to));
    say(format_args!("credits   {}", amount(&done["credits"])));
    Ok(())
}

fn export(args: args::WalletExport) -> Result<()> {
    if !args.show_private_key {
        return Err(coded(
            ExitCode::Usage,
            "the private key is shown only with --show-private-key",
            "whoever sees it can take all credits; the 12 words of `cairn init` bring it back too",
        ));
    }
    let key: WalletKey = home::peek_wallet_key(&node_dir(&args.call)?)?;
    let shown = json!({"address": key.address(), "private_key": format!("0x{}", hex::encode(*key.secret()))});
    if args.call.json {
        return say_json(&shown);
    }
    say(shown["private_key"].as_str().unwrap_or_default());
    Ok(())
}
