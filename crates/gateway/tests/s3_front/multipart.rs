//! Multipart uploads from beginning to end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::client::{Answer, Ask};
use crate::world::{World, noise};

const PART_LEN: usize = 5 << 20;

async fn begin(world: &World, key: &str) -> String {
    let answer = world.ask(Ask::new("POST", &format!("/bucket/{key}?uploads")).header("content-type", "text/x")).await;
    answer.expect(200).xml("UploadId").unwrap()
}

async fn part(world: &World, key: &str, upload: &str, number: u32, data: &[u8]) -> String {
    let ask = Ask::new("PUT", &format!("/bucket/{key}?partNumber={number}&uploadId={upload}")).body(data);
    world.ask(ask).await.expect(200).header("etag").unwrap().to_owned()
}

async fn complete(world: &World, key: &str, upload: &str, parts: &[(u32, &str)]) -> Answer {
    let part = |(number, etag): &(u32, &str)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    let parts: String = parts.iter().map(part).collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    world.ask(Ask::new("POST", &format!("/bucket/{key}?uploadId={upload}")).body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_object() {
    let world = World::with_bucket().await;
    let data = noise(PART_LEN + 1000);
    let upload = begin(&world, "k").await;
    let first = part(&world, "k", &upload, 1, &data[..PART_LEN]).await;
    let last = part(&world, "k", &upload, 5, &data[PART_LEN..]).await;
    let listed = world.ask(Ask::new("GET", &format!("/bucket/k?uploadId={upload}&max-parts=1"))).await.expect(200);
    assert_eq!(listed.xml("PartNumber").as_deref(), Some("1"));
    assert_eq!(listed.xml("NextPartNumberMarker").as_deref(), Some("1"));
    let uploads = world.ask(Ask::new("GET", "/bucket?uploads")).await.expect(200);
    assert_eq!(uploads.xml("UploadId").as_deref(), Some(&*upload));
    world.get("k").await.expect_error(404, "NoSuchKey");

    let done = complete(&world, "k", &upload, &[(1, &first), (5, &last)]).await.expect(200);
    let etag = done.xml("ETag").unwrap();
    assert!(etag.contains("-2"), "{etag}");
    assert_eq!(done.xml("Key").as_deref(), Some("k"));
    let whole = world.get("k").await.expect(200);
    assert_eq!(whole.body, data);
    assert_eq!(whole.header("content-type"), Some("text/x"));

    let second = world.ask(Ask::new("GET", "/bucket/k?partNumber=5")).await.expect(206);
    assert_eq!(second.body, data[PART_LEN..]);
    assert_eq!(second.header("x-amz-mp-parts-count"), Some("2"));
    let head = world.ask(Ask::new("HEAD", "/bucket/k?partNumber=5")).await.expect(206);
    assert_eq!(head.header("content-length"), Some("1000"));
    world.ask(Ask::new("GET", "/bucket/k?partNumber=2")).await.expect_error(416, "InvalidPartNumber");
    world.ask(Ask::new("GET", &format!("/bucket/k?uploadId={upload}"))).await.expect_error(404, "NoSuchUpload");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_that_do_not_fit_are_refused() {
    let world = World::with_bucket().await;
    let upload = begin(&world, "k").await;
    let small = part(&world, "k", &upload, 1, b"small").await;
    let other = part(&world, "k", &upload, 2, b"other").await;
    complete(&world, "k", &upload, &[(1, &small), (2, &other)]).await.expect_error(400, "EntityTooSmall");
    complete(&world, "k", &upload, &[(2, &other), (1, &small)]).await.expect_error(400, "InvalidPartOrder");
    complete(&world, "k", &upload, &[(1, &other)]).await.expect_error(400, "InvalidPart");
    complete(&world, "k", &upload, &[(3, &small)]).await.expect_error(400, "InvalidPart");
    complete(&world, "k", &upload, &[]).await.expect_error(400, "MalformedXML");
    complete(&world, "k", "0123456789abcdef0123456789abcdef", &[(1, &small)]).await.expect_error(404, "NoSuchUpload");
    for number in ["0", "10001"] {
        let ask = Ask::new("PUT", &format!("/bucket/k?partNumber={number}&uploadId={upload}"));
        world.ask(ask).await.expect_error(400, "InvalidArgument");
    }
    world.ask(Ask::new("DELETE", &format!("/bucket/k?uploadId={upload}"))).await.expect(204);
    world.ask(Ask::new("DELETE", &format!("/bucket/k?uploadId={upload}"))).await.expect_error(404, "NoSuchUpload");
    complete(&world, "k", &upload, &[(1, &small)]).await.expect_error(404, "NoSuchUpload");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_copied_by_range() {
    let world = World::with_bucket().await;
    world.put("source", "0123456789").await;
    let upload = begin(&world, "k").await;
    let copy = |range: Option<&str>| {
        let ask =
            Ask::new("PUT", &format!("/bucket/k?partNumber=1&uploadId={upload}")).header("x-amz-copy-source", "/bucket/source");
        match range {
            Some(range) => ask.header("x-amz-copy-source-range", range),
            None => ask,
        }
    };
    world.ask(copy(Some("bytes=5-20"))).await.expect_error(416, "InvalidRange");
    world.ask(copy(Some("bytes=5-"))).await.expect_error(400, "InvalidArgument");
    let etag = world.ask(copy(Some("bytes=2-5"))).await.expect(200).xml("ETag").unwrap();
    complete(&world, "k", &upload, &[(1, &etag)]).await.expect(200);
    assert_eq!(world.get("k").await.expect(200).text(), "2345");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composite_checksum_covers_the_parts() {
    let world = World::with_bucket().await;
    let ask = Ask::new("POST", "/bucket/k?uploads").header("x-amz-checksum-algorithm", "CRC32");
    let begun = world.ask(ask).await.expect(200);
    assert_eq!(begun.header("x-amz-checksum-type"), Some("COMPOSITE"));
    let upload = begun.xml("UploadId").unwrap();
    let value = BASE64.encode([0xcb, 0xf4, 0x39, 0x26]);
    let ask = Ask::new("PUT", &format!("/bucket/k?partNumber=1&uploadId={upload}")).header("x-amz-checksum-crc32", &value);
    let etag = world.ask(ask.body("123456789")).await.expect(200).header("etag").unwrap().to_owned();
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag>\
         <ChecksumCRC32>{value}</ChecksumCRC32></Part></CompleteMultipartUpload>"
    );
    let done = world.ask(Ask::new("POST", &format!("/bucket/k?uploadId={upload}")).body(body)).await.expect(200);
    // CRC-32 of the four bytes cb f4 39 26
    assert_eq!(done.xml("ChecksumType").as_deref(), Some("COMPOSITE"));
    assert!(done.xml("ChecksumCRC32").unwrap().ends_with("-1"));
    let part = Ask::new("GET", "/bucket/k?partNumber=1").header("x-amz-checksum-mode", "ENABLED");
    assert_eq!(world.ask(part).await.expect(206).header("x-amz-checksum-crc32"), Some(&*value));
    world.stop().await;
}
