//! The matrix of refusals: each operation by each kind of authentication with each fault. All are refused, with S3's own codes, and the
//! object store changes nothing.

use crate::client::Ask;
use crate::signer::Scope;
use crate::world::World;

/// Each operation that the gateway has, on a bucket and an object of somebody who lets nobody in.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("GET", "/bucket", ""),
    ("GET", "/bucket?list-type=2", ""),
    ("GET", "/bucket?versions", ""),
    ("GET", "/bucket?uploads", ""),
    ("HEAD", "/bucket", ""),
    ("DELETE", "/bucket", ""),
    ("GET", "/bucket?location", ""),
    ("GET", "/bucket?acl", ""),
    ("PUT", "/bucket?acl", ""),
    ("GET", "/bucket?versioning", ""),
    ("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
    ("GET", "/bucket?policy", ""),
    ("PUT", "/bucket?policy", "{}"),
    ("DELETE", "/bucket?policy", ""),
    ("GET", "/bucket?policyStatus", ""),
    ("GET", "/bucket?publicAccessBlock", ""),
    ("DELETE", "/bucket?publicAccessBlock", ""),
    ("GET", "/bucket?ownershipControls", ""),
    ("DELETE", "/bucket?ownershipControls", ""),
    ("GET", "/bucket?tagging", ""),
    ("PUT", "/bucket?tagging", "<Tagging><TagSet></TagSet></Tagging>"),
    ("DELETE", "/bucket?tagging", ""),
    ("GET", "/bucket?cors", ""),
    ("DELETE", "/bucket?cors", ""),
    ("GET", "/bucket?lifecycle", ""),
    ("DELETE", "/bucket?lifecycle", ""),
    ("GET", "/bucket?encryption", ""),
    ("DELETE", "/bucket?encryption", ""),
    ("GET", "/bucket?object-lock", ""),
    ("GET", "/bucket?requestPayment", ""),
    ("POST", "/bucket?delete", "<Delete><Object><Key>k</Key></Object></Delete>"),
    ("GET", "/bucket/k", ""),
    ("HEAD", "/bucket/k", ""),
    ("PUT", "/bucket/k", "x"),
    ("DELETE", "/bucket/k", ""),
    ("GET", "/bucket/k?acl", ""),
    ("PUT", "/bucket/k?acl", ""),
    ("GET", "/bucket/k?tagging", ""),
    ("PUT", "/bucket/k?tagging", "<Tagging><TagSet></TagSet></Tagging>"),
    ("DELETE", "/bucket/k?tagging", ""),
    ("GET", "/bucket/k?retention", ""),
    ("GET", "/bucket/k?legal-hold", ""),
    ("GET", "/bucket/k?attributes", ""),
    ("POST", "/bucket/k?uploads", ""),
    ("PUT", "/bucket/k?partNumber=1&uploadId=00000000000000000000000000000000", "x"),
    ("GET", "/bucket/k?uploadId=00000000000000000000000000000000", ""),
    ("DELETE", "/bucket/k?uploadId=00000000000000000000000000000000", ""),
];

/// How a request is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    NoSignature,
    UnknownKey,
    WrongSecret,
    Expired,
    SkewedClock,
    OtherRegion,
    OtherService,
    AlteredHeader,
    AlteredPath,
    AlteredBody,
    OtherUser,
    SessionToken,
    LimitedKey,
}

const FAULTS: &[Fault] = &[
    Fault::NoSignature,
    Fault::UnknownKey,
    Fault::WrongSecret,
    Fault::Expired,
    Fault::SkewedClock,
    Fault::OtherRegion,
    Fault::OtherService,
    Fault::AlteredHeader,
    Fault::AlteredPath,
    Fault::AlteredBody,
    Fault::OtherUser,
    Fault::SessionToken,
    Fault::LimitedKey,
];

/// What S3 says to each.
fn codes(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::NoSignature | Fault::Expired | Fault::OtherUser | Fault::LimitedKey => &["AccessDenied"],
        Fault::UnknownKey => &["InvalidAccessKeyId"],
        Fault::WrongSecret | Fault::AlteredPath => &["SignatureDoesNotMatch"],
        Fault::SkewedClock => &["RequestTimeTooSkewed", "AccessDenied"],
        Fault::OtherRegion => &["AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"],
        Fault::OtherService => &["AuthorizationHeaderMalformed", "NotImplemented", "AuthorizationQueryParametersError"],
        Fault::AlteredHeader => &["SignatureDoesNotMatch", "AccessDenied"],
        Fault::AlteredBody => &["XAmzContentSHA256Mismatch"],
        Fault::SessionToken => &["InvalidToken"],
    }
}

struct Callers {
    owner: Scope,
    other: Scope,
    limited: Scope,
}

fn target_is_part(ask: &Ask) -> bool {
    ask.query.iter().any(|(name, _)| name == "uploadId")
}

