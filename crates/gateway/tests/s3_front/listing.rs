//! Listings, both versions: prefixes, delimiters, pages, encoding.

use crate::client::Ask;
use crate::world::World;

fn all(text: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&open).skip(1).filter_map(|rest| rest.split_once(&close).map(|(value, _)| value.to_owned())).collect()
}

async fn filled() -> World {
    let world = World::with_bucket().await;
    for key in ["a/1", "a/2", "b", "c d+e", "f/ü/x", "z"] {
        world.put(key, key).await;
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn version_two_pages_through_keys_and_prefixes() {
    let world = filled().await;
    let mut seen = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut ask = Ask::new("GET", "/bucket?list-type=2&delimiter=/&max-keys=2");
        if let Some(token) = &token {
            ask = ask.query("continuation-token", token);
        }
        let answer = world.ask(ask).await.expect(200);
        let text = answer.text();
        seen.extend(all(&text, "Key"));
        seen.extend(all(&text, "CommonPrefixes").iter().map(|prefix| all(prefix, "Prefix").remove(0)));
        assert!(all(&text, "Key").len() + all(&text, "CommonPrefixes").len() <= 2);
        assert_eq!(answer.xml("MaxKeys").as_deref(), Some("2"));
        token = answer.xml("NextContinuationToken");
        assert_eq!(answer.xml("IsTruncated").as_deref(), Some(if token.is_some() { "true" } else { "false" }));
        if token.is_none() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, ["a/", "b", "c d+e", "f/", "z"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_two_knows_its_arguments() {
    let world = filled().await;
    let keys = async |ask: Ask| all(&world.ask(ask).await.expect(200).text(), "Key");
    let list = || Ask::new("GET", "/bucket?list-type=2");
    assert_eq!(keys(list().query("prefix", "a/")).await, ["a/1", "a/2"]);
    assert_eq!(keys(list().query("start-after", "c d+e")).await, ["f/ü/x", "z"]);
    assert_eq!(keys(list().query("encoding-type", "url").query("prefix", "c")).await, ["c%20d%2Be"]);
    assert_eq!(keys(list().query("encoding-type", "url").query("prefix", "f")).await, ["f/%C3%BC/x"]);
    let none = world.ask(list().query("max-keys", "0")).await.expect(200);
    assert_eq!((none.xml("KeyCount").as_deref(), none.xml("IsTruncated").as_deref()), (Some("0"), Some("false")));
    assert_eq!(world.ask(list()).await.xml("Owner"), None);
    assert!(world.ask(list().query("fetch-owner", "true")).await.xml("Owner").is_some());
    for (name, value) in [("max-keys", "-1"), ("continuation-token", "junk!"), ("encoding-type", "base64")] {
        world.ask(list().query(name, value)).await.expect_error(400, "InvalidArgument");
    }
    world.ask(Ask::new("GET", "/nobucket?list-type=2")).await.expect_error(404, "NoSuchBucket");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_one_always_says_its_marker() {
    let world = filled().await;
    let first = world.ask(Ask::new("GET", "/bucket?delimiter=/&max-keys=3")).await.expect(200);
    assert_eq!(first.xml("Marker").as_deref(), Some(""));
    assert_eq!(first.xml("NextMarker").as_deref(), Some("c d+e"));
    assert!(first.xml("Owner").is_some());
    let next = world.ask(Ask::new("GET", "/bucket?delimiter=/").query("marker", "c d+e")).await.expect(200);
    assert_eq!(next.xml("Marker").as_deref(), Some("c d+e"));
    assert_eq!(all(&next.text(), "Key"), ["z"]);
    assert_eq!(all(&next.text(), "CommonPrefixes"), ["<Prefix>f/</Prefix>"]);
    let plain = world.ask(Ask::new("GET", "/bucket?max-keys=1")).await.expect(200);
    assert_eq!((plain.xml("IsTruncated").as_deref(), plain.xml("NextMarker")), (Some("true"), None));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_versions_lists_null_versions() {
    let world = filled().await;
    let answer = world.ask(Ask::new("GET", "/bucket?versions&prefix=a/")).await.expect(200);
    assert_eq!(all(&answer.text(), "Key"), ["a/1", "a/2"]);
    assert_eq!(all(&answer.text(), "VersionId"), ["null", "null"]);
    let versioning = world.ask(Ask::new("GET", "/bucket?versioning")).await.expect(200);
    assert_eq!(versioning.xml("Status"), None);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_cannot_hold_is_refused_and_never_an_internal_error() {
    let world = World::with_bucket().await;
    for (odd, encoded) in [("\0t<", "%00t%3C"), ("\u{1f}", "%1F"), ("\u{fffe}", "%EF%BF%BE")] {
        for name in ["prefix", "x-id", "continuation-token", "any"] {
            world.ask(Ask::new("GET", "/").query(name, odd)).await.expect_error(400, "InvalidArgument");
        }
        world.ask(Ask::new("GET", "/bucket").query("prefix", odd).query("delimiter", odd)).await.expect(200);
        let tagged = Ask::new("PUT", "/bucket/tagged").header("x-amz-tagging", &format!("name={encoded}")).body("x");
        world.ask(tagged).await.expect_error(400, "InvalidTag");
        world.ask(Ask::new("POST", &format!("/bucket/{odd}?uploads"))).await.expect_error(400, "InvalidArgument");
        world.put(odd, "x").await;
        assert_eq!(world.get(odd).await.expect(200).text(), "x", "{odd:?}");
    }
    let tags = "<Tagging><TagSet><Tag><Key>name</Key><Value>&#1;</Value></Tag></TagSet></Tagging>";
    world.put("k", "x").await;
    world.ask(Ask::new("PUT", "/bucket/k?tagging").body(tags)).await.expect_error(400, "MalformedXML");
    world.stop().await;
}
