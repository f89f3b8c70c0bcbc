//! Kills and restarts providers and the gateway at random under load, then checks that no acknowledged object is lost and no space is leaked.
//!
//! Never: more than four of eight providers dead at once. Limits: `--cycles` (200), `--seed` (printed; the same seed makes the same choices).
#![allow(clippy::print_stdout, reason = "a report for a person is what this program is for")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_e2e::data::Seeded;
use cairn_e2e::proc::wait_until;
use cairn_e2e::{Body, Localnet, S3};

const PROVIDERS: usize = 8;
const DEAD_MAX: usize = 4;
const WRITERS: u64 = 3;
const BUCKET: &str = "cycles";
/// Objects that are kept at most; the load deletes the oldest beyond that, so space must come back.
const KEPT_MAX: usize = 150;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Acknowledged with this content.
    Stored { seed: u64, len: u64 },
    /// A request without an answer: it may hold the new content, the old content, or nothing.
    Open { seed: u64, len: u64, before: Option<(u64, u64)> },
}

/// What all writers know together.
#[derive(Default)]
struct Ledger {
    keys: Mutex<BTreeMap<String, Known>>,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    read: AtomicU64,
    stop: AtomicBool,
}

struct Options {
    cycles: u64,
    seed: u64,
}

fn main() -> Result<()> {
    let options = options(&std::env::args().skip(1).collect::<Vec<_>>())?;
    println!("crash-cycles: --cycles {} --seed {}", options.cycles, options.seed);
    let mut net = Localnet::start(PROVIDERS)?;
    let s3 = net.s3()?;
    s3.create_bucket(BUCKET)?;
    let empty = net.settled_used()?;
    let (ledger, begun) = (Ledger::default(), Instant::now());
    let outcome = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ledger, s3) = (&ledger, &s3);
            scope.spawn(move || load(s3, ledger, Seeded::new(options.seed ^ (writer + 1) << 32), writer));
        }
        let outcome = hurt(&mut net, &options, &ledger);
        ledger.stop.store(true, Ordering::Relaxed);
        outcome
    });
    outcome.with_context(|| format!("seed {}", options.seed))?;
    println!(
        "{} acknowledged, {} refused, {} reads checked under load",
        get(&ledger.acknowledged),
        get(&ledger.refused),
        get(&ledger.read)
    );
    ensure!(get(&ledger.acknowledged) >= options.cycles, "almost nothing was stored under load: the test did not test");

    let kept = check_all(&s3, &ledger).with_context(|| format!("seed {}", options.seed))?;
    println!("all {kept} objects are whole after {} cycles in {} s", options.cycles, begun.elapsed().as_secs());
    for key in s3.list(BUCKET)? {
        s3.delete(BUCKET, &key)?;
    }
    net.wait_for_space(&empty, SLACK_LEN).with_context(|| format!("seed {}", options.seed))?;
    println!("all space came back");
    net.stop()?;
    println!("crash-cycles: {} passed, 0 failed", options.cycles);
    Ok(())
}

/// Records of deleted objects may stay in one pack until it is written again.
const SLACK_LEN: u64 = 8 << 20;

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Kills and restarts until the cycles are done; everything runs again at the end.
fn hurt(net: &mut Localnet, options: &Options, ledger: &Ledger) -> Result<()> {
    let mut draw = Seeded::new(options.seed);
    let mut dead: Vec<usize> = Vec::new();
    for cycle in 1..=options.cycles {
        std::thread::sleep(Duration::from_millis(50 + draw.below(400)));
        let gateway = draw.below(4) == 0;
        if gateway {
            net.kill_gateway()?;
            std::thread::sleep(Duration::from_millis(draw.below(300)));
            net.restart_gateway().with_context(|| format!("cycle {cycle}"))?;
        } else {
            let alive: Vec<usize> = (0..PROVIDERS).filter(|index| !dead.contains(index)).collect();
            let victim = alive[draw.below(alive.len() as u64) as usize];
            net.kill_provider(victim)?;
            dead.push(victim);
        }
        // Mostly one or two are dead, so that uploads go on; sometimes as many as may be.
        let keep = if draw.below(8) == 0 { DEAD_MAX } else { draw.below(3) as usize };
        while dead.len() > keep {
            let back = dead.swap_remove(draw.below(dead.len() as u64) as usize);
            net.restart_provider(back).with_context(|| format!("cycle {cycle}"))?;
        }
        if cycle % 10 == 0 {
            println!(
                "cycle {cycle}: {} acknowledged, {} refused, {} reads",
                get(&ledger.acknowledged),
                get(&ledger.refused),
                get(&ledger.read)
            );
        }
    }
    for index in dead {
        net.restart_provider(index)?;
    }
    Ok(())
}

