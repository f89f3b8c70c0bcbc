//! `cairn health`: how many shards of every segment can be relied on, and repair of what lost too many.

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

use crate::args;
use crate::native::dialer;
use crate::outcome::{ExitCode, coded, say, say_json};
use crate::socket::{empty, request};

/// Runs the command. Exit code 1 when something cannot be read now.
pub async fn health(args: args::Health) -> Result<()> {
    let dialer = dialer(&args.socket)?;
    let (method, path) = if args.repair { (Method::POST, "/v1/repair") } else { (Method::GET, "/v1/health") };
    let found: Value = dialer.json(request(method, path, empty())?).await?;
    let health = if args.repair { &found["health"] } else { &found };
    if args.socket.json {
        say_json(&found)?;
    } else {
        show(&found, health, args.repair);
    }
    match health["lost"].as_u64() {
        Some(0) => Ok(()),
        _ => Err(coded(
            ExitCode::Failure,
            format!("{} segments cannot be read now", health["lost"]),
            "they can again when enough of their providers are back; cairn status shows providers",
        )),
    }
}

fn show(found: &Value, health: &Value, repaired: bool) {
    if repaired {
        say(format_args!(
            "repaired  {} segments, {} shards; {} could not be",
            found["repaired"], found["shards"], found["failed"]
        ));
        if let Some(reason) = found["reason"].as_str() {
            say(format_args!("          {reason}"));
        }
    }
    say(format_args!("segments  {}", health["segments"]));
    for (field, meaning) in [
        ("whole", "every shard is at a provider that answers"),
        ("degraded", "shards are missing, enough are left"),
        ("due", "few shards are left: repair is due"),
        ("lost", "cannot be read now"),
    ] {
        say(format_args!("{field:9} {:>8}   {meaning}", health[field].to_string()));
    }
    if health["silent"] != 0 {
        say(format_args!(
            "silent    {:>8}   shards whose providers did not answer at the last look",
            health["silent"].to_string()
        ));
    }
    for at_risk in health["at_risk"].as_array().into_iter().flatten() {
        say(format_args!(
            "  blob {} segment {}: {} of {} shards live, {} are needed",
            at_risk["blob"].as_str().unwrap_or_default(),
            at_risk["segment"],
            at_risk["live"],
            at_risk["total"],
            at_risk["needed"],
        ));
    }
}
