//! Disputes over real processes and the real contracts: who lost data that it signed for loses collateral, who has it keeps all.
//!
//! The ledger's time is moved on where a deadline is hours away; everything else is as a user's network is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_e2e::cli::{lines_in, units};
use cairn_e2e::proc::wait_until;
use cairn_e2e::{Localnet, cli, disk, rpc};
use serde_json::Value;

const PROVIDERS: usize = 5;
/// Six hours and a bit: each of the first two deadlines of a dispute.
const WINDOW_SECS: u64 = 6 * 3600 + 60;
const RESPONSE_SECS: u64 = 12 * 3600 + 60;
const BOND: u128 = 10_000_000_000_000_000_000;

fn start(court: &str) -> Result<Localnet> {
    Localnet::start_with(PROVIDERS, &["--epoch=1h", "--redundancy=2/4", "--test-clock", &format!("--court={court}")])
}

fn credits(dir: &Path) -> Result<u128> {
    units(&cli::json_in(dir, &["wallet", "balance"])?, "credits")
}

/// What the journal moved into the wallet less what it moved out of it: deposits for new deals and time that passed go on during a
/// dispute. A bond that is down is in no entry, and what came from the faucet is booked when it is spent: that is no movement of now.
fn booked(dir: &Path) -> Result<i128> {
    let mut sum = 0;
    for entry in lines_in(dir, &["ledger"])?.into_iter().filter(|entry| entry["memo"] != "into the wallet") {
        for line in entry["lines"].as_array().context("an entry without lines")? {
            for (side, sign) in [("Debit", 1), ("Credit", -1)] {
                if line[side][0] == "Wallet" {
                    sum += sign * i128::try_from(units(&line[side], 1)?)?;
                }
            }
        }
    }
    Ok(sum)
}

/// Waits until the wallet holds what it held `before` and what was booked since, less `bond`.
fn wallet_holds(dir: &Path, before: (u128, i128), bond: u128) -> Result<()> {
    let mut last = String::new();
    let reached = wait_until("the wallet to hold what is booked", Duration::from_secs(20), || {
        let (held, booked) = (credits(dir)?, booked(dir)?);
        let expected = i128::try_from(before.0)? + booked - before.1 - i128::try_from(bond)?;
        last = format!("it holds {held}, and {expected} by the journal; before: {before:?}, booked: {booked}");
        Ok((i128::try_from(held)? == expected).then_some(()))
    });
    reached.with_context(|| last)
}

/// Audits every provider now, whatever the outcome, and gives the audit of one.
fn audit(net: &Localnet, provider: usize) -> Result<Value> {
    let peer = net.ready().providers[provider].peer_id.clone();
    let round = cli::text_in(&net.dir(), &["audits", "--now", "--json"]); // its exit code says whether all passed
    let audits = lines_in(&net.dir(), &["audits", "--provider", &peer, "--max", "1"])?;
    audits.into_iter().next_back().with_context(|| format!("no audit of {peer}: {round:?}"))
}

/// As [`audit`], for a provider that may be the spare one so far, or hold only what is small enough for its index: stores more until
/// there are shard bytes on its disk.
fn first_audit(net: &Localnet, provider: usize) -> Result<Value> {
    let s3 = net.s3()?;
    let dir = net.ready().providers[provider].dir.clone();
    for more in 0..20 {
        if disk::used_len(&dir)? > 0
            && let Ok(audited) = audit(net, provider)
        {
            return Ok(audited);
        }
        s3.put_stream("judged", &format!("more/{more}"), more, 1_000_000)?.expect_status(200)?;
    }
    audit(net, provider)
}

/// Waits until the only dispute is in a state.
fn dispute_is(net: &Localnet, state: &str) -> Result<Value> {
    let mut last = Value::Null;
    let reached = wait_until(&format!("the dispute to be {state}"), Duration::from_secs(60), || {
        last = lines_in(&net.dir(), &["disputes"])?.into_iter().next_back().unwrap_or(Value::Null);
        // The gateway closes its own book of a dispute a moment after the court.
        let closed = !matches!(state, "upheld" | "dismissed") || last["open"] == false;
        Ok((last["state"] == state && closed).then_some(()))
    });
    reached.with_context(|| format!("{last}"))?;
    Ok(last)
}

