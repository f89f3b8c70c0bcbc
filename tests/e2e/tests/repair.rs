//! Providers die for good, one after another, and what they held is built anew elsewhere, so that nothing is lost that way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_e2e::proc::wait_until;
use cairn_e2e::{Localnet, cli};

const PROVIDERS: usize = 14;
/// Each of packs, one segment, several segments.
const SIZES: [u64; 6] = [1, 900, 40_000, 300_000, 5 << 20, 70 << 20];

/// Repairs until every shard is live again.
fn repaired(net: &Localnet) -> Result<u64> {
    let mut shards = 0;
    wait_until("every segment to be whole", Duration::from_secs(60), || {
        let report = cli::json(net, &["health", "--repair"])?;
        shards += report["shards"].as_u64().context("a number of shards")?;
        let health = &report["health"];
        ensure!(health["segments"].as_u64() > Some(0), "{report}");
        // Silent shards are those of who died a moment ago and is not given up yet.
        Ok((health["due"] == 0 && health["lost"] == 0 && health["silent"] == 0).then_some(()))
    })?;
    Ok(shards)
}

fn check_all(net: &Localnet) -> Result<()> {
    let s3 = net.s3()?;
    SIZES.iter().enumerate().try_for_each(|(index, len)| s3.check_stream("kept", &index.to_string(), index as u64, *len))
}

#[test]
fn ten_of_fourteen_providers_die_one_by_one_and_nothing_is_lost() -> Result<()> {
    let mut net = Localnet::start_with(PROVIDERS, &["--redundancy=2/4", "--repair-after=1s"])?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    for (index, len) in SIZES.iter().enumerate() {
        s3.put_stream("kept", &index.to_string(), index as u64, *len)?.expect_status(200)?;
    }
    let before = cli::json(&net, &["health"])?;
    ensure!(before["whole"] == before["segments"] && before["at_risk"] == serde_json::json!([]), "{before}");
    let mut rebuilt = 0;
    for dead in 0..10 {
        net.kill_provider(dead)?;
        rebuilt += repaired(&net).with_context(|| format!("provider {dead} died"))?;
        check_all(&net).with_context(|| format!("provider {dead} died"))?;
    }
    ensure!(rebuilt >= 10, "{rebuilt} shards were built anew");
    // What was repaired is known after a restart, and the places of old are collected when their providers come back.
    net.kill_gateway()?;
    net.restart_gateway()?;
    check_all(&net)?;
    for dead in 0..10 {
        net.restart_provider(dead)?;
    }
    net.collect()?;
    check_all(&net)?;
    let after = cli::json(&net, &["health", "--repair"])?;
    ensure!(after["health"]["whole"] == after["health"]["segments"], "{after}");
    for key in s3.list("kept")? {
        s3.delete("kept", &key)?;
    }
    let empty = cairn_e2e::localnet::Used { counted_len: 0, shards: 0, on_disk_len: 0 };
    net.wait_for_space(&empty, 8 << 20)
}
