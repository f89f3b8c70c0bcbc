//! What a signature must cover, and who is refused.

use crate::client::Ask;
use crate::signer::Scope;
use crate::world::World;

const WEEK_SECS: u64 = 7 * 24 * 60 * 60;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_forgers_are_refused() {
    let world = World::with_bucket().await;
    let good = world.scope();
    let get = || Ask::new("GET", "/bucket");
    world.ask(get()).await.expect(200);
    let cases: Vec<(&str, Scope, u16, &str)> = vec![
        ("unknown key", Scope { access_key: "AKIANOBODY0000000000".into(), ..good.clone() }, 403, "InvalidAccessKeyId"),
        ("wrong secret", Scope { secret_key: "x".repeat(40), ..good.clone() }, 403, "SignatureDoesNotMatch"),
        ("other region", Scope { region: "eu-west-1".into(), ..good.clone() }, 400, "AuthorizationHeaderMalformed"),
        ("other service", Scope { service: "sqs".into(), ..good.clone() }, 501, "NotImplemented"),
        ("token service", Scope { service: "sts".into(), ..good.clone() }, 400, "AuthorizationHeaderMalformed"),
        ("20 minutes late", Scope { time: good.time - 1200, ..good.clone() }, 403, "RequestTimeTooSkewed"),
        ("20 minutes early", Scope { time: good.time + 1200, ..good.clone() }, 403, "RequestTimeTooSkewed"),
    ];
    for (what, scope, status, code) in cases {
        eprintln!("{what}");
        world.ask_as(get(), &scope).await.expect_error(status, code);
    }
    let head = get().anonymous(&world.host());
    world.send("GET", &head, b"").await.expect_error(403, "AccessDenied");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_is_told_the_right_one() {
    let world = World::with_bucket().await;
    let scope = Scope { region: "eu-west-1".into(), ..world.scope() };
    let answer = world.ask_as(Ask::new("GET", "/bucket"), &scope).await.expect_error(400, "AuthorizationHeaderMalformed");
    assert_eq!(answer.xml("Region").as_deref(), Some("us-east-1"));
    assert_eq!(answer.header("x-amz-bucket-region"), Some("us-east-1"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_opens_nothing() {
    let world = World::with_bucket().await;
    let other = world.objects.create_key("other").await.unwrap();
    let scope = Scope { access_key: other.access_key.clone(), secret_key: other.secret_key.clone(), ..world.scope() };
    world.ask_as(Ask::new("GET", "/bucket"), &scope).await.expect(200);
    world.objects.revoke_key(&other.access_key).await.unwrap();
    world.ask_as(Ask::new("GET", "/bucket"), &scope).await.expect_error(403, "InvalidAccessKeyId");
    world.ask_presigned(Ask::new("GET", "/bucket"), &scope, 60).await.expect_error(403, "InvalidAccessKeyId");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_without_the_host_is_refused() {
    let world = World::with_bucket().await;
    let ask = Ask { sign_host: false, ..Ask::new("GET", "/bucket") };
    world.ask(ask.clone()).await.expect_error(403, "AccessDenied");
    world.ask_presigned(ask.header("x-amz-meta-a", "b"), &world.scope(), 60).await.expect_error(403, "AccessDenied");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_changed_after_signing_is_refused() {
    let world = World::with_bucket().await;
    world.put("k", "old").await;
    let (head, _) = Ask::new("GET", "/bucket/k").signed(&world.scope(), &world.host());
    let changed = String::from_utf8(head).unwrap().replace("/bucket/k", "/bucket/l");
    world.send("GET", changed.as_bytes(), b"").await.expect_error(403, "SignatureDoesNotMatch");
    let (head, _) = Ask::new("PUT", "/bucket/k").header("x-amz-meta-a", "1").signed(&world.scope(), &world.host());
    let changed = String::from_utf8(head).unwrap().replace("x-amz-meta-a: 1", "x-amz-meta-a: 2");
    world.send("PUT", changed.as_bytes(), b"").await.expect_error(403, "SignatureDoesNotMatch");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_does_what_it_says_for_as_long_as_it_says() {
    let world = World::with_bucket().await;
    let now = world.scope();
    let earlier = Scope { time: now.time - 100, ..now.clone() };
    world.ask_presigned(Ask::new("PUT", "/bucket/k").body("by url"), &now, 60).await.expect(200);
    let answer = world.ask_presigned(Ask::new("GET", "/bucket/k"), &now, WEEK_SECS).await.expect(200);
    assert_eq!(answer.text(), "by url");
    world.ask_presigned(Ask::new("GET", "/bucket/k"), &earlier, 101 + 60).await.expect(200);
    world.ask_presigned(Ask::new("GET", "/bucket/k"), &earlier, 60).await.expect_error(403, "AccessDenied");
    let too_long = world.ask_presigned(Ask::new("GET", "/bucket/k"), &now, WEEK_SECS + 1).await;
    too_long.expect_error(403, "AccessDenied");
    world.ask_presigned(Ask::new("GET", "/bucket/k"), &Scope { region: "eu".into(), ..now.clone() }, 60).await.expect(400);
    world.ask_presigned(Ask::new("GET", "/bucket/k"), &Scope { service: "sts".into(), ..now.clone() }, 60).await.expect(400);
    world.ask_presigned(Ask::new("GET", "/bucket/k"), &Scope { service: "sqs".into(), ..now.clone() }, 60).await.expect(501);
    // signed for GET only
    let head = Ask::new("GET", "/bucket/k").presigned(&now, &world.host(), 60);
    let head = String::from_utf8(head).unwrap().replacen("GET", "DELETE", 1);
    world.send("DELETE", head.as_bytes(), b"").await.expect_error(403, "SignatureDoesNotMatch");
    world.stop().await;
}

/// The hole of s3s before 0.16: the holder of an upload URL reads whatever its signer may read.
#[tokio::test(flavor = "multi_thread")]
async fn headers_added_to_a_presigned_url_are_refused() {
    let world = World::with_bucket().await;
    world.put("secret", "the secret").await;
    for (name, value) in [
        ("x-amz-copy-source", "/bucket/secret"),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-a", "b"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-expected-bucket-owner", "me"),
    ] {
        eprintln!("{name}");
        let ask = Ask::new("PUT", "/bucket/mine").unsigned(name, value);
        world.ask_presigned(ask.clone(), &world.scope(), 60).await.expect_error(403, "AccessDenied");
        world.ask(ask).await.expect_error(403, "AccessDenied");
    }
    world.get("mine").await.expect_error(404, "NoSuchKey");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_signatures_are_off_and_forms_have_a_length() {
    let world = World::with_bucket().await;
    let v2 = Ask::new("GET", "/bucket").header("authorization", &format!("AWS {}:c2ln", world.key.access_key));
    let head = v2.header("date", "Mon, 23 Nov 2026 15:00:00 GMT").anonymous(&world.host());
    world.send("GET", &head, b"").await.expect_error(400, "InvalidRequest");
    let v2 = Ask::new("GET", "/bucket/k").query("AWSAccessKeyId", &world.key.access_key).query("Signature", "c2ln");
    let head = v2.query("Expires", "9999999999").anonymous(&world.host());
    world.send("GET", &head, b"").await.expect_error(400, "InvalidRequest");
    let form = Ask::new("POST", "/bucket").header("content-type", "multipart/form-data; boundary=x").body("--x--\r\n");
    let head =
        String::from_utf8(form.anonymous(&world.host())).unwrap().replace("content-length: 7", "transfer-encoding: chunked");
    world.send("POST", head.as_bytes(), b"7\r\n--x--\r\n\r\n0\r\n\r\n").await.expect_error(411, "MissingContentLength");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protections_that_do_not_exist_are_refused_not_ignored() {
    let world = World::with_bucket().await;
    for (name, value, status, code) in [
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", 400, "InvalidArgument"),
        ("x-amz-server-side-encryption", "aws:kms", 501, "NotImplemented"),
        ("x-amz-acl", "public", 400, "InvalidArgument"),
        ("x-amz-grant-read", "id=\"nobody\"", 400, "InvalidArgument"),
        ("x-amz-object-lock-legal-hold", "ON", 400, "InvalidRequest"),
        ("x-amz-security-token", "token", 400, "InvalidToken"),
        ("x-amz-storage-class", "GLACIER", 400, "InvalidStorageClass"),
        ("x-amz-expected-bucket-owner", "somebody", 403, "AccessDenied"),
    ] {
        eprintln!("{name}");
        world.ask(Ask::new("PUT", "/bucket/k").header(name, value)).await.expect_error(status, code);
    }
    world.get("k").await.expect_error(404, "NoSuchKey");
    world.ask(Ask::new("PUT", "/bucket/k").header("x-amz-acl", "private")).await.expect(200);
    world.stop().await;
}