/// Writes, overwrites, reads and deletes this writer's own keys until told to stop.
fn load(s3: &S3, ledger: &Ledger, mut draw: Seeded, writer: u64) {
    while !ledger.stop.load(Ordering::Relaxed) {
        let key = format!("{writer}/{:03}", draw.below(KEPT_MAX as u64 / WRITERS));
        let (what, seed) = (draw.below(10), draw.draw());
        let len = match draw.below(20) {
            0 => 2_000_000 + draw.below(40_000_000),
            1..=3 => 100_000 + draw.below(1_500_000),
            _ => draw.below(30_000),
        };
        let known = ledger.keys.lock().expect("no writer panics while it holds the lock").get(&key).copied();
        if let Some(Known::Open { seed, len, before }) = known {
            resolve(s3, ledger, key, [Some((seed, len)), before]);
            continue;
        }
        match what {
            0..=5 => put(s3, ledger, key, seed, len),
            6 => delete(s3, ledger, key),
            _ => read(s3, ledger, &key),
        }
    }
}

/// Notes that a request begins: until it is answered, old and new content are both possible. Gives the old one.
fn begin(ledger: &Ledger, key: &str, seed: u64, len: u64) -> Option<(u64, u64)> {
    let mut keys = ledger.keys.lock().expect("no writer panics while it holds the lock");
    let before = match keys.get(key) {
        Some(Known::Stored { seed, len }) => Some((*seed, *len)),
        // Open keys are resolved first, so this is a key that holds nothing.
        _ => None,
    };
    keys.insert(key.to_string(), Known::Open { seed, len, before });
    before
}

fn settle(ledger: &Ledger, key: String, known: Option<Known>) {
    let mut keys = ledger.keys.lock().expect("no writer panics while it holds the lock");
    match known {
        Some(known) => keys.insert(key, known),
        None => keys.remove(&key),
    };
}

fn put(s3: &S3, ledger: &Ledger, key: String, seed: u64, len: u64) {
    let before = begin(ledger, &key, seed, len);
    match s3.put_stream(BUCKET, &key, seed, len).map(|answer| answer.status) {
        Ok(200) => {
            ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
            settle(ledger, key, Some(Known::Stored { seed, len }));
        }
        // A clear no: the old content must still be there.
        Ok(_) => {
            ledger.refused.fetch_add(1, Ordering::Relaxed);
            settle(ledger, key, before.map(|(seed, len)| Known::Stored { seed, len }));
            std::thread::sleep(Duration::from_millis(50));
        }
        // No answer: the gateway died; the key stays open and is looked at in the end.
        Err(_) => std::thread::sleep(Duration::from_millis(50)),
    }
}

fn delete(s3: &S3, ledger: &Ledger, key: String) {
    // Deleting is writing "nothing"; seed and length are never read back.
    let before = begin(ledger, &key, u64::MAX, u64::MAX);
    match s3.send("DELETE", BUCKET, &key, &[], &[], Body::Empty).map(|answer| answer.status) {
        Ok(204) => settle(ledger, key, None),
        Ok(_) => settle(ledger, key, before.map(|(seed, len)| Known::Stored { seed, len })),
        Err(_) => std::thread::sleep(Duration::from_millis(50)),
    }
}