/// The bytes of a faulty request: head and body; `None` where the fault does not exist for this kind of request.
fn faulty(world: &World, callers: &Callers, ask: &Ask, fault: Fault, by_query: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let owner = &callers.owner;
    let (mut scope, mut ask, mut body) = (owner.clone(), ask.clone(), ask.body.clone());
    let mut expires = 60;
    match fault {
        Fault::NoSignature if by_query => return None,
        Fault::NoSignature => return Some((ask.anonymous(&world.host()), body)),
        Fault::UnknownKey => scope.access_key = "CKAAAAAAAAAAAAAAAAAA".into(),
        Fault::WrongSecret => scope.secret_key = "x".repeat(40),
        Fault::Expired if by_query => {
            scope.time -= 100;
            expires = 50;
        }
        Fault::Expired => return None,
        Fault::SkewedClock => scope.time += if by_query { 3600 } else { -3600 },
        Fault::OtherRegion => scope.region = "mars-1".into(),
        Fault::OtherService => scope.service = "sqs".into(),
        Fault::AlteredHeader => ask = ask.unsigned("x-amz-meta-late", "added after signing"),
        // an upload that is not there is refused before its part is read
        Fault::AlteredBody if by_query || body.is_empty() || target_is_part(&ask) => return None,
        Fault::AlteredBody => body[0] ^= 1,
        Fault::OtherUser => scope = callers.other.clone(),
        Fault::SessionToken => ask = ask.header("x-amz-security-token", "token"),
        Fault::LimitedKey => scope = callers.limited.clone(),
        Fault::AlteredPath => {}
    }
    let mut head = match by_query {
        true => ask.presigned(&scope, &world.host(), expires),
        false => ask.signed(&scope, &world.host()).0,
    };
    if fault == Fault::AlteredPath {
        let text = String::from_utf8(head).unwrap();
        head = text.replacen("/bucket", "/bucke%74s", 1).into_bytes();
    }
    Some((head, body))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_faulty_request_is_refused_and_reaches_nothing() {
    let world = World::with_bucket().await;
    world.put("k", "kept").await;
    let elsewhere = cairn_gateway::objects::api::KeyScope { bucket: "elsewhere".into(), ..Default::default() };
    let callers = Callers { owner: world.scope(), other: world.user("ann").await, limited: world.scope_for(elsewhere).await };
    let before = world.objects.stats();
    let mut asked = 0;
    for &(method, target, body) in OPERATIONS {
        for &fault in FAULTS {
            for by_query in [false, true] {
                let mut ask = Ask::new(method, target).body(body);
                if target.ends_with("?attributes") {
                    ask = ask.header("x-amz-object-attributes", "ETag");
                }
                let Some((head, body)) = faulty(&world, &callers, &ask, fault, by_query) else { continue };
                let answer = world.send(method, &head, &body).await;
                let name = format!("{method} {target} {fault:?} {}", if by_query { "by query" } else { "by header" });
                asked += 1;
                // a batch names its objects in the body: each is refused in the answer
                let batch = target.ends_with("?delete") && matches!(fault, Fault::OtherUser | Fault::NoSignature);
                if batch {
                    assert!(
                        answer.text().contains("<Code>AccessDenied</Code>") && !answer.text().contains("<Deleted>"),
                        "{name}"
                    );
                    continue;
                }
                assert!(
                    (400..500).contains(&answer.status) || answer.status == 501,
                    "{name}: {} {}",
                    answer.status,
                    answer.text()
                );
                if method != "HEAD" {
                    let code = answer.xml("Code").unwrap_or_default();
                    assert!(codes(fault).contains(&&*code), "{name}: {code} {}", answer.text());
                }
            }
        }
    }
    assert!(asked > 1000, "only {asked} requests were made");
    let after = world.objects.stats();
    assert_eq!((before.commits, before.objects), (after.commits, after.objects), "a refused request changed something");
    assert_eq!(world.get("k").await.expect(200).text(), "kept");
    world.stop().await;
}

/// Each way in which the source of a copy may be closed to who asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_needs_rights_to_its_source() {
    let world = World::with_bucket().await;
    world.put("k", "kept").await;
    let ann = world.user("ann").await;
    world.ask_as(Ask::new("PUT", "/anns"), &ann).await.expect(200);
    let before = world.objects.stats().commits;
    for (target, source) in [
        ("/anns/c", "/bucket/k"),
        ("/anns/c", "/bucket/none"),
        ("/anns/c", "/bucket/k?versionId=null"),
        ("/anns/c?partNumber=1&uploadId=00000000000000000000000000000000", "/bucket/k"),
    ] {
        let copy = Ask::new("PUT", target).header("x-amz-copy-source", source);
        world.ask_as(copy.clone(), &ann).await.expect_error(403, "AccessDenied");
        world.ask_presigned(copy, &ann, 60).await.expect_error(403, "AccessDenied");
        let unsigned = Ask::new("PUT", target).unsigned("x-amz-copy-source", source);
        world.ask_presigned(unsigned, &ann, 60).await.expect_error(403, "AccessDenied");
    }
    assert_eq!(world.objects.stats().commits, before, "a refused copy changed something");
    world.stop().await;
}
