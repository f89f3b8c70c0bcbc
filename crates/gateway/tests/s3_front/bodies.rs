//! Bodies: what is checked while they arrive, in every framing, and what is left when a check fails: nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_gateway::s3::S3Config;
use std::time::Duration;

use crate::client::{Ask, aws_chunked};
use crate::world::{World, noise};

/// CRC-32 of "123456789" is cbf43926, the check value of the algorithm's catalogue entry; likewise the others.
const CHECKED: &str = "123456789";
const CRC32: [u8; 4] = [0xcb, 0xf4, 0x39, 0x26];
const CHECK_VALUES: [(&str, &str); 5] = [
    ("x-amz-checksum-crc32", "cbf43926"),
    ("x-amz-checksum-crc32c", "e3069283"),
    ("x-amz-checksum-crc64nvme", "ae8b14860a799888"),
    ("x-amz-checksum-sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
    ("x-amz-checksum-sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_checksum_is_checked_kept_and_shown() {
    let world = World::with_bucket().await;
    for (header, hex) in CHECK_VALUES {
        eprintln!("{header}");
        let value = BASE64.encode(hex::decode(hex).unwrap());
        let put = |body: &str, value: &str| Ask::new("PUT", "/bucket/k").header(header, value).body(body);
        let answer = world.ask(put(CHECKED, &value)).await.expect(200);
        assert_eq!(answer.header(header), Some(&*value));
        assert_eq!(answer.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        for method in ["GET", "HEAD"] {
            let asked = world.ask(Ask::new(method, "/bucket/k").header("x-amz-checksum-mode", "ENABLED")).await.expect(200);
            assert_eq!(asked.header(header), Some(&*value), "{method}");
            assert_eq!(world.ask(Ask::new(method, "/bucket/k")).await.expect(200).header(header), None, "{method}");
        }
        let part = Ask::new("GET", "/bucket/k").header("x-amz-checksum-mode", "ENABLED").header("range", "bytes=0-3");
        assert_eq!(world.ask(part).await.expect(206).header(header), None);
        world.ask(put("other", &value)).await.expect_error(400, "BadDigest");
        world.ask(put(CHECKED, "bm90IGl0")).await.expect_error(400, "BadDigest");
        assert_eq!(world.get("k").await.expect(200).text(), CHECKED);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_md5_is_checked() {
    let world = World::with_bucket().await;
    let put = |md5: &str| Ask::new("PUT", "/bucket/k").header("content-md5", md5).body(CHECKED);
    world.ask(put("JfnnlDI7RTiF9RgfG2JNCw==")).await.expect(200);
    world.ask(put("1B2M2Y8AsgTpgAmY7PhCfg==")).await.expect_error(400, "BadDigest");
    world.ask(put("too short")).await.expect_error(400, "InvalidDigest");
    world.ask(put("YQ==")).await.expect_error(400, "InvalidDigest");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signed_body_hash_is_enforced() {
    let world = World::with_bucket().await;
    for len in [9, 300_000] {
        let wrong = Ask::new("PUT", "/bucket/k").payload(&crate::signer::sha256(b"another body")).body(noise(len));
        world.ask(wrong).await.expect_error(400, "XAmzContentSHA256Mismatch");
    }
    world.get("k").await.expect_error(404, "NoSuchKey");
    let delete = Ask::new("POST", "/bucket?delete").body("<Delete><Object><Key>k</Key></Object></Delete>");
    let wrong = delete.clone().payload(&crate::signer::sha256(b"another body"));
    world.ask(wrong).await.expect_error(400, "XAmzContentSHA256Mismatch");
    world.ask(delete).await.expect(200);
    let unsigned = Ask::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD").body("any");
    world.ask(unsigned).await.expect(200);
    world.stop().await;
}

fn chunked(key: &str, mode: &str, len: usize) -> Ask {
    Ask::new("PUT", key)
        .payload(mode)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &len.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_chunks_arrive_whole_or_not_at_all() {
    let world = World::with_bucket().await;
    let scope = world.scope();
    let data = noise(200_000);
    let ask = chunked("/bucket/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", data.len());
    let framed = |seed: &str| aws_chunked(&scope, Some(seed), &data, 65_536, None);
    let len = framed(&"0".repeat(64)).len().to_string();
    let ask = ask.header("content-length", &len);
    let (head, seed) = ask.signed(&scope, &world.host());
    world.send("PUT", &head, &framed(&seed)).await.expect(200);
    let answer = world.get("k").await.expect(200);
    assert_eq!(answer.body, data);
    assert_eq!(answer.header("content-encoding"), None, "aws-chunked is not an encoding of the object");

    let ask = Ask { path: "/bucket/l".into(), ..ask };
    let (head, seed) = ask.signed(&scope, &world.host());
    let mut tampered = framed(&seed);
    tampered[150_000] ^= 1;
    world.send("PUT", &head, &tampered).await.expect_error(403, "SignatureDoesNotMatch");
    world.get("l").await.expect_error(404, "NoSuchKey");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailing_checksums_are_checked() {
    let world = World::with_bucket().await;
    let scope = world.scope();
    let good = BASE64.encode(CRC32);
    let bad = BASE64.encode([1, 2, 3, 4]);
    for (mode, signed) in [("STREAMING-UNSIGNED-PAYLOAD-TRAILER", false), ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", true)] {
        for (value, expected) in [(&*good, None), (&*bad, Some("BadDigest")), ("junk", Some("InvalidRequest"))] {
            eprintln!("{mode} {value}");
            let ask = chunked("/bucket/k", mode, CHECKED.len()).header("x-amz-trailer", "x-amz-checksum-crc32");
            let trailer = Some(("x-amz-checksum-crc32", value));
            let seed = signed.then(|| "0".repeat(64));
            let len = aws_chunked(&scope, seed.as_deref(), CHECKED.as_bytes(), 4096, trailer).len();
            let ask = ask.header("content-length", &len.to_string());
            let (head, seed) = ask.signed(&scope, &world.host());
            let body = aws_chunked(&scope, signed.then_some(&*seed), CHECKED.as_bytes(), 4096, trailer);
            let answer = world.send("PUT", &head, &body).await;
            match expected {
                None => assert_eq!(answer.expect(200).header("x-amz-checksum-crc32"), Some(&*good)),
                Some(code) => drop(answer.expect_error(400, code)),
            }
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_must_be_named_and_true() {
    let world = World::with_bucket().await;
    let scope = world.scope();
    let no_length = Ask::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD").header("transfer-encoding", "chunked");
    let (head, _) = no_length.signed(&scope, &world.host());
    world.send("PUT", &head, b"3\r\nabc\r\n0\r\n\r\n").await.expect_error(411, "MissingContentLength");
    let head = no_length.presigned(&scope, &world.host(), 60);
    world.send("PUT", &head, b"3\r\nabc\r\n0\r\n\r\n").await.expect_error(411, "MissingContentLength");

    // the framing holds fewer bytes than were announced
    let ask = chunked("/bucket/k", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", 10).header("x-amz-trailer", "x-amz-checksum-crc32");
    let body = aws_chunked(&scope, None, CHECKED.as_bytes(), 4096, Some(("x-amz-checksum-crc32", &BASE64.encode(CRC32))));
    let (head, _) = ask.header("content-length", &body.len().to_string()).signed(&scope, &world.host());
    world.send("PUT", &head, &body).await.expect_error(400, "IncompleteBody");

    let six_gib = (6u64 << 30).to_string();
    let ask = Ask::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD").header("content-length", &six_gib);
    let (head, _) = ask.signed(&scope, &world.host());
    world.send("PUT", &head, b"").await.expect_error(400, "EntityTooLarge");
    world.get("k").await.expect_error(404, "NoSuchKey");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_would_have_to_be_held_is_refused() {
    let world = World::with_bucket().await;
    let scope = world.scope();
    let ask = chunked("/bucket/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 64 << 20).header("content-length", "70000000");
    let (head, _) = ask.signed(&scope, &world.host());
    let claim = format!("{:x};chunk-signature={}\r\n", 64 << 20, "0".repeat(64));
    let answer = world.send("PUT", &head, claim.as_bytes()).await;
    answer.expect_error(400, "EntityTooLarge");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_or_stalls_leaves_nothing() {
    let config = S3Config { body_idle: Duration::from_millis(300), ..S3Config::default() };
    let world = World::with(config).await;
    world.ask(Ask::new("PUT", "/bucket")).await.expect(200);
    let before = world.net.shards();
    let data = noise(3_000_000);
    let ask = Ask::new("PUT", "/bucket/k").payload("UNSIGNED-PAYLOAD").header("content-length", &data.len().to_string());
    let (head, _) = ask.signed(&world.scope(), &world.host());

    let mut leaver = world.connect().await;
    leaver.write(&head).await.unwrap();
    leaver.write(&data[..2_000_000]).await.unwrap();
    drop(leaver);

    let mut staller = world.connect().await;
    staller.write(&head).await.unwrap();
    staller.write(&data[..2_000_000]).await.unwrap();
    staller.read("PUT").await.unwrap().expect_error(400, "RequestTimeout");

    // The library reads such a body itself, and would call its end an internal error.
    let ask = Ask::new("POST", "/bucket?delete").payload("UNSIGNED-PAYLOAD").header("content-length", "100");
    let (head, _) = ask.signed(&world.scope(), &world.host());
    let mut staller = world.connect().await;
    staller.write(&head).await.unwrap();
    staller.write(b"<Delete>").await.unwrap();
    staller.read("POST").await.unwrap().expect_error(400, "RequestTimeout");

    world.get("k").await.expect_error(404, "NoSuchKey");
    for _ in 0..200 {
        world.objects.collect_now().await;
        if world.net.shards() <= before {
            return world.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} shards are left, {before} were there", world.net.shards());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_before_it_sends() {
    let world = World::with_bucket().await;
    let ask = Ask::new("PUT", "/bucket/k").header("expect", "100-continue").body("after the nod");
    let (head, _) = ask.signed(&world.scope(), &world.host());
    let mut connection = world.connect().await;
    connection.write(&head).await.unwrap();
    let mut nod = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut connection.stream, &mut nod).await.unwrap();
    assert_eq!(&nod, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write(&ask.body).await.unwrap();
    connection.read("PUT").await.unwrap().expect(200);
    world.stop().await;
}
