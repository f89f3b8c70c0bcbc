//! `cairn earnings`, `cairn deals`, `cairn audits`, `cairn ledger`: what the daemons' control sockets say, for people and for programs.
//!
//! Never: a sum of its own making; every number comes from the daemon. Limits: pages of the daemon's choice, read to the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cairn_types::Amount;
use hyper::Method;
use serde_json::{Value, json};

use super::wallet::{amount, dialer};
use crate::args::{self, DisputesCommand, WalletCall};
use crate::home;
use crate::outcome::{ExitCode, coded, say, say_json};
use crate::size::rounded;
use crate::socket::{Dialer, PROVIDER_SOCKET, empty, json_request, request, with_query};
use crate::when;

/// Runs `cairn earnings`.
pub async fn earnings(args: args::Earnings) -> Result<()> {
    for (name, dialer) in providers(&args.call)? {
        if args.redeem {
            let _: Value = dialer.json(json_request(Method::POST, "/v1/redeem", &json!({}))?).await?;
        }
        let found: Value = dialer.json(request(Method::GET, "/v1/earnings", empty())?).await?;
        if args.call.json {
            let mut line = found;
            line["name"] = json!(name);
            say_json(&line)?;
            continue;
        }
        say(format_args!("{name}"));
        for (field, meaning) in [
            ("potential", "stored and read since the last payment, not yet promised"),
            ("accrued", "promised by vouchers, not yet redeemed"),
            ("redeemed", "paid out to the wallet so far"),
            ("credits", "in the wallet now"),
        ] {
            say(format_args!("  {field:10} {:>28}   {meaning}", amount(&found[field])));
        }
        if !found["redeem_from"].is_null() {
            let (from, cost) = (amount(&found["redeem_from"]), amount(&found["redeem_cost"]));
            say(format_args!("  a client's promises are redeemed from {from} on; the transaction costs {cost} now"));
        }
    }
    Ok(())
}

/// The providers of a directory: its own, or all of a localnet.
fn providers(call: &WalletCall) -> Result<Vec<(String, Dialer)>> {
    let dir = match &call.dir {
        Some(dir) => dir.clone(),
        None => home::data_root()?.join("provider"),
    };
    let dial = |dir: &Path| Dialer::new(dir.join(PROVIDER_SOCKET), "start it: cairn provider --chain URL");
    let name = |dir: &Path| dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let plan = crate::localnet::plan::Plan::load(&dir)?;
    let homes: Vec<PathBuf> = match plan {
        Some(plan) => plan.providers().map(|name| crate::localnet::plan::home_of(&dir, name)).collect(),
        None => vec![dir],
    };
    Ok(homes.iter().map(|home| (name(home), dial(home))).collect())
}

/// Runs `cairn deals`.
pub async fn deals(args: args::Deals) -> Result<()> {
    let found: Value = dialer(&args.call)?.json(request(Method::GET, "/v1/deals", empty())?).await?;
    for deal in found["deals"].as_array().into_iter().flatten() {
        if args.call.json {
            say_json(deal)?;
            continue;
        }
        let with = ["provider", "client"].iter().find_map(|side| Some((side, deal[side].as_str()?)));
        let (side, node) = with.map_or(("deal", ""), |(side, node)| (*side, node));
        let number = |field: &str| deal[field].as_u64().unwrap_or_default();
        say(format_args!(
            "{side} {node}\n  stored {} in {} shards, read {}, owed {}, deposit {}",
            rounded(number("stored_len")),
            number("shards"),
            rounded(number("egress_len")),
            amount(&deal["owed"]),
            amount(&deal["deposit"]),
        ));
        for trouble in ["barred", "alarm"].iter().filter_map(|field| deal[field].as_str()) {
            say(format_args!("  {trouble}"));
        }
        if deal["overdue"] == true {
            say("  payment is overdue: no new shards are taken");
        }
    }
    Ok(())
}

/// Runs `cairn audits`. Exit code 1 when an audit made now was not passed.
pub async fn audits(args: args::Audits) -> Result<()> {
    let dialer = dialer(&args.call)?;
    let found: Value = if args.now {
        dialer.json(json_request(Method::POST, "/v1/audits", &json!({}))?).await?
    } else {
        let max = args.max.to_string();
        let provider = args.provider.map(|node| node.to_string());
        let mut query = vec![("max", max.as_str())];
        query.extend(args.failed.then_some(("failed", "true")));
        query.extend(provider.as_deref().map(|node| ("provider", node)));
        dialer.json(request(Method::GET, &with_query("/v1/audits", &query), empty())?).await?
    };
    let mut failed = 0;
    for audit in found["audits"].as_array().into_iter().flatten() {
        let grade = audit["grade"].as_str().unwrap_or("not made");
        failed += u32::from(grade != "passed");
        if args.call.json {
            say_json(audit)?;
            continue;
        }
        let text = |field: &str| audit[field].as_str().unwrap_or_default();
        say(format_args!(
            "{} {:9} {} {}/{} probes {}{}",
            when::utc(audit["at"].as_u64().unwrap_or_default()),
            grade,
            text("provider"),
            audit["held"],
            audit["probes"],
            text("reason"),
            text("error"),
        ));
        for failure in audit["failures"].as_array().into_iter().flatten() {
            let shard = failure["shard"].as_str().unwrap_or_default();
            say(format_args!("    shard {shard} leaf {}: {}", failure["leaf"], failure["reason"].as_str().unwrap_or_default()));
        }
    }
    if args.now && failed > 0 {
        return Err(coded(ExitCode::Failure, format!("{failed} audits were not passed"), "cairn audits --failed shows why"));
    }
    Ok(())
}

