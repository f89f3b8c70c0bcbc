//! Providers die, disks lie: no acknowledged object is lost, and what fails says so and leaves nothing.
//!
//! Limits: eight providers at 4/8, so any four may be gone.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_e2e::proc::{alive, wait_until};
use cairn_e2e::tool::Tools;
use cairn_e2e::{Localnet, S3, data, disk};

const MIB: u64 = 1 << 20;
const PROVIDERS: usize = 8;

/// Objects of each kind: packed, one segment, several segments.
const SIZES: [u64; 8] = [0, 1, 900, 40_000, 300_000, 5 * MIB, 33 * MIB + 7, 90 * MIB];

fn store_all(s3: &S3, prefix: &str, seed: u64) -> Result<()> {
    for (index, len) in SIZES.iter().enumerate() {
        s3.put_stream("kept", &format!("{prefix}/{index}"), seed + index as u64, *len)?.expect_status(200)?;
    }
    Ok(())
}

fn check_all(s3: &S3, prefix: &str, seed: u64) -> Result<()> {
    for (index, len) in SIZES.iter().enumerate() {
        s3.check_stream("kept", &format!("{prefix}/{index}"), seed + index as u64, *len)?;
    }
    Ok(())
}

#[test]
fn any_four_of_eight_providers_may_die_during_an_upload_and_after() -> Result<()> {
    let mut net = Localnet::start(PROVIDERS)?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    store_all(&s3, "before", 100)?;
    for (round, seed) in [11, 12].into_iter().enumerate() {
        let dead = data::Seeded::new(seed).distinct(4, PROVIDERS);
        let prefix = format!("round {round}");
        let (big, small) = std::thread::scope(|scope| {
            let upload = scope.spawn(|| s3.put_stream("kept", &format!("{prefix}/big"), seed, 200 * MIB));
            let stream = scope.spawn(|| store_some(&s3, &prefix, seed));
            for index in &dead {
                // Not a race that is waited out: the kills are to fall anywhere in the uploads.
                std::thread::sleep(Duration::from_millis(150));
                net.kill_provider(*index)?;
            }
            let big = upload.join().expect("the upload does not panic");
            let small = stream.join().expect("the uploads do not panic");
            anyhow::Ok((big, small))
        })?;
        check_all(&s3, "before", 100).with_context(|| format!("providers {dead:?} are dead"))?;
        for (key, seed, len) in &small {
            s3.check_stream("kept", key, *seed, *len).with_context(|| format!("acknowledged; {dead:?} are dead"))?;
        }
        let listed: BTreeSet<String> = s3.list("kept")?.into_iter().collect();
        let big_key = format!("{prefix}/big");
        match big {
            Ok(answer) if answer.status == 200 => s3.check_stream("kept", &big_key, seed, 200 * MIB)?,
            _ => ensure!(!listed.contains(&big_key), "a failed upload is visible"),
        }
        for index in dead {
            net.restart_provider(index)?;
        }
        check_all(&s3, "before", 100)?;
        wait_until("uploads to work again", Duration::from_secs(60), || Ok(store_all(&s3, &prefix, seed).ok()))?;
        check_all(&s3, &prefix, seed)?;
    }
    Ok(())
}

/// Puts small objects one after another until twenty were answered; gives those that were acknowledged.
fn store_some(s3: &S3, prefix: &str, seed: u64) -> Vec<(String, u64, u64)> {
    let mut sizes = data::Seeded::new(seed);
    let tried = (0..20).map(|index| (format!("{prefix}/small {index}"), seed + 1000 + index, sizes.below(2 * MIB)));
    tried
        .filter(|(key, seed, len)| matches!(s3.put_stream("kept", key, *seed, *len), Ok(answer) if answer.status == 200))
        .collect()
}

#[test]
fn an_upload_with_five_of_eight_dead_fails_clearly_and_leaves_nothing() -> Result<()> {
    let mut net = Localnet::start(PROVIDERS)?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    store_all(&s3, "before", 200)?;
    let before = net.settled_used()?;
    for index in 0..3 {
        net.kill_provider(index)?;
    }
    // A broken-off upload leaves shards behind on the providers that are about to die.
    let cut = std::thread::scope(|scope| {
        let upload = scope.spawn(|| s3.put_stream("kept", "cut", 201, 300 * MIB));
        std::thread::sleep(Duration::from_millis(500));
        net.kill_provider(3)?;
        net.kill_provider(4)?;
        anyhow::Ok(upload.join().expect("the upload does not panic"))
    })?;
    ensure!(!matches!(&cut, Ok(answer) if answer.status == 200), "an upload with three of eight providers was acknowledged");
    for (key, len) in [("tiny", 10), ("small", 50_000)] {
        let answer = s3.put_stream("kept", key, 202, len)?;
        let status = answer.status;
        let said = answer.text()?;
        ensure!(status == 503, "{key}: expected HTTP 503, got {status}: {said}");
        ensure!(said.contains("providers") || said.contains("receipts"), "{key}: the answer names no reason: {said}");
    }
    // The answer overtakes a large body, so what counts is what a person with a real client is told.
    let tools = Tools::new(net.ready(), &net.scratch("home"))?;
    let large = net.scratch("large.bin");
    data::write_file(&large, 203, 20 * MIB)?;
    let said = match tools.aws(&["cp", large.to_str().context("UTF-8")?, "s3://kept/large"]) {
        Ok(said) => anyhow::bail!("aws reports success: {said}"),
        Err(error) => error.to_string(),
    };
    ensure!(said.contains("ServiceUnavailable") && said.contains("providers"), "aws names no reason: {said}");
    let expected: Vec<String> = (0..SIZES.len()).map(|index| format!("before/{index}")).collect();
    ensure!(s3.list("kept")? == expected, "a failed upload is visible: {:?}", s3.list("kept")?);
    for index in 0..5 {
        net.restart_provider(index)?;
    }
    check_all(&s3, "before", 200)?;
    net.wait_for_space(&before, 0)?;
    check_all(&s3, "before", 200)
}

#[test]
fn a_shard_damaged_or_erased_on_a_disk_is_read_around_and_named_in_the_log() -> Result<()> {
    let net = Localnet::start(PROVIDERS)?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    store_all(&s3, "before", 300)?;
    for (index, damage) in [(0, disk::Damage::Flip), (1, disk::Damage::Erase), (2, disk::Damage::Flip), (3, disk::Damage::Erase)]
    {
        let provider = &net.ready().providers[index];
        let hurt = disk::damage_volumes(&provider.dir, damage)?;
        ensure!(hurt > 0, "{} has no shard bytes to damage", provider.name);
        check_all(&s3, "before", 300).with_context(|| format!("{} is damaged: {damage:?}", provider.name))?;
        ensure!(alive(provider.pid), "{} did not survive its damage", provider.name);
        let named = |line: &str| line.contains(&provider.peer_id) && has_root(line);
        wait_until("the gateway's log to name the provider and the shard", Duration::from_secs(10), || {
            Ok(net.gateway_log().lines().any(named).then_some(()))
        })
        .with_context(|| provider.name.clone())?;
    }
    Ok(())
}

/// Whether a line names a shard: a word of 64 hex digits.
fn has_root(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit()))
}
