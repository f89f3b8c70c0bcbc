//! A gateway's disk is lost, and the phrase is not: everything that was acknowledged comes back from the network alone.

#![allow(clippy::unwrap_used)]

mod net;

use std::collections::BTreeMap;
use std::path::Path;

use cairn_gateway::objects::Objects;
use cairn_gateway::objects::api::{
    DeleteItem, KeyScope, ListVersionsRequest, ObjectError, ObjectMeta, PutRequest, Versioning, WriteConditions,
};
use cairn_gateway::objects::checkpoint::Part;
use cairn_gateway::objects::recover::RecoverError;
use cairn_types::Amount;
use net::*;

/// Everything a user can see, as text.
async fn seen(objects: &Objects) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for bucket in objects.list_buckets().await.unwrap() {
        seen.insert(format!("bucket {}", bucket.name), format!("{bucket:?}"));
        let settings = objects.bucket(&bucket.name).await.unwrap();
        for config in ["policy", "lifecycle"] {
            seen.insert(format!("config {} {config}", bucket.name), format!("{:?}", settings.config(config)));
        }
        let cost = objects.bucket_cost(&bucket.name).await.unwrap();
        seen.insert(format!("cost {}", bucket.name), format!("{cost:?}"));
        let wanted = ListVersionsRequest { bucket: bucket.name.clone(), max_keys: 1000, ..Default::default() };
        for version in objects.list_versions(wanted).await.unwrap().versions {
            let name = format!("{}/{} {}", bucket.name, version.object.key, version.version);
            seen.insert(name.clone(), format!("{version:?}"));
            if !version.delete_marker {
                let info = objects.get_version(&bucket.name, &version.object.key, Some(version.version)).await.unwrap();
                seen.insert(format!("{name} known"), format!("{:?} {:?} {:?}", info.meta, info.control, info.checksums));
                let content = read(objects, &info, 0..info.len).await.unwrap();
                seen.insert(format!("{name} bytes"), format!("{} {:?}", content.len(), &content[..content.len().min(16)]));
            }
        }
    }
    for key in objects.list_keys().await.unwrap() {
        seen.insert(format!("key {}", key.access_key), format!("{key:?} {:?}", objects.secret_for(&key.access_key)));
    }
    seen
}

async fn fill(objects: &Objects) {
    for bucket in ["plain", "versioned", "empty"] {
        objects.create_bucket(bucket, "ann", "").await.unwrap();
    }
    objects.set_versioning("versioned", Versioning::Enabled).await.unwrap();
    objects.set_config("plain", "policy", Some("{\"Version\":\"2012-10-17\"}".into())).await.unwrap();
    objects.set_bucket_budget("plain", Some(Amount::from_credits(7))).await.unwrap();
    let scope = KeyScope { user: "ann".into(), bucket: "plain".into(), read_only: true, ..KeyScope::default() };
    objects.create_key_for("laptop", scope).await.unwrap();
    let gone = objects.create_key("old").await.unwrap();
    objects.revoke_key(&gone.access_key).await.unwrap();
    for (key, len) in [("small", 10), ("none", 0), ("middle", 70_000), ("large", 5_000_000), ("dir/ü 1", 3_000)] {
        put(objects, "plain", key, &bytes(len, len as u8)).await.unwrap();
    }
    let meta = ObjectMeta {
        user: BTreeMap::from([("colour".into(), "blue".into())]),
        tags: BTreeMap::from([("kind".into(), "test".into())]),
        ..ObjectMeta::default()
    };
    objects.put(PutRequest { meta, ..request("plain", "tagged") }, body(&bytes(100, 3))).await.unwrap();
    for seed in 1..=3 {
        put(objects, "versioned", "k", &bytes(2_000 * usize::from(seed), seed)).await.unwrap();
    }
    put(objects, "versioned", "covered", &bytes(90_000, 9)).await.unwrap();
    objects.delete("versioned", "covered", WriteConditions::default()).await.unwrap();
}

/// The gateway ends, and its catalog is gone.
async fn lost(world: &World, objects: Objects) {
    objects.stop().await;
    drop(objects);
    wait_for_end(world.dir.path()).await;
    world.lose_catalog();
}

