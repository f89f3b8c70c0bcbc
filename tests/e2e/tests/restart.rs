//! Everything may be stopped and started again: objects, keys, endpoint and identities stay.

use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_e2e::proc::wait_until;
use cairn_e2e::{Body, Localnet, data};

const OBJECTS: [(&str, u64); 4] = [("tiny", 3), ("packed", 20_000), ("one segment", 9_000_000), ("segments", 150_000_000)];

#[test]
fn a_network_started_again_in_the_same_directory_finds_everything() -> Result<()> {
    let mut net = Localnet::start(8)?;
    let before = net.ready().clone();
    net.s3()?.create_bucket("kept")?;
    for (seed, (key, len)) in OBJECTS.iter().enumerate() {
        net.s3()?.put_stream("kept", key, seed as u64, *len)?.expect_status(200)?;
    }
    for start in 0..2 {
        net = Localnet::start_in(net.stop()?, 8)?;
        let now = net.ready();
        ensure!(now.endpoint == before.endpoint && now.region == before.region, "the endpoint moved to {}", now.endpoint);
        ensure!((&now.access_key, &now.secret_key) == (&before.access_key, &before.secret_key), "the keys changed");
        for (was, is) in before.providers.iter().zip(&now.providers) {
            ensure!((&was.name, &was.peer_id, &was.dir) == (&is.name, &is.peer_id, &is.dir), "{was:?} became {is:?}");
        }
        for (seed, (key, len)) in OBJECTS.iter().enumerate() {
            net.s3()?.check_stream("kept", key, seed as u64, *len)?;
        }
        net.s3()?.put("kept", &format!("written at start {start}"), &data::bytes(9, 70_000))?;
    }
    ensure!(net.s3()?.list("kept")?.len() == OBJECTS.len() + 2, "objects appeared or vanished");
    Ok(())
}

#[test]
fn all_providers_killed_at_once_come_back_with_every_acknowledged_object() -> Result<()> {
    let mut net = Localnet::start(8)?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    for (seed, (key, len)) in OBJECTS.iter().enumerate() {
        s3.put_stream("kept", key, seed as u64, *len)?.expect_status(200)?;
    }
    for index in 0..8 {
        net.kill_provider(index)?;
    }
    let without = s3.send("GET", "kept", "packed", &[], &[], Body::Empty)?;
    ensure!(without.status >= 500, "a read without providers was answered with {}", without.status);
    for index in 0..8 {
        net.restart_provider(index)?;
    }
    for (seed, (key, len)) in OBJECTS.iter().enumerate() {
        wait_until("reads to work again", Duration::from_secs(30), || {
            Ok(Some(s3.check_stream("kept", key, seed as u64, *len)?))
        })?;
    }
    Ok(())
}

#[test]
fn a_killed_gateway_comes_back_with_every_acknowledged_object() -> Result<()> {
    let mut net = Localnet::start(8)?;
    let s3 = net.s3()?;
    s3.create_bucket("kept")?;
    for round in 0..3u64 {
        let mut acknowledged = Vec::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let put = |index: u64| s3.put_stream("kept", &format!("{round}/{index}"), index, 1 + index * 7919 % 400_000);
                (0..200).take_while(|index| matches!(put(*index), Ok(answer) if answer.status == 200)).collect::<Vec<_>>()
            });
            std::thread::sleep(Duration::from_millis(700));
            net.kill_gateway()?;
            acknowledged = writer.join().expect("the writer does not panic");
            anyhow::Ok(())
        })?;
        net.restart_gateway()?;
        for index in acknowledged {
            s3.check_stream("kept", &format!("{round}/{index}"), index, 1 + index * 7919 % 400_000)?;
        }
        for key in s3.list("kept")? {
            let index: u64 = key.rsplit_once('/').map_or("0", |(_, index)| index).parse()?;
            s3.check_stream("kept", &key, index, 1 + index * 7919 % 400_000)?;
        }
    }
    wait_until("uploads to work", Duration::from_secs(30), || Ok(s3.put("kept", "after/1", &data::bytes(1, 7920)).ok()))?;
    ensure!(s3.get("kept", "after/1")? == data::bytes(1, 7920), "an object stored after the restarts came back different");
    Ok(())
}
