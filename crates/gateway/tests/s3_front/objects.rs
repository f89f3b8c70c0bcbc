//! Buckets and objects: what goes in comes out, under the conditions that were asked.

use cairn_gateway::s3::S3Config;

use crate::client::Ask;
use crate::world::{World, noise};

#[tokio::test(flavor = "multi_thread")]
async fn buckets_come_and_go() {
    let world = World::start().await;
    let ask = async |method, target: &str| world.ask(Ask::new(method, target)).await;
    ask("HEAD", "/bucket").await.expect(404);
    ask("PUT", "/bucket").await.expect(200);
    ask("PUT", "/bucket").await.expect(200); // as us-east-1 does
    ask("PUT", "/Bad_Name").await.expect_error(400, "InvalidBucketName");
    assert_eq!(ask("HEAD", "/bucket").await.expect(200).header("x-amz-bucket-region"), Some("us-east-1"));
    assert_eq!(ask("GET", "/").await.expect(200).xml("Name").as_deref(), Some("bucket"));
    assert_eq!(ask("GET", "/bucket?location").await.expect(200).xml("Code"), None);
    world.put("k", "x").await;
    ask("DELETE", "/bucket").await.expect_error(409, "BucketNotEmpty");
    ask("DELETE", "/bucket/k").await.expect(204);
    ask("DELETE", "/bucket").await.expect(204);
    ask("DELETE", "/bucket").await.expect_error(404, "NoSuchBucket");
    ask("GET", "/bucket?inventory&id=x").await.expect_error(501, "NotImplemented");
    let body = "<CreateBucketConfiguration><LocationConstraint>mars</LocationConstraint></CreateBucketConfiguration>";
    world.ask(Ask::new("PUT", "/other").body(body)).await.expect_error(400, "InvalidLocationConstraint");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_every_size_come_back_as_they_went_in() {
    let world = World::with_bucket().await;
    for len in [0, 1, 4096, 65_536, 65_537, 1 << 20, 3_000_001] {
        let data = noise(len);
        let etag = world.put("k", &data).await.header("etag").unwrap().to_owned();
        let answer = world.get("k").await.expect(200);
        assert_eq!(answer.body, data, "{len}");
        assert_eq!(answer.header("etag"), Some(&*etag));
        assert_eq!(answer.header("content-type"), Some("binary/octet-stream"));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        let head = world.ask(Ask::new("HEAD", "/bucket/k")).await.expect(200);
        assert_eq!(head.header("content-length"), Some(&*len.to_string()));
    }
    assert_eq!(world.put("k", "").await.header("etag"), Some("\"d41d8cd98f00b204e9800998ecf8427e\""));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_keys_are_keys() {
    let world = World::with_bucket().await;
    let long = "k".repeat(1024);
    for key in ["a b", "ü/日本", "a+b&c=d?e#f%", "..", "a/../b", "//", "trailing/", "quote'\"<>", &long] {
        eprintln!("{key}");
        world.put_raw(key, key).await.expect(200);
        let path = format!("/bucket/{}", crate::signer::encode(key, true));
        let get = Ask { path, ..Ask::new("GET", "/bucket") };
        assert_eq!(world.ask(get).await.expect(200).text(), key);
    }
    world.put_raw(&"k".repeat(1025), "x").await.expect_error(400, "KeyTooLongError");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_metadata_are_kept_and_overridden() {
    let world = World::with_bucket().await;
    let put = Ask::new("PUT", "/bucket/k")
        .header("content-type", "text/plain")
        .header("cache-control", "max-age=5")
        .header("content-disposition", "inline")
        .header("content-encoding", "gzip")
        .header("content-language", "de")
        .header("expires", "Thu, 01 Dec 2030 16:00:00 GMT")
        .header("x-amz-meta-Some", "plain")
        .header("x-amz-meta-word", "=?UTF-8?B?w7xiZXI=?=")
        .header("x-amz-tagging", "a=1&b=2");
    world.ask(put.body("x")).await.expect(200);
    for method in ["GET", "HEAD"] {
        let answer = world.ask(Ask::new(method, "/bucket/k")).await.expect(200);
        for (name, value) in [
            ("content-type", "text/plain"),
            ("cache-control", "max-age=5"),
            ("content-disposition", "inline"),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("expires", "Thu, 01 Dec 2030 16:00:00 GMT"),
            ("x-amz-meta-some", "plain"),
            ("x-amz-tagging-count", "2"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {name}");
        }
        assert!(answer.header("x-amz-meta-word").unwrap().starts_with("=?UTF-8?"), "{answer:?}");
    }
    let override_all = Ask::new("GET", "/bucket/k")
        .query("response-content-type", "a/b")
        .query("response-content-disposition", "attachment; filename=\"x y\"")
        .query("response-cache-control", "no-cache");
    let answer = world.ask(override_all).await.expect(200);
    assert_eq!(answer.header("content-type"), Some("a/b"));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"x y\""));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let tags = world.ask(Ask::new("GET", "/bucket/k?tagging")).await.expect(200);
    assert_eq!(tags.xml("Key").as_deref(), Some("a"));
    let heavy = Ask::new("PUT", "/bucket/k").header("x-amz-meta-a", &"v".repeat(2048));
    world.ask(heavy).await.expect_error(400, "MetadataTooLarge");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_give_206_or_416() {
    let world = World::with_bucket().await;
    let data = noise(300_000);
    world.put("k", &data).await;
    for (range, bytes) in [
        ("bytes=0-0", 0..1),
        ("bytes=100-65600", 100..65_601),
        ("bytes=299999-", 299_999..300_000),
        ("bytes=-7", 299_993..300_000),
        ("bytes=299990-999999", 299_990..300_000),
    ] {
        let answer = world.ask(Ask::new("GET", "/bucket/k").header("range", range)).await.expect(206);
        assert_eq!(answer.body, data[bytes.clone()], "{range}");
        let expected = format!("bytes {}-{}/300000", bytes.start, bytes.end - 1);
        assert_eq!(answer.header("content-range"), Some(&*expected));
        let head = world.ask(Ask::new("HEAD", "/bucket/k").header("range", range)).await.expect(206);
        assert_eq!(head.header("content-length"), Some(&*bytes.len().to_string()));
    }
    let outside = world.ask(Ask::new("GET", "/bucket/k").header("range", "bytes=300000-")).await;
    assert_eq!(outside.expect_error(416, "InvalidRange").header("content-range"), Some("bytes */300000"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_reads_follow_the_validators() {
    let world = World::with_bucket().await;
    let etag = world.put("k", "x").await.header("etag").unwrap().to_owned();
    let (past, future) = ("Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 31 Dec 2100 00:00:00 GMT");
    for (name, value, status) in [
        ("if-match", &*etag, 200),
        ("if-match", "\"other\"", 412),
        ("if-match", "*", 200),
        ("if-none-match", &*etag, 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", past, 200),
        ("if-modified-since", future, 304),
        ("if-unmodified-since", past, 412),
        ("if-unmodified-since", future, 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = world.ask(Ask::new(method, "/bucket/k").header(name, value)).await;
            assert_eq!(answer.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(answer.header("etag"), Some(&*etag));
            }
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_writes_do_not_overwrite() {
    let world = World::with_bucket().await;
    let put = |name: &str, value: &str, body: &str| Ask::new("PUT", "/bucket/k").header(name, value).body(body);
    world.ask(put("if-match", "\"any\"", "a")).await.expect_error(404, "NoSuchKey");
    let etag = world.ask(put("if-none-match", "*", "a")).await.expect(200).header("etag").unwrap().to_owned();
    world.ask(put("if-none-match", "*", "b")).await.expect_error(412, "PreconditionFailed");
    world.ask(put("if-none-match", &etag, "b")).await.expect_error(412, "PreconditionFailed");
    world.ask(put("if-match", "\"other\"", "b")).await.expect_error(412, "PreconditionFailed");
    assert_eq!(world.get("k").await.text(), "a");
    world.ask(put("if-match", &etag, "b")).await.expect(200);
    assert_eq!(world.get("k").await.text(), "b");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_keep_or_replace_what_is_said_about_them() {
    let world = World::with_bucket().await;
    let put = Ask::new("PUT", "/bucket/a b").header("x-amz-meta-m", "1").header("content-type", "x/y").body("data");
    let etag = world.ask(put).await.expect(200).header("etag").unwrap().to_owned();
    let copy = |target: &str| Ask::new("PUT", target).header("x-amz-copy-source", "/bucket/a%20b");
    let done = world.ask(copy("/bucket/kept")).await.expect(200);
    assert_eq!(done.xml("ETag").map(|shown| shown.replace("&quot;", "\"")), Some(etag.clone()));
    let kept = world.get("kept").await.expect(200);
    assert_eq!(
        (kept.text().as_str(), kept.header("x-amz-meta-m"), kept.header("content-type")),
        ("data", Some("1"), Some("x/y"))
    );
    let replace = copy("/bucket/replaced").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-n", "2");
    world.ask(replace).await.expect(200);
    let replaced = world.get("replaced").await.expect(200);
    assert_eq!((replaced.header("x-amz-meta-m"), replaced.header("x-amz-meta-n")), (None, Some("2")));
    world.ask(copy("/bucket/a b")).await.expect_error(400, "InvalidRequest");
    world.ask(copy("/bucket/c").header("x-amz-copy-source-if-match", "\"other\"")).await.expect_error(412, "PreconditionFailed");
    world.ask(copy("/bucket/c").header("x-amz-copy-source-if-none-match", &etag)).await.expect_error(412, "PreconditionFailed");
    world.ask(copy("/bucket/c").header("x-amz-copy-source-if-match", &etag)).await.expect(200);
    let missing = Ask::new("PUT", "/bucket/c").header("x-amz-copy-source", "/bucket/none");
    world.ask(missing).await.expect_error(404, "NoSuchKey");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_delete_and_name_what_they_could_not() {
    let world = World::with_bucket().await;
    for key in ["a", "b", "c"] {
        world.put(key, key).await;
    }
    let delete = async |objects: &str, quiet: bool| {
        let body = format!("<Delete><Quiet>{quiet}</Quiet>{objects}</Delete>");
        world.ask(Ask::new("POST", "/bucket?delete").body(body)).await
    };
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let mixed = format!("{}{}<Object><Key>c</Key><VersionId>xyz</VersionId></Object>", object("a"), object("none"));
    let answer = delete(&mixed, false).await.expect(200);
    assert_eq!(answer.text().matches("<Deleted>").count(), 2);
    assert_eq!(answer.xml("Code").as_deref(), Some("NoSuchVersion"));
    let answer = delete(&object("b"), true).await.expect(200);
    assert_eq!(answer.text().matches("<Deleted>").count(), 0);
    for (key, status) in [("a", 404), ("b", 404), ("c", 200)] {
        world.get(key).await.expect(status);
    }
    let many: String = (0..1001).map(|number| object(&number.to_string())).collect();
    delete(&many, false).await.expect_error(400, "MalformedXML");
    delete("", false).await.expect_error(400, "MalformedXML");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_can_be_named_by_host() {
    let world = World::with(S3Config { domain: Some("s3.example.com".into()), ..S3Config::default() }).await;
    world.ask(Ask::new("PUT", "/bucket")).await.expect(200);
    world.put("k", "by path").await;
    let (head, _) = Ask::new("GET", "/k").signed(&world.scope(), "bucket.s3.example.com");
    assert_eq!(world.send("GET", &head, b"").await.expect(200).text(), "by path");
    let (head, _) = Ask::new("GET", "/bucket/k").signed(&world.scope(), "s3.example.com");
    assert_eq!(world.send("GET", &head, b"").await.expect(200).text(), "by path");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_own_request_id() {
    let world = World::with_bucket().await;
    let mut ids = std::collections::HashSet::new();
    for target in ["/bucket", "/", "/none", "/bucket/none"] {
        let answer = world.ask(Ask::new("GET", target)).await;
        assert!(ids.insert(answer.header("x-amz-request-id").unwrap().to_owned()));
        if answer.status >= 400 {
            assert_eq!(answer.xml("RequestId").as_deref(), answer.header("x-amz-request-id"));
            assert_eq!(answer.xml("Resource").as_deref(), Some(target));
        }
    }
    world.stop().await;
}
