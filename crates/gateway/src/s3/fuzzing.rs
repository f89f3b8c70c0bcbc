//! Doors for the fuzz targets in `tests/fuzz`.
//!
//! Never: in a build without `--cfg fuzzing`.

use http::{HeaderMap, Uri};
use s3s::dto;

use super::{auth, checksum, headers, list};
use crate::objects::api::ChecksumAlgorithm;

/// Reads a text as each header or query value of ours that is not the S3 library's to read.
pub fn value(text: &str) {
    if let Ok(tags) = headers::tags(text) {
        assert!(tags.len() <= crate::objects::limits::TAGS_MAX);
    }
    if let Ok(Some(range)) = headers::copy_range(Some(text)) {
        assert!(range.start < range.end);
    }
    if let Ok(key) = list::key_of_token(text) {
        assert_eq!(list::key_of_token(&list::token_of_key(&key)).ok(), Some(key));
    }
    let _ = (headers::stored_encoding(Some(text.to_owned())), checksum::kind(text));
    if let Ok(algorithm) = checksum::algorithm(text) {
        assert_eq!(checksum::algorithm(checksum::algorithm_name(algorithm).as_str()).ok(), Some(algorithm));
    }
    rules(text);
    let algorithms = [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ];
    for algorithm in algorithms {
        if let Ok(value) = checksum::value(algorithm, text) {
            assert_eq!(value.len(), algorithm.len());
        }
    }
}

/// Reads a text as each configuration of a bucket: what is understood must be judged without a panic.
fn rules(text: &str) {
    use crate::rules::{acl, lifecycle, policy};
    if let Ok(policy) = policy::Policy::parse(text, "bucket") {
        let context = |key: &str| (!key.is_empty()).then(|| vec![text.to_owned()]);
        let ask =
            policy::Ask { user: Some("me"), action: "s3:GetObject", resource: "arn:aws:s3:::bucket/key", context: &context };
        let verdict = policy.judge(&ask);
        assert!(verdict != policy::Verdict::Allow || policy::Policy::closed().judge(&ask) == policy::Verdict::Deny);
        let _ = policy.is_public();
    }
    let acl = acl::Acl::decode(text, "me");
    assert_eq!(acl::Acl::decode(&acl.encode(), "me"), acl);
    let _ = acl::Acl::parse_grants(text, acl::Permission::Read);
    if let Some(name) = crate::objects::api::VersionRef::parse(text) {
        assert_eq!(name.to_string(), text);
    }
    if let Ok(configuration) = super::config::from_xml::<dto::BucketLifecycleConfiguration>(text)
        && let Ok(checked) = lifecycle::checked(configuration)
    {
        assert!(checked.rules.iter().all(|rule| rule.id.is_some()));
    }
    if let Ok(configuration) = super::config::from_xml::<dto::CORSConfiguration>(text) {
        let ask = crate::rules::cors::Ask { origin: text, method: "GET", headers: Some(text) };
        let _ = (crate::rules::cors::check(&configuration), crate::rules::cors::answer(&configuration, &ask));
    }
}

/// Judges a request's headers and address as they come.
pub fn request(headers: &HeaderMap, uri: &Uri, len: Option<i64>, md5: Option<&str>) {
    let _ = auth::check_signed(headers, uri);
    let _ = auth::check_wishes(headers);
    if let Ok(checks) = checksum::body_checks(headers, None, len, md5) {
        assert!(checks.checksums.len() <= 1);
        if let Some(late) = checks.late {
            assert!(late().is_err(), "no trailer came");
        }
    }
}

/// What a GET with this `Range` or part number shows of an object of such parts: always bytes that it has.
pub fn view(len: u64, parts: &[(u32, u64)], range: Option<&str>, part: Option<i32>) {
    let info = super::test_info(len, parts);
    let range = range.and_then(|text| dto::Range::parse(text).ok());
    if let Ok(view) = headers::View::of(&info, range, part) {
        assert!(view.range.start <= view.range.end && view.range.end <= info.len, "{view:?} of {}", info.len);
        assert_eq!(view.len(), view.range.end - view.range.start);
    }
}
