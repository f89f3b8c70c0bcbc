//! Stores many objects, kills the gateway in the middle of more, wipes its machine, and measures how long the twelve words take to bring all
//! of it back; then every object is asked for.
//!
//! Never: a write counted that was not acknowledged. Limits: `--objects` (100,000 by default), [`WRITERS`] at once.
#![allow(clippy::print_stdout, reason = "a report for a person is what this program is for")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_e2e::data::Seeded;
use cairn_e2e::proc::peak_memory;
use cairn_e2e::{Localnet, cli, data};

const PROVIDERS: usize = 8;
const WRITERS: u64 = 8;
const LEN_MAX: u64 = 3_000;
/// Of so many objects one is deleted again before the checkpoint.
const DELETED: u64 = 20;
/// Objects asked for byte by byte afterwards; that all are there is seen in the listing.
const READ_MAX: usize = 2_000;
const STORM: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let objects = objects(std::env::args().skip(1).collect())?;
    let mut net = Localnet::start(PROVIDERS)?;
    net.s3()?.create_bucket("kept")?;

    let begun = Instant::now();
    let next = AtomicU64::new(0);
    write(&net, &next, |seed| seed < objects, &AtomicBool::new(false))?;
    println!("stored:     {objects} objects in {:.0} s", begun.elapsed().as_secs_f64());
    delete(&net, objects)?;
    let begun = Instant::now();
    cli::json(&net, &["checkpoint"])?;
    println!("checkpoint: {:.1} s", begun.elapsed().as_secs_f64());

    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(objects));
    let acknowledged = std::thread::scope(|scope| {
        let storm = scope.spawn(|| write(&net, &next, |_| true, &stop));
        std::thread::sleep(STORM);
        net.kill_gateway()?;
        stop.store(true, Ordering::Relaxed);
        storm.join().expect("no writer panics")
    })?;
    println!("storm:      {} objects acknowledged, then the gateway was killed and its machine wiped", acknowledged.len());

    let (gateway, words) = (net.ready().gateway.dir.clone(), net.scratch("words"));
    std::fs::copy(gateway.join("phrase"), &words)?;
    std::fs::remove_dir_all(&gateway)?;
    let begun = Instant::now();
    let mut args = vec!["recover".to_owned(), format!("--phrase-file={}", words.display())];
    args.extend(net.how_to_join()?);
    let recovered = cli::json_in(&gateway, &args.iter().map(String::as_str).collect::<Vec<_>>())?;
    println!("recovered:  {:.1} s: {recovered}", begun.elapsed().as_secs_f64());
    ensure!(recovered["missing"] == 0, "objects are missing");
    net.restart_gateway()?;
    check(&net, objects, &acknowledged)?;
    let gateway = peak_memory(net.ready().gateway.pid)?;
    println!("gateway:    {} MiB at its peak since", gateway >> 20);
    println!("recovery: 1 passed, 0 failed");
    Ok(())
}

fn key(seed: u64) -> String {
    format!("{:02x}/{seed}", seed % 251)
}

fn content(seed: u64) -> Vec<u8> {
    data::bytes(seed, Seeded::new(seed).below(LEN_MAX) as usize)
}

/// Writes objects from `next` on while `wanted`, with [`WRITERS`] threads; those that were acknowledged. An error ends a writer when `stop` is
/// or will shortly be set, else it ends the program.
fn write(net: &Localnet, next: &AtomicU64, wanted: impl Fn(u64) -> bool + Sync, stop: &AtomicBool) -> Result<Vec<u64>> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let s3 = net.s3()?;
                let wanted = &wanted;
                Ok(scope.spawn(move || -> Result<Vec<u64>> {
                    let mut acknowledged = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if stop.load(Ordering::Relaxed) || !wanted(seed) {
                            return Ok(acknowledged);
                        }
                        match s3.put("kept", &key(seed), &content(seed)) {
                            Ok(()) => acknowledged.push(seed),
                            Err(_) if stopped_soon(stop) => return Ok(acknowledged),
                            Err(error) => return Err(error),
                        }
                    }
                }))
            })
            .collect::<Result<_>>()?;
        let mut all = Vec::new();
        for writer in writers {
            all.extend(writer.join().expect("no writer panics")?);
        }
        Ok(all)
    })
}

/// The gateway is killed a moment before the word comes.
fn stopped_soon(stop: &AtomicBool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !stop.load(Ordering::Relaxed) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    stop.load(Ordering::Relaxed)
}

fn delete(net: &Localnet, objects: u64) -> Result<()> {
    let s3 = net.s3()?;
    let begun = Instant::now();
    for seed in (0..objects).step_by(DELETED as usize) {
        s3.delete("kept", &key(seed))?;
    }
    println!("deleted:    {} of them in {:.0} s", objects.div_ceil(DELETED), begun.elapsed().as_secs_f64());
    Ok(())
}

/// Every acknowledged object is listed and none that was deleted; some are read.
fn check(net: &Localnet, objects: u64, storm: &[u64]) -> Result<()> {
    let s3 = net.s3()?;
    let listed: std::collections::BTreeSet<String> = s3.list("kept")?.into_iter().collect();
    let kept: Vec<u64> = (0..objects).filter(|seed| seed % DELETED != 0).chain(storm.iter().copied()).collect();
    for seed in &kept {
        ensure!(listed.contains(&key(*seed)), "{} did not come back", key(*seed));
    }
    for seed in (0..objects).step_by(DELETED as usize) {
        ensure!(!listed.contains(&key(seed)), "{} was deleted before the checkpoint and came back", key(seed));
    }
    let step = (kept.len() / READ_MAX).max(1);
    for seed in kept.iter().step_by(step) {
        ensure!(s3.get("kept", &key(*seed))? == content(*seed), "{} came back different", key(*seed));
    }
    println!("checked:    {} listed, {} read", listed.len(), kept.len().div_ceil(step));
    Ok(())
}

fn objects(args: Vec<String>) -> Result<u64> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(100_000),
        ["--objects", text] => text.parse().context("--objects takes a number"),
        _ => bail!("usage: scripts/recovery [--objects COUNT]"),
    }
}
