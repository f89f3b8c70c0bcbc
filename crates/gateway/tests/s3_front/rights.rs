//! Several users: what belongs to whom, and what policies, ACLs and limited keys open.

use cairn_gateway::objects::api::KeyScope;

use crate::client::Ask;
use crate::signer::Scope;
use crate::world::World;

fn get(target: &str) -> Ask {
    Ask::new("GET", target)
}

fn put(target: &str, body: &str) -> Ask {
    Ask::new("PUT", target).body(body)
}

async fn anonymous(world: &World, method: &'static str, target: &str) -> crate::client::Answer {
    let ask = Ask::new(method, target);
    world.send(method, &ask.anonymous(&world.host()), b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_closed() {
    let world = World::with_bucket().await;
    let ann = world.user("ann").await;
    world.put("k", "mine").await;
    for (method, target) in [
        ("GET", "/bucket"),
        ("GET", "/bucket?acl"),
        ("GET", "/bucket?policy"),
        ("GET", "/bucket/k"),
        ("GET", "/bucket/none"),
        ("GET", "/bucket/k?acl"),
        ("GET", "/bucket/k?tagging"),
        ("PUT", "/bucket/k"),
        ("DELETE", "/bucket/k"),
        ("DELETE", "/bucket"),
        ("PUT", "/bucket?versioning"),
        ("POST", "/bucket/k?uploads"),
    ] {
        eprintln!("{method} {target}");
        world.ask_as(Ask::new(method, target), &ann).await.expect_error(403, "AccessDenied");
        anonymous(&world, method, target).await.expect_error(403, "AccessDenied");
    }
    world.ask_as(Ask::new("PUT", "/bucket"), &ann).await.expect_error(409, "BucketAlreadyExists");
    world.ask_as(Ask::new("PUT", "/anns"), &ann).await.expect(200);
    assert_eq!(world.ask_as(get("/"), &ann).await.expect(200).xml("Name").as_deref(), Some("anns"));
    assert!(!world.ask(get("/")).await.expect(200).text().contains("anns"));
    let copy = Ask::new("PUT", "/anns/c").header("x-amz-copy-source", "/bucket/k");
    world.ask_as(copy, &ann).await.expect_error(403, "AccessDenied");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_opens_and_closes() {
    let world = World::with_bucket().await;
    let ann = world.user("ann").await;
    for key in ["open/a", "shut/a"] {
        world.put(key, key).await;
    }
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::ann:root"},"Action":["s3:GetObject","s3:PutObject"],
         "Resource":"arn:aws:s3:::bucket/*"},
        {"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/shut/*"},
        {"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket",
         "Condition":{"StringLike":{"s3:prefix":"open/*"}}}]}"#;
    world.ask_as(put("/bucket?policy", policy), &ann).await.expect_error(403, "AccessDenied");
    world.ask(put("/bucket?policy", "{}")).await.expect_error(400, "MalformedPolicy");
    world.ask(put("/bucket?policy", policy)).await.expect(204);
    assert_eq!(world.ask(get("/bucket?policy")).await.expect(200).text(), policy);
    assert_eq!(world.ask_as(get("/bucket/open/a"), &ann).await.expect(200).text(), "open/a");
    world.ask_as(get("/bucket/shut/a"), &ann).await.expect_error(403, "AccessDenied");
    world.ask(get("/bucket/shut/a")).await.expect_error(403, "AccessDenied");
    world.ask_as(put("/bucket/open/b", "b"), &ann).await.expect(200);
    world.ask_as(Ask::new("DELETE", "/bucket/open/b"), &ann).await.expect_error(403, "AccessDenied");
    anonymous(&world, "GET", "/bucket/open/a").await.expect_error(403, "AccessDenied");
    anonymous(&world, "GET", "/bucket?prefix=open/").await.expect(200);
    anonymous(&world, "GET", "/bucket?prefix=shut/").await.expect_error(403, "AccessDenied");
    // the rights of a copy's source are judged too
    world.ask_as(Ask::new("PUT", "/anns"), &ann).await.expect(200);
    let copy = |source: &str| Ask::new("PUT", "/anns/c").header("x-amz-copy-source", source);
    world.ask_as(copy("/bucket/open/a"), &ann).await.expect(200);
    world.ask_as(copy("/bucket/shut/a"), &ann).await.expect_error(403, "AccessDenied");
    // one who denied himself everything can still take it back
    let all = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}}"#;
    world.ask(put("/bucket?policy", all)).await.expect(204);
    world.get("open/a").await.expect_error(403, "AccessDenied");
    world.ask(Ask::new("DELETE", "/bucket?policy")).await.expect(204);
    world.get("open/a").await.expect(200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_grant_and_a_block_takes_it_back() {
    let world = World::with_bucket().await;
    let ann = world.user("ann").await;
    world.ask(put("/bucket/pub", "p").header("x-amz-acl", "public-read")).await.expect(200);
    world.ask(put("/bucket/anns", "a").header("x-amz-grant-read", "id=\"ann\"")).await.expect(200);
    anonymous(&world, "GET", "/bucket/pub").await.expect(200);
    anonymous(&world, "GET", "/bucket/anns").await.expect_error(403, "AccessDenied");
    world.ask_as(get("/bucket/anns"), &ann).await.expect(200);
    world.ask(Ask::new("PUT", "/bucket?acl").header("x-amz-acl", "public-read-write")).await.expect(200);
    anonymous(&world, "GET", "/bucket").await.expect(200);
    anonymous(&world, "GET", "/bucket/none").await.expect_error(404, "NoSuchKey");
    // who writes an object owns it; the bucket's owner may not read it
    world.ask_as(put("/bucket/hers", "h"), &ann).await.expect(200);
    assert_eq!(world.ask_as(get("/bucket/hers?acl"), &ann).await.expect(200).xml("ID").as_deref(), Some("ann"));
    world.get("hers").await.expect_error(403, "AccessDenied");
    world.ask_as(Ask::new("PUT", "/bucket/hers?acl").header("x-amz-acl", "bucket-owner-read"), &ann).await.expect(200);
    assert_eq!(world.get("hers").await.expect(200).text(), "h");
    let block = "<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicAcls>true</BlockPublicAcls>\
                 </PublicAccessBlockConfiguration>";
    world.ask(put("/bucket?publicAccessBlock", block)).await.expect(200);
    anonymous(&world, "GET", "/bucket/pub").await.expect_error(403, "AccessDenied");
    world.ask(put("/bucket/x", "").header("x-amz-acl", "public-read")).await.expect_error(403, "AccessDenied");
    world.ask(Ask::new("DELETE", "/bucket?publicAccessBlock")).await.expect(204);
    anonymous(&world, "GET", "/bucket/pub").await.expect(200);
    let enforced = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
    world.ask(put("/bucket?ownershipControls", enforced)).await.expect_error(400, "InvalidBucketAclWithObjectOwnership");
    world.ask(Ask::new("PUT", "/bucket?acl").header("x-amz-acl", "private")).await.expect(200);
    world.ask(put("/bucket?ownershipControls", enforced)).await.expect(200);
    anonymous(&world, "GET", "/bucket/pub").await.expect_error(403, "AccessDenied");
    let public = put("/bucket/x", "").header("x-amz-acl", "public-read");
    world.ask(public).await.expect_error(400, "AccessControlListNotSupported");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_opens_what_it_says() {
    let world = World::with_bucket().await;
    world.put("in/a", "a").await;
    world.put("out", "o").await;
    let scope = KeyScope { bucket: "bucket".into(), prefix: "in/".into(), ..Default::default() };
    let inside = world.scope_for(scope.clone()).await;
    let reader = world.scope_for(KeyScope { read_only: true, ..scope.clone() }).await;
    for (ask, both) in [
        (get("/bucket/in/a"), true),
        (get("/bucket?prefix=in/"), true),
        (put("/bucket/in/b", "b"), false),
        (Ask::new("DELETE", "/bucket/in/b"), false),
    ] {
        assert!(world.ask_as(ask.clone(), &inside).await.status < 300, "{}", ask.path);
        assert_eq!(world.ask_as(ask.clone(), &reader).await.status < 300, both, "{}", ask.path);
    }
    let delete = "<Delete><Object><Key>in/a</Key></Object><Object><Key>out</Key></Object></Delete>";
    for ask in [get("/bucket/out"), get("/bucket"), get("/bucket?acl"), put("/bucket/out", ""), Ask::new("PUT", "/other")] {
        world.ask_as(ask, &inside).await.expect_error(403, "AccessDenied");
    }
    let copy = Ask::new("PUT", "/bucket/in/c").header("x-amz-copy-source", "/bucket/out");
    world.ask_as(copy, &inside).await.expect_error(403, "AccessDenied");
    let batch = Ask::new("POST", "/bucket?delete").body(delete);
    world.ask_as(batch.clone(), &reader).await.expect_error(403, "AccessDenied");
    let answer = world.ask_as(batch, &inside).await.expect(200).text();
    assert!(answer.contains("<Deleted><Key>in/a</Key>") && answer.contains("<Code>AccessDenied</Code>"), "{answer}");
    assert_eq!(world.get("out").await.expect(200).text(), "o");
    let over = world.scope_for(KeyScope { expires: Some(cairn_types::UnixMs(1)), ..Default::default() }).await;
    world.ask_as(get("/bucket"), &over).await.expect_error(403, "InvalidAccessKeyId");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_let_in_by_rule() {
    let world = World::with_bucket().await;
    let preflight = |origin: &str, method: &str| {
        Ask::new("OPTIONS", "/bucket/k").unsigned("origin", origin).unsigned("access-control-request-method", method)
    };
    let ask = |ask: Ask| {
        let head = ask.anonymous(&world.host());
        let world = &world;
        async move { world.send("OPTIONS", &head, b"").await }
    };
    ask(preflight("http://a.example", "GET")).await.expect_error(403, "AccessForbidden");
    ask(Ask::new("OPTIONS", "/bucket/k")).await.expect_error(400, "BadRequest");
    let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>http://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
                 <ExposeHeader>etag</ExposeHeader></CORSRule></CORSConfiguration>";
    world.ask(put("/bucket?cors", rules)).await.expect(200);
    let answer = ask(preflight("http://a.example", "GET")).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://a.example"));
    ask(preflight("http://a.example", "PUT")).await.expect_error(403, "AccessForbidden");
    let refused = world.send("GET", &get("/bucket/k").unsigned("origin", "http://a.example").anonymous(&world.host()), b"").await;
    let refused = refused.expect_error(403, "AccessDenied");
    assert_eq!(refused.header("access-control-expose-headers"), Some("etag"));
    world.ask(Ask::new("DELETE", "/bucket?cors")).await.expect(204);
    ask(preflight("http://a.example", "GET")).await.expect_error(403, "AccessForbidden");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_key_opens_with_its_token_what_its_maker_opens() {
    let world = World::with_bucket().await;
    world.put("k", "kept").await;
    let scope = KeyScope { read_only: true, ..Default::default() };
    let reader = world.scope_for(scope).await;
    let ask = |body: &str| Ask::new("POST", "/").header("content-type", "application/x-www-form-urlencoded").body(body);
    let assume = ask("Action=AssumeRole&Version=2011-06-15&RoleArn=any&RoleSessionName=test&DurationSeconds=900");
    let for_sts = Scope { service: "sts".into(), ..reader.clone() };
    world.ask_as(assume.clone(), &reader).await.expect_error(403, "AccessDenied");
    world.ask_as(ask("Action=AssumeRole&RoleSessionName=x"), &for_sts).await.expect_error(400, "ValidationError");
    world.ask_as(ask("Action=GetCallerIdentity"), &for_sts).await.expect_error(400, "InvalidAction");
    let made = world.ask_as(assume.clone(), &for_sts).await.expect(200);
    let field = |name: &str| made.xml(name).expect("a field of the answer");
    let session = Scope { access_key: field("AccessKeyId"), secret_key: field("SecretAccessKey"), ..reader.clone() };
    let token = field("SessionToken");
    let shown = |ask: Ask, token: &str| ask.header("x-amz-security-token", token);
    assert_eq!(world.ask_as(shown(get("/bucket/k"), &token), &session).await.expect(200).text(), "kept");
    let by_query = get("/bucket/k").query("X-Amz-Security-Token", &token);
    assert_eq!(world.ask_presigned(by_query, &session, 60).await.expect(200).text(), "kept");
    world.ask_as(get("/bucket/k"), &session).await.expect_error(400, "InvalidToken");
    world.ask_as(shown(get("/bucket/k"), "other"), &session).await.expect_error(400, "InvalidToken");
    world.ask_as(shown(get("/bucket/k"), &token), &reader).await.expect_error(400, "InvalidToken");
    world.ask_as(shown(put("/bucket/x", ""), &token), &session).await.expect_error(403, "AccessDenied");
    let again = Scope { service: "sts".into(), ..session };
    world.ask_as(shown(assume, &token), &again).await.expect_error(403, "AccessDenied");
    world.ask_as(get("/bucket/k"), &for_sts).await.expect_error(400, "AuthorizationHeaderMalformed");
    world.stop().await;
}
