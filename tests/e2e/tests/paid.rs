//! Paid deals over real processes: what providers earn is what the gateway owes, to the base unit, and the ledger moves by exactly that.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_e2e::cli::{lines_in, units};
use cairn_e2e::proc::wait_until;
use cairn_e2e::{Anvil, Localnet, anvil, cli, data};
use serde_json::{Value, json};

const PROVIDERS: usize = 8;

fn block(net: &Localnet) -> Result<u64> {
    let url = net.ready().chain_url.as_deref().context("the network has a ledger")?;
    let number = anvil::ask(url, "eth_blockNumber", &json!([]))?;
    let digits = number.as_str().and_then(|number| number.strip_prefix("0x")).with_context(|| format!("no number: {number}"))?;
    Ok(u64::from_str_radix(digits, 16)?)
}

/// A network on anvil, of which it is given the key of a wallet with coin and nothing else.
fn on_anvil(anvil: &Anvil) -> Result<Localnet> {
    let dir = tempfile::tempdir()?;
    let key_file = anvil.key_file(dir.path())?;
    let key_file = key_file.to_str().context("UTF-8")?;
    Localnet::start_with(PROVIDERS, &["--epoch=4s", "--chain", &anvil.url, "--key-file", key_file])
}

/// Waits until every provider's latest audit was passed, `count` times over.
fn audits_passed(net: &Localnet, count: usize) -> Result<()> {
    wait_until("every provider to pass its audits", Duration::from_secs(120), || {
        let audits = lines_in(&net.dir(), &["audits", "--max", "1000"])?;
        let failed: Vec<&Value> = audits.iter().filter(|audit| audit["grade"] != "passed").collect();
        ensure!(failed.is_empty(), "audits that were not passed: {failed:?}");
        let providers: Vec<_> = net.ready().providers.iter().map(|provider| provider.peer_id.as_str()).collect();
        let passed = |peer: &str| audits.iter().filter(|audit| audit["provider"] == peer).count();
        Ok(providers.iter().all(|peer| passed(peer) >= count).then_some(()))
    })
}

#[test]
fn what_providers_earn_is_what_the_gateway_owes_and_the_ledger_moves_by_exactly_that() -> Result<()> {
    earned_is_owed_and_arrives(&Localnet::start_with(PROVIDERS, &["--epoch=4s"])?)
}

#[test]
fn the_numbers_are_the_same_on_a_chain_that_is_not_ours() -> Result<()> {
    let Some(anvil) = Anvil::start()? else { return Ok(()) };
    let net = on_anvil(&anvil)?;
    ensure!(net.ready().chain_url.as_ref() == Some(&anvil.url), "{:?}", net.ready());
    ensure!(!net.dir().join("chain").exists(), "the network has a ledger of its own besides");
    let deployed: Value = serde_json::from_slice(&std::fs::read(net.dir().join("contracts.json"))?)?;
    ensure!(deployed["chain_id"] == 31_337 && deployed["version"] == 1, "{deployed}");
    earned_is_owed_and_arrives(&net)?;
    // Started again it knows its chain and its contracts, and needs no key.
    let net = Localnet::start_in(net.stop()?, PROVIDERS)?;
    net.s3()?.check_stream("paid", "large", 1, 100_000_000)?;
    let again: Value = serde_json::from_slice(&std::fs::read(net.dir().join("contracts.json"))?)?;
    ensure!(again == deployed, "it has other contracts now: {again}, had {deployed}");
    audits_passed_again(&net)
}

/// The scenario of this file, on whatever ledger the network has.
fn earned_is_owed_and_arrives(net: &Localnet) -> Result<()> {
    let s3 = net.s3()?;
    s3.create_bucket("paid")?;
    s3.put_stream("paid", "large", 1, 100_000_000)?.expect_status(200)?;
    for index in 0..50u64 {
        s3.put("paid", &format!("small/{index}"), &data::bytes(index, 3000))?;
    }
    audits_passed(net, 1)?;
    let before = block(net)?;
    audits_passed(net, 4)?;
    ensure!(block(net)? == before, "an ordinary epoch sent transactions: block {before} became {}", block(net)?);

    s3.check_stream("paid", "large", 1, 100_000_000)?;
    audits_passed(net, 6)?;
    // Vouchers go on while this looks: a provider may have one that its payer was not asked about yet, never the other way round for long.
    wait_until("both sides to say the same", Duration::from_secs(60), || {
        let earned = lines_in(&net.dir(), &["earnings"])?;
        let owed = lines_in(&net.dir(), &["deals"])?;
        ensure!(earned.len() == PROVIDERS && owed.len() == PROVIDERS, "{} and {} deals", earned.len(), owed.len());
        let mut same = true;
        for (provider, line) in net.ready().providers.iter().zip(&earned) {
            let deal = owed.iter().find(|deal| deal["provider"] == provider.peer_id.as_str()).context("a deal for each")?;
            let got = units(line, "accrued")? + units(line, "redeemed")?;
            ensure!(got > 0, "{} earned nothing: {line}", provider.name);
            ensure!(line["conserved"] == true, "{}: credits are not conserved", provider.name);
            same &= got == units(deal, "promised")?;
        }
        Ok(same.then_some(()))
    })?;

    for provider in &net.ready().providers {
        let before = cli::json_in(&provider.dir, &["wallet", "balance"])?;
        let earned = cli::json_in(&provider.dir, &["earnings"])?;
        let after = cli::json_in(&provider.dir, &["earnings", "--redeem"])?;
        let (gained, paid) = (units(&after, "credits")? - units(&before, "credits")?, units(&after, "redeemed")?);
        ensure!(gained == paid - units(&earned, "redeemed")?, "{}: {gained} arrived of {paid}", provider.name);
        ensure!(gained >= units(&earned, "accrued")?, "{}: {gained} of {earned}", provider.name);
    }
    withdrawal_moves_the_same_at_both_ends(net)
}

