//! What storing costs, before and after: estimates, and budgets of buckets.

use anyhow::{Context, Result, ensure};
use cairn_e2e::cli::units;
use cairn_e2e::{Localnet, anvil, cli, data};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
/// Short enough to be sent whole before a refusal overtakes it.
const LEN: u64 = 200_000;
/// Of the default of 4 credits for a TiB and month.
const GIB_MONTH_PRICE: u128 = 4_000_000_000_000_000_000 / 1024;

/// What `len` bytes cost for a month at eight providers of the default price, 4/8.
fn month(len: u64) -> u128 {
    let sealed = len + len.div_ceil(65_520) * 16;
    let leaves = sealed.div_ceil(4).div_ceil(1024);
    8 * (u128::from(leaves) * GIB_MONTH_PRICE / (1 << 20))
}

fn block(net: &Localnet) -> Result<Value> {
    anvil::ask(net.ready().chain_url.as_deref().context("a ledger")?, "eth_blockNumber", &json!([]))
}

#[test]
fn an_estimate_comes_before_the_first_upload_and_changes_nothing() -> Result<()> {
    let net = Localnet::start(8)?;
    let file = net.scratch("file.bin");
    data::write_file(&file, 1, 10 * MIB)?;
    let path = file.to_str().context("UTF-8")?;
    let before = block(&net)?;
    let quote = cli::json(&net, &["put", path, "--estimate"])?;
    ensure!(block(&net)? == before, "an estimate sent a transaction");
    ensure!(quote["redundancy"] == "4/8" && quote["providers"] == 8 && quote["len"] == 10 * MIB, "{quote}");
    ensure!(units(&quote, "month")? == month(10 * MIB), "{quote}, expected {}", month(10 * MIB));
    ensure!(units(&quote, "deposit")? == 8_000_000_000_000_000_000, "a credit for each new channel: {quote}");
    let sealed = u128::from(10 * MIB + (10 * MIB).div_ceil(65_520) * 16);
    ensure!(units(&quote, "read")? == sealed * (GIB_MONTH_PRICE / 2) / (1 << 30), "{quote}");
    let offers = quote["offers"].as_array().context("offers")?;
    ensure!(offers.len() == 8 && offers.iter().all(|offer| offer["agreed"] == false), "{quote}");
    let said = cli::text(&net, &["put", path, "nowhere/", "--estimate"])?;
    ensure!(said.contains("4/8") && said.contains("month"), "{said}");
    ensure!(cli::code(&net, &["put", "-", "--estimate"])? == 2, "nobody knows how much comes from standard input");

    cli::text(&net, &["mb", "first"])?;
    cli::text(&net, &["put", path, "first/"])?;
    let quote = cli::json(&net, &["put", path, "first/", "--estimate"])?;
    ensure!(units(&quote, "deposit")? == 0 && units(&quote, "month")? == month(10 * MIB), "{quote}");
    ensure!(quote["offers"].as_array().is_some_and(|offers| offers.iter().all(|offer| offer["agreed"] == true)), "{quote}");
    let bucket = cli::json(&net, &["bucket", "first"])?;
    ensure!(bucket["objects"] == 1 && bucket["len"] == 10 * MIB && bucket["month_max"].is_null(), "{bucket}");
    ensure!(units(&bucket["estimate"], "month")? == month(10 * MIB), "{bucket}");
    Ok(())
}

#[test]
fn a_bucket_takes_no_more_than_its_budget_after_a_restart_too() -> Result<()> {
    let mut net = Localnet::start(8)?;
    cli::text(&net, &["mb", "capped"])?;
    // One of these costs 0.0000015 credits a month, twice as much data 0.0000029.
    let max = 2_000_000_000_000;
    ensure!(month(LEN) < max && month(2 * LEN) > max, "prices changed: {}", month(LEN));
    let bucket = cli::json(&net, &["bucket", "capped", "--budget", "0.000002/month"])?;
    ensure!(units(&bucket, "month_max")? == max, "{bucket}");
    let put = |net: &Localnet, key: &str, seed: u64, len: u64| net.s3()?.put_stream("capped", key, seed, len);
    put(&net, "a", 1, LEN)?.expect_status(200)?;
    put(&net, "a", 2, LEN)?.expect_status(200).context("an object may be replaced by one of its length")?;
    let refused = |net: &Localnet, key: &str, len: u64| -> Result<()> {
        let said = put(net, key, 3, len)?.expect_status(403)?.text()?;
        ensure!(said.contains("QuotaExceeded") && said.contains("0.000002 CRD"), "{said}");
        Ok(())
    };
    refused(&net, "b", LEN)?;
    refused(&net, "a", 2 * LEN)?;
    net.kill_gateway()?;
    net.restart_gateway()?;
    refused(&net, "b", LEN)?;
    net.s3()?.check_stream("capped", "a", 2, LEN)?;
    ensure!(net.s3()?.list("capped")? == ["a"], "a refused object is visible");

    let other = net.scratch("other");
    data::write_file(&other, 4, LEN)?;
    let path = other.to_str().context("UTF-8")?;
    ensure!(cli::code(&net, &["put", path, "capped/b"])? == 1, "the native API takes what S3 refuses");
    cli::text(&net, &["rm", "capped/a"])?;
    cli::text(&net, &["put", path, "capped/b"]).context("there is room again")?;
    refused(&net, "c", LEN)?;
    cli::text(&net, &["bucket", "capped", "--budget", "none"])?;
    put(&net, "c", 3, 2 * LEN)?.expect_status(200)?;
    Ok(())
}
