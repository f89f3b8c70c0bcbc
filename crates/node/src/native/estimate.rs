//! `cairn put --estimate` and `cairn bucket`: what storing costs, before and after.
//!
//! Never: a sum of its own making; every number comes from the gateway. Limits: those of the gateway.

use std::path::Path;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::{Value, json};

use super::put::files_under;
use super::{Place, dialer};
use crate::args;
use crate::ledger::wallet::amount;
use crate::outcome::{ExitCode, coded, say, say_json};
use crate::size::rounded;
use crate::socket::{Dialer, empty, encoded, json_request, request, with_query};

/// What storing the files of a `cairn put` would cost.
pub async fn put(args: &args::Put, dialer: &Dialer) -> Result<()> {
    if let Some(target) = &args.target {
        Place::parse(target)?;
    }
    let len = len_of(args)?.to_string();
    let found: Value = dialer.json(request(Method::GET, &with_query("/v1/estimate", &[("len", &len)]), empty())?).await?;
    if args.socket.json {
        return say_json(&found);
    }
    show(&found);
    Ok(())
}

fn len_of(args: &args::Put) -> Result<u64> {
    if args.source == Path::new("-") {
        let message = "how much will come from standard input is not known before it came";
        return Err(coded(ExitCode::Usage, message, "name a file"));
    }
    let len = |path: &Path| Ok(std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len());
    match (args.recursive, args.source.is_dir()) {
        (true, _) => files_under(&args.source)?.iter().try_fold(0u64, |sum, (path, _)| Ok(sum.saturating_add(len(path)?))),
        (false, true) => {
            Err(coded(ExitCode::Usage, format!("{} is a directory", args.source.display()), "add -r for all files under it"))
        }
        (false, false) => len(&args.source),
    }
}

fn show(quote: &Value) {
    let number = |field: &str| quote[field].as_u64().unwrap_or_default();
    let redundancy = quote["redundancy"].as_str().unwrap_or_default();
    let (len, stored, providers) = (rounded(number("len")), rounded(number("stored_len")), number("providers"));
    say(format_args!("stored    {len} as {stored} at {providers} providers, {redundancy}"));
    say(format_args!("now       {:>28}   the upload itself costs nothing", "0 CRD"));
    for (name, field, meaning) in [
        ("deposit", "deposit", "goes into channels now; what is not earned comes back"),
        ("storage", "month", "a month of 30 days"),
        ("reading", "read", "to read it back once"),
    ] {
        say(format_args!("{name:9} {:>28}   {meaning}", amount(&quote[field])));
    }
    let offers = quote["offers"].as_array().cloned().unwrap_or_default();
    say(format_args!("\nfrom the offers of {} providers, for a GiB and month, and for a GiB read:", offers.len()));
    for offer in &offers {
        let agreed = if offer["agreed"] == true { "   agreed" } else { "" };
        let (storage, egress) = (amount(&offer["storage_price"]), amount(&offer["egress_price"]));
        say(format_args!("  {} {storage:>28} {egress:>28}{agreed}", offer["provider"].as_str().unwrap_or_default()));
    }
}

/// Runs `cairn bucket`.
pub async fn bucket(args: args::Bucket) -> Result<()> {
    let dialer = dialer(&args.socket)?;
    let path = format!("/v1/buckets/{}", encoded(&args.bucket));
    if let Some(budget) = args.budget {
        let body = json!({"month_max": budget.0});
        let _: Value = dialer.json(json_request(Method::PUT, &format!("{path}/budget"), &body)?).await?;
    }
    let found: Value = dialer.json(request(Method::GET, &path, empty())?).await?;
    if args.socket.json {
        return say_json(&found);
    }
    say(format_args!("bucket    {}", found["name"].as_str().unwrap_or_default()));
    say(format_args!("objects   {}, {}", found["objects"], rounded(found["len"].as_u64().unwrap_or_default())));
    match &found["month_max"] {
        Value::Null => say("budget    none"),
        max => say(format_args!("budget    {} a month", amount(max))),
    }
    match found["estimate"]["error"].as_str() {
        Some(error) => say(format_args!("cost      not known now: {error}")),
        None => {
            say(format_args!("storage   {} a month", amount(&found["estimate"]["month"])));
            say(format_args!("reading   {} for all of it once", amount(&found["estimate"]["read"])));
        }
    }
    Ok(())
}
