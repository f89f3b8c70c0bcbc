//! A gateway falls silent, and its delegate audits and pays; providers notice nothing, and the gateway finds everything when it is back.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_e2e::cli::{lines_in, units};
use cairn_e2e::localnet::cairn;
use cairn_e2e::proc::wait_until;
use cairn_e2e::{Localnet, cli, disk};
use serde_json::Value;

const PROVIDERS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(90);

/// A delegate's process; it ends with its standard input.
struct Delegate {
    child: Child,
    dir: PathBuf,
}

impl Delegate {
    fn init(net: &Localnet) -> Result<(PathBuf, String)> {
        let dir = net.scratch("delegate");
        cli::json_in(&dir, &["init", "--role", "delegate"])?;
        let id = cli::json_in(&dir, &["delegate", "id"])?;
        Ok((dir, id["id"].as_str().context("an id")?.to_owned()))
    }

    fn start(net: &Localnet, dir: &Path, gateway: &str) -> Result<Delegate> {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log"))?;
        let mut command = Command::new(cairn()?);
        command.args(["delegate", "run", "--stop-at-stdin-end", "--listen", "/ip4/127.0.0.1/tcp/0", "--for", gateway]);
        command.args(net.how_to_join()?).arg("--dir").arg(dir);
        let child = command.stdin(Stdio::piped()).stderr(log).spawn().context("start the delegate")?;
        Ok(Delegate { child, dir: dir.to_owned() })
    }

    /// What it knows of its only client.
    fn client(&self) -> Result<Value> {
        lines_in(&self.dir, &["delegate", "list"])?.into_iter().next().context("no client")
    }
}

impl Drop for Delegate {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("a while")
}

fn accrued(dir: &Path) -> Result<u128> {
    let earnings = cli::json_in(dir, &["earnings"])?;
    Ok(units(&earnings, "accrued")? + units(&earnings, "redeemed")?)
}

/// Waits until every provider but one was promised more than before.
fn paid_since(net: &Localnet, before: &[u128], but: Option<usize>) -> Result<()> {
    let providers = &net.ready().providers;
    wait_until("every provider to be paid more", PATIENCE, || {
        let paid = providers.iter().enumerate().filter(|(index, _)| Some(*index) != but);
        for (index, provider) in paid {
            if accrued(&provider.dir)? <= before[index] {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

fn all_accrued(net: &Localnet) -> Result<Vec<u128>> {
    net.ready().providers.iter().map(|provider| accrued(&provider.dir)).collect()
}

#[test]
fn a_delegate_goes_on_paying_for_a_silent_gateway_and_stops_when_it_is_back() -> Result<()> {
    let mut net = Localnet::start_with(PROVIDERS, &["--epoch=4s", "--redundancy=2/5"])?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    let (dir, id) = Delegate::init(&net)?;
    let gateway = cli::json_in(&net.ready().gateway.dir, &["status"])?["node"].as_str().context("the gateway's node")?.to_owned();
    let mut delegate = Delegate::start(&net, &dir, &gateway)?;
    cli::text_in(&net.dir(), &["delegate", "grant", &id, "--for", "3h", "--cap", "100"])?;
    store_and_tell(&net, &delegate)?;

    net.kill_gateway()?;
    let before = all_accrued(&net)?;
    paid_since(&net, &before, None)?;
    ensure!(delegate.client()?["acting"] == true, "somebody else pays: {}", delegate.client()?);
    // The delegate's promises are worth what they say.
    let provider = net.ready().providers[0].clone();
    let wallet = |dir: &Path| -> Result<u128> { units(&cli::json_in(dir, &["wallet", "balance"])?, "credits") };
    let (had, redeemed) = (wallet(&provider.dir)?, units(&cli::json_in(&provider.dir, &["earnings"])?, "redeemed")?);
    let now = cli::json_in(&provider.dir, &["earnings", "--redeem"])?;
    let arrived = units(&now, "redeemed")? - redeemed;
    ensure!(arrived > 0 && wallet(&provider.dir)? == had + arrived, "{arrived} were redeemed: {now}");
    // It goes on after a crash of its own, and does not pay who lost the data.
    delegate.child.kill()?;
    delegate.child.wait()?;
    ensure!(disk::damage_volumes(&net.ready().providers[1].dir, disk::Damage::Flip)? > 0, "no shard bytes to damage");
    let damaged = now_ms();
    let delegate = Delegate::start(&net, &dir, &gateway)?;
    for _ in 0..2 {
        let before = all_accrued(&net)?;
        paid_since(&net, &before, Some(1))?;
    }

    net.restart_gateway()?;
    for index in 0..6 {
        s3.check_stream("kept", &format!("{index}"), index, 2_000_000)?;
    }
    wait_until("the delegate to stop", PATIENCE, || Ok((delegate.client()?["acting"] == false).then_some(())))?;
    let back = now_ms();
    wait_until("the gateway to have the delegate's audits", PATIENCE, || {
        let audits = lines_in(&net.dir(), &["audits", "--max", "1000", "--provider", &net.ready().providers[1].peer_id])?;
        let since: Vec<&Value> = audits.iter().filter(|audit| audit["at"].as_u64() >= Some(damaged)).collect();
        ensure!(since.iter().all(|audit| audit["grade"] != "passed"), "paid for what it lost: {since:?}");
        Ok(since.iter().any(|audit| audit["grade"] == "corrupt" && audit["at"].as_u64() < Some(back)).then_some(()))
    })?;
    // The gateway goes on from what its delegate promised.
    let before = all_accrued(&net)?;
    paid_since(&net, &before, Some(1))?;
    let deals = lines_in(&net.dir(), &["deals"])?;
    for (index, provider) in net.ready().providers.iter().enumerate().filter(|(index, _)| *index != 1) {
        let deal = deals.iter().find(|deal| deal["provider"] == provider.peer_id.as_str()).context("a deal")?;
        ensure!(deal["alarm"].is_null() && units(deal, "promised")? >= before[index], "{deal}");
    }
    // What was granted can be taken back.
    let node = id.split('/').next().context("a node")?;
    cli::text_in(&net.dir(), &["delegate", "revoke", node])?;
    ensure!(lines_in(&net.dir(), &["delegate", "list"])?.is_empty(), "the grant is still there");
    Ok(())
}

/// Stores some objects, and waits until the delegate knows all of their shards.
fn store_and_tell(net: &Localnet, delegate: &Delegate) -> Result<()> {
    let s3 = net.s3()?;
    for index in 0..6 {
        s3.put_stream("kept", &format!("{index}"), index, 2_000_000)?.expect_status(200)?;
    }
    wait_until("the delegate to know all deals", PATIENCE, || {
        let grants = lines_in(&net.dir(), &["delegate", "list"])?;
        let client = delegate.client()?;
        let deals = client["deals"].as_array().context("deals")?;
        let shards: u64 = deals.iter().filter_map(|deal| deal["shards"].as_u64()).sum();
        ensure!(client["acting"] == false || shards == 0, "it acts although the gateway is there: {client}");
        Ok((grants[0]["deals"] == PROVIDERS && grants[0]["failure"].is_null() && shards > 0).then_some(()))
    })?;
    let held = shards(&lines_in(&net.dir(), &["deals"])?);
    wait_until("the delegate to know all shards", PATIENCE, || {
        Ok((shards(delegate.client()?["deals"].as_array().context("deals")?) == held).then_some(()))
    })
}

fn shards(deals: &[Value]) -> u64 {
    deals.iter().filter_map(|deal| deal["shards"].as_u64()).sum()
}