#[test]
fn who_lost_what_it_signed_for_is_slashed_and_half_comes_back_at_most() -> Result<()> {
    let net = start("always")?;
    let s3 = net.s3()?;
    s3.create_bucket("judged")?;
    s3.put_stream("judged", "large", 1, 8_000_000)?.expect_status(200)?;
    let first = first_audit(&net, 0)?;
    ensure!(first["grade"] == "passed", "{first}");
    // Something is paid on the channel, so that there is something to restitute.
    let provider = net.ready().providers[0].clone();
    let paid = units(&cli::json_in(&provider.dir, &["earnings", "--redeem"])?, "redeemed")?;
    ensure!(paid > 0, "nothing was paid before the loss");
    let staked = rpc::Token::find(&net)?.total_supply()?;
    ensure!(disk::damage_volumes(&provider.dir, disk::Damage::Flip)? > 0, "no shard bytes to damage");
    let gateway = net.ready().gateway.dir.clone();
    let before = (credits(&gateway)?, booked(&gateway)?);
    let failed = audit(&net, 0)?;
    ensure!(failed["grade"] == "corrupt" && failed["committed"] == true, "{failed}");
    // The provider joins, the gateway reveals, and nobody can answer.
    let revealed = dispute_is(&net, "revealed")?;
    ensure!(revealed["provider"] == provider.peer_id.as_str() && revealed["audit"] == failed["id"], "{revealed}");
    wallet_holds(&gateway, before, BOND).context("the bond is not down")?;
    let shown = lines_in(&provider.dir, &["disputes"])?;
    ensure!(shown.len() == 1 && shown[0]["state"] == "revealed" && shown[0]["open"] == true, "{shown:?}");
    rpc::pass(&net, RESPONSE_SECS)?;
    let upheld = dispute_is(&net, "upheld")?;
    let restituted = units(&upheld, "restituted")?;
    ensure!(restituted > 0 && restituted <= paid, "{restituted} came back of {paid} paid: {upheld}");
    wallet_holds(&gateway, before, 0).context("bond and restitution are not in the wallet")?;
    let burned = staked - rpc::Token::find(&net)?.total_supply()?;
    ensure!(burned >= restituted && burned > 0, "{burned} burned, {restituted} restituted");
    let deals = lines_in(&net.dir(), &["deals"])?;
    let deal = deals.iter().find(|deal| deal["provider"] == provider.peer_id.as_str()).context("the deal")?;
    ensure!(!deal["barred"].is_null(), "it would get new shards: {deal}");
    let journal = lines_in(&gateway, &["ledger"])?;
    let booked = journal.iter().find(|entry| entry["memo"] == "restitution").context("the journal does not show it")?;
    ensure!(units(&booked["lines"][0]["Debit"], 1)? == restituted, "{booked} for {restituted} that came back");
    s3.check_stream("judged", "large", 1, 8_000_000)
}

#[test]
fn who_has_the_data_or_a_release_for_it_answers_and_gets_the_bond() -> Result<()> {
    let mut net = start("never")?;
    let s3 = net.s3()?;
    s3.create_bucket("judged")?;
    for index in 0..4 {
        s3.put_stream("judged", &format!("kept/{index}"), index, 3_000_000)?.expect_status(200)?;
    }
    s3.put_stream("judged", "deleted", 9, 20_000_000)?.expect_status(200)?;
    let provider = net.ready().providers[1].clone();
    let passed = first_audit(&net, 1)?;
    ensure!(passed["grade"] == "passed", "{passed}");
    // Most of what was committed to is deleted since, and something is new.
    s3.delete("judged", "deleted")?;
    s3.put_stream("judged", "new", 10, 2_000_000)?.expect_status(200)?;
    net.settled_used()?;
    let stake = credits(&provider.dir)?;
    let id = passed["id"].as_str().context("an id")?.to_owned();
    cli::text_in(&net.dir(), &["disputes", "challenge", &id])?;
    ensure!(cli::text_in(&net.dir(), &["disputes", "challenge", &id]).is_err(), "a second dispute over the same channel");
    // Both sides are killed in the middle of it.
    net.kill_provider(1)?;
    net.kill_gateway()?;
    net.restart_gateway()?;
    net.restart_provider(1)?;
    let dismissed = dispute_is(&net, "dismissed")?;
    ensure!(dismissed["open"] == false, "{dismissed}");
    ensure!(credits(&provider.dir)? == stake + BOND, "the bond is not the provider's");
    let journal = cli::text_in(&net.dir(), &["ledger"])?;
    ensure!(journal.contains("bond lost"), "the journal does not show it");
    Ok(())
}

#[test]
fn a_provider_that_stays_away_from_court_loses_by_time() -> Result<()> {
    let mut net = start("never")?;
    let s3 = net.s3()?;
    s3.create_bucket("judged")?;
    s3.put_stream("judged", "large", 3, 4_000_000)?.expect_status(200)?;
    let passed = first_audit(&net, 2)?;
    ensure!(passed["grade"] == "passed", "{passed}");
    let provider = net.ready().providers[2].clone();
    net.kill_provider(2)?;
    let gateway = net.ready().gateway.dir.clone();
    let before = (credits(&gateway)?, booked(&gateway)?);
    cli::text_in(&net.dir(), &["disputes", "challenge", passed["id"].as_str().context("an id")?])?;
    dispute_is(&net, "challenged")?;
    rpc::pass(&net, WINDOW_SECS)?;
    let upheld = dispute_is(&net, "upheld")?;
    // Nothing was redeemed on the channel, so nothing can come back but the bond.
    ensure!(units(&upheld, "restituted")? == 0, "{upheld}");
    wallet_holds(&gateway, before, 0).context("the bond did not come back")?;
    net.restart_provider(2)?;
    let shown = lines_in(&provider.dir, &["disputes"])?;
    ensure!(shown.len() == 1 && shown[0]["state"] == "upheld", "{shown:?}");
    Ok(())
}
