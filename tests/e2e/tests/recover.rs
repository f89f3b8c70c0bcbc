//! A gateway's machine burns in the middle of a storm of writes. Its twelve words, on an empty machine, bring everything back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_e2e::{Localnet, cli, data};

/// Object → seed and length.
type Known = BTreeMap<String, (u64, usize)>;

fn recover(net: &Localnet, dir: &Path, phrase: &Path) -> Result<serde_json::Value> {
    let phrase = format!("--phrase-file={}", phrase.display());
    let flags = net.how_to_join()?;
    let mut args = vec!["recover", &phrase];
    args.extend(flags.iter().map(String::as_str));
    cli::json_in(dir, &args)
}

/// Writes by four clients at once until the gateway is killed: what was acknowledged.
fn storm_until_death(net: &Localnet) -> Result<Known> {
    let (storm, stop) = (Arc::new(Mutex::new(Known::new())), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let (s3, storm, stop) = (net.s3()?, storm.clone(), stop.clone());
            Ok(std::thread::spawn(move || {
                for seed in (writer * 10_000 + 1000).. {
                    let (key, len) = (format!("storm/{seed}"), [500, 30_000, 200_000][(seed % 3) as usize]);
                    if stop.load(Ordering::Relaxed) || s3.put("kept", &key, &data::bytes(seed, len)).is_err() {
                        return;
                    }
                    storm.lock().expect("no writer panics").insert(key, (seed, len));
                }
            }))
        })
        .collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_secs(4));
    net.kill_gateway()?;
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().expect("no writer panics"));
    let acknowledged = storm.lock().expect("no writer panics").clone();
    ensure!(acknowledged.len() > 20, "the storm was a breeze: {} writes", acknowledged.len());
    Ok(acknowledged)
}

#[test]
fn twelve_words_bring_back_every_acknowledged_object() -> Result<()> {
    let mut net = Localnet::start(8)?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    s3.create_bucket("empty")?;
    let mut known = Known::new();
    for (seed, len) in [(1, 3), (2, 20_000), (3, 300_000), (4, 20_000_000), (5, 70_000_000)] {
        let key = format!("before/{seed}");
        s3.put_stream("kept", &key, seed, len)?.expect_status(200)?;
        known.insert(key, (seed, len as usize));
    }
    for seed in 10..40 {
        s3.put("kept", &format!("small/{seed}"), &data::bytes(seed, 2_000))?;
        known.insert(format!("small/{seed}"), (seed, 2_000));
    }
    for seed in 10..15 {
        cli::text(&net, &["rm", &format!("kept/small/{seed}")])?;
        known.remove(&format!("small/{seed}"));
    }
    let laptop = cli::json(&net, &["key", "create", "--label", "laptop", "--user", "ann", "--read-only"])?;
    ensure!(cli::json(&net, &["checkpoint"])?["written"].as_array().is_some_and(|parts| parts.len() == 2));

    known.extend(storm_until_death(&net)?);

    let (gateway, words) = (net.ready().gateway.dir.clone(), net.scratch("words"));
    std::fs::copy(gateway.join("phrase"), &words)?;
    std::fs::remove_dir_all(&gateway)?;
    let begun = Instant::now();
    let recovered = recover(&net, &gateway, &words)?;
    eprintln!("recovered in {:.1} s: {recovered}", begun.elapsed().as_secs_f64());
    ensure!(recovered["missing"] == 0 && recovered["buckets"] == 2, "{recovered}");
    net.restart_gateway()?;

    let s3 = net.s3().context("the network's own key is known again")?;
    let listed: Vec<String> = s3.list("kept")?;
    for (key, (seed, len)) in &known {
        s3.check_stream("kept", key, *seed, *len as u64).with_context(|| format!("{key} did not come back"))?;
    }
    // What was under way when the gateway died may be there; what was deleted before the checkpoint is not.
    let more: Vec<&String> = listed.iter().filter(|key| !known.contains_key(*key)).collect();
    ensure!(more.iter().all(|key| key.starts_with("storm/")) && more.len() <= 4, "these came back too: {more:?}");
    ensure!(s3.list("empty")?.is_empty(), "the empty bucket is there");
    let keys = cli::text(&net, &["key", "list"])?;
    ensure!(keys.contains(laptop["access_key"].as_str().context("a key")?), "{keys}");
    s3.put("kept", "after", &data::bytes(7, 50_000))?;
    net.collect()?;
    for (key, (seed, len)) in known.iter().take(60) {
        s3.check_stream("kept", key, *seed, *len as u64).with_context(|| format!("{key} was collected"))?;
    }
    Ok(())
}

#[test]
fn another_phrase_finds_nothing_and_says_so() -> Result<()> {
    let net = Localnet::start(4)?;
    net.s3()?.create_bucket("kept")?;
    net.s3()?.put("kept", "k", &data::bytes(1, 5_000))?;
    let words = net.scratch("words");
    std::fs::write(&words, "legal winner thank year wave sausage worth useful legal winner thank yellow")?;
    let dir = net.scratch("stranger");
    let said = recover(&net, &dir, &words).err().context("a stranger recovered something")?.to_string();
    ensure!(said.contains("exit status: 3") && said.contains("has anything of this account"), "{said}");
    ensure!(!dir.join("catalog").exists(), "an empty account is shown");
    std::fs::write(&words, "these are not twelve words of the list at all")?;
    let said = recover(&net, &net.scratch("other"), &words).err().context("no phrase was taken for one")?.to_string();
    ensure!(said.contains("exit status: 1") || said.contains("exit status: 2"), "{said}");
    Ok(())
}
