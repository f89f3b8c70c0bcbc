//! Versions: what a bucket keeps, how it is named, what deletes it, what locks it; tags, keys of customers, lifecycle.

use crate::client::{Answer, Ask};
use crate::world::World;

const ENABLE: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const SUSPEND: &str = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";

async fn versioning(world: &World, body: &str) {
    world.ask(Ask::new("PUT", "/bucket?versioning").body(body)).await.expect(200);
}

fn version(answer: &Answer) -> String {
    answer.header("x-amz-version-id").expect("a version").to_owned()
}

/// `(version, latest, is a delete marker)` of a listing, in its order.
async fn listed(world: &World) -> Vec<(String, bool, bool)> {
    let text = world.ask(Ask::new("GET", "/bucket?versions")).await.expect(200).text();
    let field = |entry: &str, name: &str| {
        let after = entry.split(&format!("<{name}>")).nth(1).unwrap_or_default();
        after.split('<').next().unwrap_or_default().to_owned()
    };
    let mut entries = Vec::new();
    for (tag, marker) in [("Version", false), ("DeleteMarker", true)] {
        for entry in text.split(&format!("<{tag}>")).skip(1) {
            entries.push((field(entry, "VersionId"), field(entry, "IsLatest") == "true", marker));
        }
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_makes_a_version_and_deleting_covers_it() {
    let world = World::with_bucket().await;
    world.put("k", "zero").await;
    versioning(&world, ENABLE).await;
    assert_eq!(world.ask(Ask::new("GET", "/bucket?versioning")).await.xml("Status").as_deref(), Some("Enabled"));
    let one = version(&world.put("k", "one").await);
    let two = version(&world.put("k", "two".repeat(50_000)).await);
    let of = |version: &str| Ask::new("GET", "/bucket/k").query("versionId", version);
    assert_eq!(world.ask(of("null")).await.expect(200).text(), "zero");
    assert_eq!(world.ask(of(&one)).await.expect(200).text(), "one");
    assert_eq!(world.get("k").await.expect(200).text().len(), 150_000);
    assert_eq!(listed(&world).await.len(), 3);

    let marker = world.ask(Ask::new("DELETE", "/bucket/k")).await.expect(204);
    assert_eq!(marker.header("x-amz-delete-marker"), Some("true"));
    let missing = world.get("k").await.expect_error(404, "NoSuchKey");
    assert_eq!(missing.header("x-amz-delete-marker"), Some("true"));
    world.ask(of(&version(&marker))).await.expect_error(405, "MethodNotAllowed");
    assert_eq!(world.ask(of(&two)).await.expect(200).text().len(), 150_000);
    assert!(!world.ask(Ask::new("GET", "/bucket")).await.text().contains("<Key>k</Key>"), "a covered key is not listed");
    world.ask(Ask::new("DELETE", "/bucket")).await.expect_error(409, "BucketNotEmpty");

    let uncovered = Ask::new("DELETE", "/bucket/k").query("versionId", &version(&marker));
    world.ask(uncovered).await.expect(204);
    assert_eq!(world.get("k").await.expect(200).text().len(), 150_000);
    world.ask(Ask::new("DELETE", "/bucket/k").query("versionId", &two)).await.expect(204);
    assert_eq!(world.get("k").await.expect(200).text(), "one");
    world.ask(of(&two)).await.expect_error(404, "NoSuchVersion");
    for version in [&one, "null"] {
        world.ask(Ask::new("DELETE", "/bucket/k").query("versionId", version)).await.expect(204);
    }
    assert!(listed(&world).await.is_empty());
    world.ask(Ask::new("DELETE", "/bucket")).await.expect(204);
    world.net.expect_no_shards(&world.objects).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_bucket_replaces_its_null_version_alone() {
    let world = World::with_bucket().await;
    versioning(&world, ENABLE).await;
    let kept = version(&world.put("k", "kept").await);
    versioning(&world, SUSPEND).await;
    for text in ["a", "b"] {
        assert_eq!(world.put("k", text).await.header("x-amz-version-id"), None);
    }
    assert_eq!(listed(&world).await, [("null".into(), true, false), (kept.clone(), false, false)]);
    let covered = world.ask(Ask::new("DELETE", "/bucket/k")).await.expect(204);
    assert_eq!(version(&covered), "null");
    assert_eq!(listed(&world).await, [(kept.clone(), false, false), ("null".into(), true, true)]);
    versioning(&world, ENABLE).await;
    let next = version(&world.put("k", "next").await);
    assert_eq!(listed(&world).await, [(next, true, false), (kept, false, false), ("null".into(), false, true)]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_page_by_page() {
    let world = World::with_bucket().await;
    versioning(&world, ENABLE).await;
    for key in ["a", "a/b", "b"] {
        for text in ["1", "2", "3"] {
            world.put(key, text).await;
        }
        world.ask(Ask::new("DELETE", &format!("/bucket/{key}"))).await.expect(204);
    }
    let (mut seen, mut pages, mut next) = (Vec::new(), 0, Some((String::new(), String::new())));
    while let Some((key, version)) = next {
        let ask = Ask::new("GET", "/bucket?versions&max-keys=5");
        let ask = if key.is_empty() { ask } else { ask.query("key-marker", &key).query("version-id-marker", &version) };
        let answer = world.ask(ask).await.expect(200);
        let text = answer.text();
        seen.extend(text.split("<VersionId>").skip(1).map(|part| part.split('<').next().unwrap().to_owned()));
        pages += 1;
        next = answer.xml("NextKeyMarker").map(|key| (key, answer.xml("NextVersionIdMarker").unwrap_or_default()));
    }
    assert_eq!((pages, seen.len()), (3, 12));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 12, "a version was listed twice");
    let folded = world.ask(Ask::new("GET", "/bucket?versions&delimiter=/")).await.expect(200).text();
    assert_eq!((folded.matches("<CommonPrefixes>").count(), folded.matches("<VersionId>").count()), (1, 8));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_change_and_the_bytes_stay() {
    let world = World::with_bucket().await;
    versioning(&world, ENABLE).await;
    for (key, len) in [("small", 10), ("large", 200_000)] {
        let body = crate::world::noise(len);
        let first = version(&world.put(key, &body).await);
        let target = format!("/bucket/{key}?tagging");
        let tagging = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
        let tagged = world.ask(Ask::new("PUT", &target).body(tagging)).await.expect(200);
        assert_eq!(version(&tagged), first, "tagging makes no version");
        assert_eq!(world.ask(Ask::new("GET", &target)).await.expect(200).xml("Value").as_deref(), Some("1"));
        let read = world.get(key).await.expect(200);
        assert_eq!(read.header("x-amz-tagging-count"), Some("1"));
        assert_eq!(read.body, body);
        world.ask(Ask::new("DELETE", &target)).await.expect(204);
        assert_eq!(world.get(key).await.expect(200).header("x-amz-tagging-count"), None);
        world.ask(Ask::new("DELETE", &format!("/bucket/{key}")).query("versionId", &first)).await.expect(204);
    }
    world.net.expect_no_shards(&world.objects).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_cannot_be_deleted() {
    let world = World::start().await;
    world.ask(Ask::new("PUT", "/bucket").header("x-amz-bucket-object-lock-enabled", "true")).await.expect(200);
    let until = "2099-01-01T00:00:00Z";
    let locked = |key: &str, mode: &str| {
        let put = Ask::new("PUT", &format!("/bucket/{key}")).body("x");
        put.header("x-amz-object-lock-mode", mode).header("x-amz-object-lock-retain-until-date", until)
    };
    for (key, mode, bypassed) in [("g", "GOVERNANCE", 204), ("c", "COMPLIANCE", 403)] {
        let stored = version(&world.ask(locked(key, mode)).await.expect(200));
        assert_eq!(world.get(key).await.expect(200).header("x-amz-object-lock-mode"), Some(mode));
        let delete = Ask::new("DELETE", &format!("/bucket/{key}")).query("versionId", &stored);
        world.ask(delete.clone()).await.expect_error(403, "AccessDenied");
        assert_eq!(world.ask(delete.header("x-amz-bypass-governance-retention", "true")).await.status, bypassed);
    }
    let held = version(&world.put("h", "x").await);
    let hold = |status: &str| {
        let body = format!("<LegalHold><Status>{status}</Status></LegalHold>");
        Ask::new("PUT", "/bucket/h?legal-hold").body(body)
    };
    world.ask(hold("ON")).await.expect(200);
    let delete = Ask::new("DELETE", "/bucket/h").query("versionId", &held);
    world.ask(delete.clone()).await.expect_error(403, "AccessDenied");
    world.ask(hold("OFF")).await.expect(200);
    world.ask(delete).await.expect(204);
    world.ask(Ask::new("PUT", "/bucket?versioning").body(SUSPEND)).await.expect_error(409, "InvalidBucketState");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_key_is_needed_again() {
    let world = World::with_bucket().await;
    let with = |ask: Ask, key: &str, md5: &str| {
        let name = "x-amz-server-side-encryption-customer-";
        let ask = ask.header(&format!("{name}algorithm"), "AES256").header(&format!("{name}key"), key);
        ask.header(&format!("{name}key-md5"), md5)
    };
    let (key, md5) = ("pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=", "DWygnHRtgiJ77HCm+1rvHw==");
    let (other, other_md5) = ("6b+WOZ1T3cqZMxgThRcXAQBrS5mXKdDUphvpxptl9/4=", "arxBvwY2V4SiOne6yppVPQ==");
    let put = world.ask(with(Ask::new("PUT", "/bucket/k").body("sealed"), key, md5)).await.expect(200);
    assert_eq!(put.header("x-amz-server-side-encryption-customer-key-md5"), Some(md5));
    world.get("k").await.expect_error(400, "InvalidRequest");
    world.ask(with(Ask::new("GET", "/bucket/k"), other, other_md5)).await.expect_error(400, "InvalidRequest");
    world.ask(with(Ask::new("GET", "/bucket/k"), key, other_md5)).await.expect_error(400, "InvalidArgument");
    assert_eq!(world.ask(with(Ask::new("GET", "/bucket/k"), key, md5)).await.expect(200).text(), "sealed");
    let copy = Ask::new("PUT", "/bucket/c").header("x-amz-copy-source", "/bucket/k");
    world.ask(copy).await.expect_error(400, "InvalidRequest");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_ends() {
    let short_days = cairn_gateway::objects::ObjectsConfig { day_ms: 600, ..crate::net::quiet() };
    let world = World::with_objects(Default::default(), short_days).await;
    world.ask(Ask::new("PUT", "/bucket")).await.expect(200);
    let rules = "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>log/</Prefix></Filter>\
                 <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    world.ask(Ask::new("PUT", "/bucket?lifecycle").body(rules)).await.expect(200);
    world.put("keep", "k").await;
    let stored = world.put("log/a", "a").await;
    assert!(stored.header("x-amz-expiration").expect("its end").contains("rule-id=\"r\""));
    let mut rounds = 0;
    while world.get("log/a").await.status == 200 {
        rounds += 1;
        assert!(rounds < 500, "the object does not end");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.get("log/a").await.expect_error(404, "NoSuchKey");
    world.get("keep").await.expect(200);
    world.stop().await;
}