fn withdrawal_moves_the_same_at_both_ends(net: &Localnet) -> Result<()> {
    let [from, to] = [&net.ready().providers[0].dir, &net.ready().providers[1].dir];
    let address = cli::json_in(to, &["wallet", "balance"])?["address"].as_str().context("an address")?.to_owned();
    let credits = |dir: &std::path::Path| -> Result<u128> { units(&cli::json_in(dir, &["wallet", "balance"])?, "credits") };
    let before = (credits(from)?, credits(to)?);
    for _ in 0..2 {
        cli::text_in(from, &["wallet", "withdraw", &address, "1.5", "--id", "once"])?;
    }
    let amount = 1_500_000_000_000_000_000;
    ensure!(credits(from)? == before.0 - amount, "not {amount} left the first wallet, or twice");
    ensure!(credits(to)? >= before.1 + amount, "{amount} did not arrive");
    Ok(())
}

#[test]
fn a_killed_side_goes_on_with_what_was_promised() -> Result<()> {
    let mut net = Localnet::start_with(PROVIDERS, &["--epoch=4s"])?;
    let s3 = net.s3()?;
    s3.create_bucket("paid")?;
    s3.put_stream("paid", "large", 1, 50_000_000)?.expect_status(200)?;
    audits_passed(&net, 1)?;
    let promised = |net: &Localnet| -> Result<Vec<u128>> {
        let mut deals = lines_in(&net.dir(), &["deals"])?;
        deals.sort_by_key(|deal| deal["provider"].to_string());
        deals.iter().map(|deal| units(deal, "promised")).collect()
    };
    let before = promised(&net)?;
    net.kill_gateway()?;
    net.restart_gateway()?;
    net.kill_provider(3)?;
    net.restart_provider(3)?;
    let after = promised(&net)?;
    ensure!(before.iter().zip(&after).all(|(before, after)| after >= before), "promises went back: {before:?}, {after:?}");
    net.s3()?.check_stream("paid", "large", 1, 50_000_000)?;
    audits_passed_again(&net)?;
    for line in lines_in(&net.dir(), &["earnings"])? {
        ensure!(line["conserved"] == true, "credits are not conserved: {line}");
    }
    Ok(())
}

/// Every provider passes an audit that begins from now on.
fn audits_passed_again(net: &Localnet) -> Result<()> {
    let latest = |audits: &[Value]| audits.iter().filter_map(|audit| audit["at"].as_u64()).max().unwrap_or(0);
    let seen = latest(&lines_in(&net.dir(), &["audits", "--max", "1000"])?);
    wait_until("every provider to pass an audit again", Duration::from_secs(120), || {
        let audits = lines_in(&net.dir(), &["audits", "--max", "1000"])?;
        let new: Vec<&Value> = audits.iter().filter(|audit| audit["at"].as_u64().is_some_and(|at| at > seen)).collect();
        let passed = |peer: &str| new.iter().any(|audit| audit["provider"] == peer && audit["grade"] == "passed");
        Ok(net.ready().providers.iter().all(|provider| passed(&provider.peer_id)).then_some(()))
    })
}

#[test]
fn a_chain_without_our_contracts_is_refused_with_the_remedy() -> Result<()> {
    let Some(anvil) = Anvil::start()? else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let key_file = anvil.key_file(dir.path())?;
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let deploy =
        |out: &str| cli::bare(&["chain", "deploy", "--rpc", &anvil.url, "--key-file", &key_file.to_string_lossy(), "--out", out]);
    let said = deploy(&path("good.json"))?;
    ensure!(said.contains("Court") && said.contains("good.json"), "{said}");
    let refused = deploy(&path("good.json")).map_or_else(|error| error.to_string(), |said| format!("done: {said}"));
    ensure!(refused.contains("already"), "a file of addresses was overwritten: {refused}");

    // The addresses of two contracts, changed for each other; addresses of nothing; another chain's number.
    let good: Value = serde_json::from_slice(&std::fs::read(path("good.json"))?)?;
    let write = |name: &str, value: &Value| std::fs::write(path(name), value.to_string());
    let mut swapped = good.clone();
    swapped["contracts"]["channels"] = good["contracts"]["providers"].clone();
    swapped["contracts"]["providers"] = good["contracts"]["channels"].clone();
    write("swapped.json", &swapped)?;
    let mut nothing = good.clone();
    nothing["contracts"]["court"] = json!("0x0000000000000000000000000000000000000001");
    write("nothing.json", &nothing)?;
    let mut other = good;
    other["chain_id"] = json!(1);
    write("other.json", &other)?;
    cli::bare(&["init", "--dir", &path("gateway")])?;
    for (contracts, reason) in [
        (None, "serves chain 31337, configured is 52114"),
        (Some("other.json"), "serves chain 31337, configured is 1"),
        (Some("nothing.json"), "there is no Court at 0x0000000000000000000000000000000000000001"),
        (Some("swapped.json"), "is not the Channels of this version of cairn"),
    ] {
        let node = path("gateway");
        let file = contracts.map(|name| format!("--contracts={}", path(name)));
        let mut args = vec!["gateway", "--dir", &node, "--chain", &anvil.url, "--s3-listen=127.0.0.1:0"];
        args.extend(file.as_deref());
        let said = match cli::bare(&args) {
            Ok(said) => anyhow::bail!("{contracts:?} was taken: {said}"),
            Err(error) => error.to_string(),
        };
        ensure!(said.contains(reason) && said.contains("remedy"), "{contracts:?}: {said}");
    }
    Ok(())
}