/// Finds out what a key holds whose last request had no answer. The gateway that took the request is dead, so it cannot change any more.
fn resolve(s3: &S3, ledger: &Ledger, key: String, possible: [Option<(u64, u64)>; 2]) {
    let Ok(answer) = s3.send("GET", BUCKET, &key, &[], &[], Body::Empty) else {
        std::thread::sleep(Duration::from_millis(50));
        return;
    };
    match answer.status {
        200 => {
            let Ok(bytes) = answer.bytes() else { return };
            match content_of(&bytes, possible) {
                Some((seed, len)) => settle(ledger, key, Some(Known::Stored { seed, len })),
                None => panic!("{key} holds {} bytes that nobody wrote", bytes.len()),
            }
        }
        404 if may_be_gone(possible) => settle(ledger, key, None),
        404 => panic!("{key} was acknowledged and is gone"),
        _ => std::thread::sleep(Duration::from_millis(50)),
    }
}

fn content_of(bytes: &[u8], possible: [Option<(u64, u64)>; 2]) -> Option<(u64, u64)> {
    let is = |(seed, len): &(u64, u64)| *len == bytes.len() as u64 && bytes == cairn_e2e::data::bytes(*seed, bytes.len());
    possible.into_iter().flatten().find(is)
}

fn may_be_gone(possible: [Option<(u64, u64)>; 2]) -> bool {
    possible.iter().any(|content| content.is_none_or(|(seed, _)| seed == u64::MAX))
}

/// Reads an acknowledged object under load: it may be unavailable for a moment, but never other bytes.
fn read(s3: &S3, ledger: &Ledger, key: &str) {
    let known = ledger.keys.lock().expect("no writer panics while it holds the lock").get(key).copied();
    let Some(Known::Stored { seed, len }) = known else { return };
    let Ok(answer) = s3.send("GET", BUCKET, key, &[], &[], Body::Empty) else { return };
    match answer.status {
        200 => {
            // A body that breaks off with the gateway is no finding; a whole body of other bytes is.
            if let Ok(bytes) = answer.bytes() {
                assert!(bytes == cairn_e2e::data::bytes(seed, len as usize), "{key} came back different under load");
                ledger.read.fetch_add(1, Ordering::Relaxed);
            }
        }
        404 => panic!("{key} was acknowledged and is gone"),
        _ => {}
    }
}

/// With everything running again, every key holds what was acknowledged. Gives the number of objects.
fn check_all(s3: &S3, ledger: &Ledger) -> Result<usize> {
    let keys = ledger.keys.lock().expect("all writers have ended").clone();
    for (key, known) in &keys {
        match *known {
            Known::Stored { seed, len } => {
                let read = || Ok(Some(s3.check_stream(BUCKET, key, seed, len)?));
                wait_until("an acknowledged object", Duration::from_secs(30), read).with_context(|| key.clone())?;
            }
            Known::Open { seed, len, before } => check_open(s3, key, [Some((seed, len)), before])?,
        }
    }
    let listed = s3.list(BUCKET)?;
    for key in &listed {
        ensure!(keys.contains_key(key), "{key} is listed and was deleted or never stored");
    }
    Ok(listed.len())
}

/// A key whose last request had no answer holds one of its possible contents, whole.
fn check_open(s3: &S3, key: &str, possible: [Option<(u64, u64)>; 2]) -> Result<()> {
    let answer = s3.send("GET", BUCKET, key, &[], &[], Body::Empty)?;
    match answer.status {
        404 if may_be_gone(possible) => Ok(()),
        200 => {
            let bytes = answer.bytes()?;
            ensure!(content_of(&bytes, possible).is_some(), "{key} holds {} bytes that nobody wrote", bytes.len());
            Ok(())
        }
        status => bail!("{key} was answered with {status}: {}", answer.text()?),
    }
}

fn options(args: &[String]) -> Result<Options> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let mut options = Options { cycles: 200, seed: now };
    for pair in args.chunks(2) {
        match pair {
            [name, text] if name == "--cycles" => options.cycles = text.parse().context("--cycles takes a number")?,
            [name, text] if name == "--seed" => options.seed = text.parse().context("--seed takes a number")?,
            _ => bail!("usage: scripts/crash-cycles [--cycles COUNT] [--seed NUMBER]"),
        }
    }
    Ok(options)
}