/// Runs `cairn disputes`.
pub async fn disputes(args: args::Disputes) -> Result<()> {
    if let Some(DisputesCommand::Challenge(args)) = args.command {
        let wanted = json_request(Method::POST, "/v1/disputes", &json!({"audit": args.audit}))?;
        let made: Value = dialer(&args.call)?.json(wanted).await?;
        return show_dispute(&made, args.call.json);
    }
    let found: Value = dialer(&args.call)?.json(request(Method::GET, "/v1/disputes", empty())?).await?;
    found["disputes"].as_array().into_iter().flatten().try_for_each(|dispute| show_dispute(dispute, args.call.json))
}

fn show_dispute(dispute: &Value, json: bool) -> Result<()> {
    if json {
        return say_json(dispute);
    }
    let text = |field: &str| dispute[field].as_str().unwrap_or_default();
    say(format_args!("{} {}", text("dispute"), text("state")));
    if let Some(provider) = dispute["provider"].as_str() {
        say(format_args!("  provider {provider}, over audit {}", text("audit")));
    }
    if let Some(seconds) = dispute["deadline_s"].as_u64().filter(|_| dispute["open"] == true) {
        let next = match text("state") {
            "challenged" => "the provider is to join",
            "joined" => "the challenger is to reveal",
            "revealed" => "the provider is to show the leaves",
            _ => "it is being sent",
        };
        say(format_args!("  {next} until {}; at risk {}", when::utc(seconds.saturating_mul(1000)), amount(&dispute["at_risk"])));
    }
    if !text("reason").is_empty() {
        say(format_args!("  {}", text("reason")));
    }
    Ok(())
}

/// Runs `cairn ledger`.
pub async fn journal(args: args::Journal) -> Result<()> {
    let dialer = dialer(&args.call)?;
    let mut balances: BTreeMap<String, (u128, u128)> = BTreeMap::new();
    let mut from = 0u64;
    if args.csv {
        say("number,time,memo,account,debit,credit,balance");
    }
    loop {
        let page: Value = dialer.json(request(Method::GET, &format!("/v1/journal?from={from}"), empty())?).await?;
        let first = page["opening"]["first"].as_u64().unwrap_or(0);
        if first > from {
            balances = opened(&page["opening"]);
            show_opening(&page["opening"], &args, &balances)?;
        }
        let mut entries = page["entries"].as_array().cloned().unwrap_or_default();
        entries.retain(|entry| entry["number"].as_u64() >= Some(first));
        let Some(last) = entries.last().and_then(|entry| entry["number"].as_u64()) else { return Ok(()) };
        for entry in &entries {
            if args.call.json {
                say_json(entry)?;
            } else {
                show_entry(entry, args.csv, &mut balances);
            }
        }
        from = last + 1;
    }
}

/// Balances before the first entry that is kept.
fn opened(opening: &Value) -> BTreeMap<String, (u128, u128)> {
    let units = |value: &Value| serde_json::from_value::<Amount>(value.clone()).map_or(0, Amount::base_units);
    let accounts = opening["accounts"].as_array().into_iter().flatten();
    accounts.map(|of| (place(&of["account"]), (units(&of["debits"]), units(&of["credits"])))).collect()
}

fn show_opening(opening: &Value, args: &args::Journal, balances: &BTreeMap<String, (u128, u128)>) -> Result<()> {
    if args.call.json {
        return say_json(&json!({"opening": opening}));
    }
    let before = &opening["first"];
    if !args.csv {
        say(format_args!("       entries before {before} were rolled up"));
    }
    for (account, balance) in balances {
        let left = signed(*balance);
        match args.csv {
            true => say(format_args!("{before},,\"opening balance\",\"{account}\",,,{left}")),
            false => say(format_args!("       opened {account:72} {:>28} balance {left}", "")),
        }
    }
    Ok(())
}

/// A balance with its sign.
fn signed((debits, credits): (u128, u128)) -> String {
    match debits >= credits {
        true => Amount::from_base_units(debits - credits).to_string(),
        false => format!("-{}", Amount::from_base_units(credits - debits)),
    }
}

fn show_entry(entry: &Value, csv: bool, balances: &mut BTreeMap<String, (u128, u128)>) {
    let (number, at, memo) =
        (&entry["number"], when::utc(entry["at"].as_u64().unwrap_or_default()), entry["memo"].as_str().unwrap_or(""));
    if !csv {
        say(format_args!("{number:>6} {at} {memo}"));
    }
    for line in entry["lines"].as_array().into_iter().flatten() {
        let (side, fields) = match (line.get("Debit"), line.get("Credit")) {
            (Some(fields), _) => ("debit", fields),
            (_, Some(fields)) => ("credit", fields),
            _ => continue,
        };
        let account = place(&fields[0]);
        let moved: Amount = serde_json::from_value(fields[1].clone()).unwrap_or(Amount::ZERO);
        let balance = balances.entry(account.clone()).or_default();
        match side {
            "debit" => balance.0 = balance.0.saturating_add(moved.base_units()),
            _ => balance.1 = balance.1.saturating_add(moved.base_units()),
        }
        let left = signed(*balance);
        if csv {
            let (debit, credit) =
                if side == "debit" { (moved.to_string(), String::new()) } else { (String::new(), moved.to_string()) };
            say(format_args!("{number},{at},\"{}\",\"{account}\",{debit},{credit},{left}", memo.replace('"', "\"\"")));
        } else {
            say(format_args!("       {side:6} {account:72} {:>28} balance {left}", moved.to_string()));
        }
    }
}

/// An account of the journal in words.
fn place(account: &Value) -> String {
    match account {
        Value::String(name) => name.to_lowercase(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, of)| format!("{} {}", name.to_lowercase(), of.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}