async fn lost_and_recovered(world: &World, objects: Objects) -> Objects {
    lost(world, objects).await;
    let recovered = world.recover(world.dir.path(), false).await.unwrap();
    assert_eq!(recovered.missing, 0);
    world.open(quiet()).await
}

/// The catalog is free once its thread has ended.
async fn wait_for_end(dir: &Path) {
    for _ in 0..500 {
        let node = cairn_types::NodeId([0; 32]);
        match cairn_gateway::catalog::Catalog::open(dir, node) {
            Err(cairn_gateway::catalog::OpenError::Database { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            _ => return,
        }
    }
    panic!("the catalog stays locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_checkpoint_has_and_what_came_after_it_comes_back() {
    let world = World::new(5);
    let objects = world.open(quiet()).await;
    fill(&objects).await;
    for key in ["small", "large"] {
        objects.delete("plain", key, WriteConditions::default()).await.unwrap();
    }
    assert_eq!(objects.checkpoint_now().await.unwrap(), [Part::Settings, Part::Objects]);
    assert_eq!(objects.checkpoint_now().await.unwrap(), [], "nothing new is not said again");
    // After the checkpoint: a new object, a new version, a replaced object, more metadata.
    put(&objects, "plain", "after", &bytes(70_000, 8)).await.unwrap();
    put(&objects, "plain", "middle", &bytes(71_000, 7)).await.unwrap();
    put(&objects, "versioned", "k", &bytes(123, 6)).await.unwrap();
    let before = seen(&objects).await;
    let (epoch_shards, stats) = (world.shards(), objects.stats());
    let objects = lost_and_recovered(&world, objects).await;
    let after = seen(&objects).await;
    assert_eq!(after, before);
    assert!(!after.keys().any(|name| name.starts_with("plain/small ")), "what was deleted before the checkpoint stays deleted");
    let (was, is) = (stats, objects.stats());
    assert_eq!((is.buckets, is.objects, is.object_bytes), (was.buckets, was.objects, was.object_bytes));

    // It is a catalog like any other: it takes writes, and its collector leaves what is live.
    put(&objects, "plain", "new", &bytes(9_000, 5)).await.unwrap();
    let with_new = seen(&objects).await;
    let report = objects.collect_now().await;
    assert!(report.removed > 0, "old checkpoints and dead packs are garbage now: {report:?} of {epoch_shards}");
    assert_eq!(seen(&objects).await, with_new);
    let health = objects.health().await.unwrap();
    assert_eq!((health.whole, health.lost), (health.segments, 0));
    // And once more, from its own checkpoints.
    objects.checkpoint_now().await.unwrap();
    let objects = lost_and_recovered(&world, objects).await;
    assert_eq!(seen(&objects).await, with_new);
    objects.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_checkpoint_the_packs_alone_give_the_objects_back() {
    let world = World::new(4);
    let objects = world.open(quiet()).await;
    fill(&objects).await;
    let before = seen(&objects).await;
    let objects = lost_and_recovered(&world, objects).await;
    let after = seen(&objects).await;
    let bytes_of = |seen: &BTreeMap<String, String>| -> Vec<(String, String)> {
        seen.iter().filter(|(name, _)| name.ends_with(" bytes")).map(|(name, text)| (name.clone(), text.clone())).collect()
    };
    assert_eq!(bytes_of(&after), bytes_of(&before));
    let bucket = objects.head_bucket("versioned").await.unwrap();
    assert_eq!((bucket.versioning, bucket.owner.as_str()), (Versioning::Enabled, "owner"));
    assert!(!after.contains_key("bucket empty"), "an empty bucket is known to checkpoints alone");
    objects.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_providers_another_phrase_and_a_catalog_that_is_there_are_refused() {
    let world = World::new(5);
    let objects = world.open(quiet()).await;
    fill(&objects).await;
    objects.checkpoint_now().await.unwrap();
    let before = seen(&objects).await;
    assert!(matches!(world.recover(world.dir.path(), false).await, Err(RecoverError::NotEmpty(_))));
    lost(&world, objects).await;

    // Three of five providers away: two shards of each segment suffice for some and not for others.
    (0..4).for_each(|provider| world.set_up(provider, false));
    let few = world.recover(world.dir.path(), false).await;
    assert!(matches!(few, Err(RecoverError::Missing { .. } | RecoverError::Nothing { .. })), "{few:?}");
    assert!(!world.dir.path().join("catalog").exists());
    (0..4).for_each(|provider| world.set_up(provider, true));

    let mut stranger =
        World { net: world.net.clone(), dir: tempfile::tempdir().unwrap(), phrase: cairn_types::Phrase::from_entropy([3; 16]) };
    assert!(matches!(stranger.recover(stranger.dir.path(), false).await, Err(RecoverError::Nothing { .. })));
    stranger.phrase = world.phrase.clone();

    // One provider away is no loss.
    world.set_up(2, false);
    world.recover(world.dir.path(), false).await.unwrap();
    let objects = world.open(quiet()).await;
    assert_eq!(seen(&objects).await, before);
    objects.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_catalog_beside_an_old_network_collects_nothing_of_it() {
    let world = World::new(4);
    let objects = world.open(quiet()).await;
    fill(&objects).await;
    let before = seen(&objects).await;
    lost(&world, objects).await;
    // Somebody starts the gateway without recovering first.
    let objects = world.open(quiet()).await;
    let shards = world.shards();
    let report = objects.collect_now().await;
    assert_eq!((report.removed, report.from_earlier_catalog, world.shards()), (0, shards, shards));
    lost(&world, objects).await;
    world.recover(world.dir.path(), false).await.unwrap();
    let objects = world.open(quiet()).await;
    let bytes_of = |seen: &BTreeMap<String, String>| seen.keys().filter(|name| name.ends_with(" bytes")).count();
    assert_eq!(bytes_of(&seen(&objects).await), bytes_of(&before));
    let deleted = objects.delete_version("versioned", DeleteItem { key: "k".into(), ..DeleteItem::default() }, "ann").await;
    assert!(deleted.unwrap().delete_marker);
    objects.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_gateway_that_comes_back_cannot_fork_the_catalog() {
    let world = World::new(8);
    let objects = world.open(quiet()).await;
    fill(&objects).await;
    objects.checkpoint_now().await.unwrap();
    objects.stop().await;
    drop(objects);
    wait_for_end(world.dir.path()).await;
    // Its machine is thought to be lost, and is not.
    let old = world.dir.path().join("old");
    std::fs::create_dir(&old).unwrap();
    std::fs::rename(world.dir.path().join("catalog"), old.join("catalog")).unwrap();
    world.recover(world.dir.path(), false).await.unwrap();
    let objects = world.open(quiet()).await;
    put(&objects, "plain", "since", &bytes(200_000, 9)).await.unwrap();
    objects.delete("plain", "small", WriteConditions::default()).await.unwrap();
    let (before, shards) = (seen(&objects).await, world.shards());

    let back = world.open_in(&old, quiet()).await;
    for key in ["late", "since"] {
        match put(&back, "plain", key, &bytes(100_000, 1)).await {
            Err(ObjectError::Unavailable(why) | ObjectError::NotEnoughProviders(why)) if why.contains("take") => {}
            other => panic!("an earlier catalog wrote {key}: {other:?}"),
        }
    }
    match put(&back, "plain", "later", &bytes(1, 1)).await {
        Err(ObjectError::Unavailable(why)) if why.contains("taken over") => {}
        other => panic!("not told why: {other:?}"),
    }
    // It still lets go of what it knows, in its own catalog, and of nothing on the network.
    back.delete("plain", "large", WriteConditions::default()).await.unwrap();
    let report = back.collect_now().await;
    assert_eq!(report.removed, 0, "{report:?}");
    assert_eq!((seen(&objects).await, world.shards()), (before, shards));
    back.stop().await;
    put(&objects, "plain", "after", &bytes(100_000, 2)).await.expect("the later one writes on");
    objects.stop().await;
}
