//! The gateway dies at random moments: what was acknowledged is there afterwards, what was not leaves nothing for ever.

mod net;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_gateway::objects::api::WriteConditions;
use net::*;

const BUCKET: &str = "bucket";
const ROUNDS: u64 = 8;

/// What must hold after a crash: key → seed and length of what was acknowledged last; `None` while a change was under way.
type Known = Arc<Mutex<HashMap<String, Option<(u8, usize)>>>>;

async fn load(objects: cairn_gateway::objects::Objects, worker: u8, round: u8, known: Known) {
    for turn in 0u8.. {
        let key = format!("w{worker}-{}", turn % 5);
        let len = [0, 900, 5000, 70_000, 300_000][usize::from((turn ^ round) % 5)];
        let seed = worker.wrapping_mul(50).wrapping_add(turn).wrapping_add(round);
        known.lock().expect("no panic").insert(key.clone(), None);
        if turn % 7 == 6 {
            let deleted = objects.delete(BUCKET, &key, WriteConditions::default()).await.is_ok();
            if deleted {
                known.lock().expect("no panic").remove(&key);
            }
        } else if put(&objects, BUCKET, &key, &bytes(len, seed)).await.is_ok() {
            known.lock().expect("no panic").insert(key, Some((seed, len)));
        }
    }
}

#[test]
fn acknowledged_objects_survive_a_gateway_that_dies_and_nothing_leaks() {
    // Providers live in a runtime of their own: only the gateway dies.
    let providers = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = providers.enter();
    let world = World::new(5);
    let known = Known::default();
    for round in 0..ROUNDS {
        let gateway = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        gateway.block_on(async {
            let objects = world.open(quiet()).await;
            let _ = objects.create_bucket(BUCKET, "me", "").await;
            let settled = known.lock().expect("no panic").clone();
            for (key, state) in settled {
                if let Some((seed, len)) = state {
                    let read_back =
                        get(&objects, BUCKET, &key).await.unwrap_or_else(|error| panic!("round {round}, {key}: {error}"));
                    assert!(read_back == bytes(len, seed), "round {round}, {key}: other bytes");
                }
            }
            for worker in 0..4 {
                tokio::spawn(load(objects.clone(), worker, round as u8, known.clone()));
            }
            tokio::time::sleep(Duration::from_millis(150 + 61 * round)).await;
        });
        // Every task is dropped where it stands.
        gateway.shutdown_timeout(Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    providers.block_on(async {
        let objects = world.open(quiet()).await;
        let page = objects
            .list(cairn_gateway::objects::api::ListRequest { bucket: BUCKET.into(), max_keys: 1000, ..Default::default() })
            .await
            .expect("a page");
        for listed in page.objects {
            let read_back = get(&objects, BUCKET, &listed.key).await.expect("what is listed is readable");
            assert_eq!(hex::encode(<md5::Md5 as md5::Digest>::digest(&read_back)), listed.etag, "{}", listed.key);
            objects.delete(BUCKET, &listed.key, WriteConditions::default()).await.expect("deleted");
        }
        world.expect_no_shards(&objects).await;
        let stats = objects.stats();
        assert_eq!((stats.objects, stats.blobs, stats.blob_bytes, stats.packs, stats.trash), (0, 0, 0, 0, 0), "{stats:?}");
    });
}
