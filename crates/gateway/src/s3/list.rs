//! Listing: ListObjects, ListObjectsV2, ListObjectVersions.
//!
//! Never: a key in an answer that was asked to be encoded and is not. Limits: 1000 entries a page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::access::Access;
use super::checksum::{algorithm_name, kind_name};
use super::errors::{refused, s3_error};
use super::headers::{STANDARD, etag, signed_len, timestamp, version_of};
use super::{Mapper, shown_owner};
use crate::objects::api::{ListPage, ListRequest, ListVersionsRequest, ListedObject, ListedVersion};
use crate::objects::limits;

/// What `encoding-type=url` leaves as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
/// First byte of a continuation token: its format.
const TOKEN_FORMAT: u8 = 1;

/// Whether XML 1.0 has a form for every character of a text.
pub(super) fn fits_xml(text: &str) -> bool {
    text.chars().all(|c| (c >= ' ' || matches!(c, '\t' | '\n' | '\r')) && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}

/// How keys are written in an answer.
#[derive(Clone, Copy, Default)]
pub(super) struct Encoding {
    url: bool,
}

impl Encoding {
    pub(super) fn of(asked: Option<&EncodingType>) -> S3Result<Encoding> {
        match asked.map(|encoding| encoding.as_str()) {
            None | Some("") => Ok(Encoding { url: false }),
            Some(EncodingType::URL) => Ok(Encoding { url: true }),
            Some(_) => Err(refused(S3ErrorCode::InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    /// The same, or `url` when a text has a character that XML cannot hold: the answer then says so, as if it had been asked for.
    pub(super) fn for_all<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Encoding {
        Encoding { url: self.url || !texts.into_iter().all(fits_xml) }
    }

    pub(super) fn key(self, key: &str) -> String {
        match self.url {
            true => utf8_percent_encode(key, KEPT).to_string(),
            false => key.to_owned(),
        }
    }

    pub(super) fn shown(self) -> Option<EncodingType> {
        self.url.then(|| EncodingType::from_static(EncodingType::URL))
    }
}

/// `max-keys` and its kin: 1000 when absent or larger.
pub(super) fn page_len(asked: Option<i32>, name: &str) -> S3Result<usize> {
    let asked = asked.unwrap_or(1000);
    let len = usize::try_from(asked).map_err(|_| {
        refused(S3ErrorCode::InvalidArgument, format!("Argument {name} must be an integer between 0 and 2147483647"))
    })?;
    Ok(len.min(limits::LIST_KEYS_MAX))
}

/// A token that says where a listing goes on.
pub(super) fn token_of_key(key: &str) -> String {
    let mut bytes = vec![TOKEN_FORMAT];
    bytes.extend_from_slice(key.as_bytes());
    TOKEN.encode(bytes)
}

/// The key inside a token of ours.
pub(super) fn key_of_token(token: &str) -> S3Result<String> {
    let invalid = || refused(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect");
    let bytes = TOKEN.decode(token).map_err(|_| invalid())?;
    match bytes.split_first() {
        Some((&TOKEN_FORMAT, key)) => String::from_utf8(key.to_vec()).map_err(|_| invalid()),
        _ => Err(invalid()),
    }
}

/// Common prefixes as S3 shows them.
pub(super) fn common_prefixes(prefixes: &[String], encoding: Encoding) -> Vec<CommonPrefix> {
    prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.key(prefix)) }).collect()
}

fn delimiter(asked: Option<String>) -> Option<String> {
    asked.filter(|delimiter| !delimiter.is_empty())
}

fn shown(object: &ListedObject, encoding: Encoding, owner: Option<Owner>) -> Object {
    let class = object.storage_class.clone().unwrap_or_else(|| STANDARD.to_owned());
    let algorithms: Vec<ChecksumAlgorithm> = object.checksums.iter().map(|(algorithm, _)| algorithm_name(*algorithm)).collect();
    Object {
        checksum_algorithm: (!algorithms.is_empty()).then_some(algorithms),
        checksum_type: object.checksums.first().map(|(_, kind)| kind_name(*kind)),
        e_tag: Some(etag(&object.etag)),
        key: Some(encoding.key(&object.key)),
        last_modified: Some(timestamp(object.modified)),
        owner,
        size: Some(signed_len(object.len)),
        storage_class: Some(ObjectStorageClass::from(class)),
        ..Default::default()
    }
}

/// Keys and prefixes of a page.
fn texts(page: &ListPage) -> impl Iterator<Item = &str> {
    page.objects
        .iter()
        .map(|object| &*object.key)
        .chain(page.common_prefixes.iter().map(|prefix| &**prefix))
        .chain(page.next.as_deref())
}

fn count(len: usize) -> Option<i32> {
    i32::try_from(len).ok()
}

pub(super) async fn v1(mapper: &Mapper, request: S3Request<ListObjectsInput>) -> S3Result<ListObjectsOutput> {
    let S3Request { input, extensions, .. } = request;
    let bucket_owner = Access::of(&extensions)?.bucket()?.info.owner.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max_keys = page_len(input.max_keys, "max-keys")?;
    let prefix = input.prefix.unwrap_or_default();
    let marker = input.marker.unwrap_or_default();
    let delimiter = delimiter(input.delimiter);
    let list = ListRequest {
        bucket: input.bucket.clone(),
        prefix: prefix.clone(),
        delimiter: delimiter.clone(),
        start_after: (!marker.is_empty()).then(|| marker.clone()),
        max_keys,
    };
    let page = mapper.objects.list(list).await.map_err(s3_error)?;
    let encoding = encoding.for_all(texts(&page).chain([&*prefix, &*marker]).chain(delimiter.as_deref()));
    let owned = |object| shown(object, encoding, Some(owner(object, &bucket_owner)));
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.key(&prefix)),
        marker: Some(encoding.key(&marker)),
        max_keys: count(max_keys),
        is_truncated: Some(page.next.is_some()),
        contents: Some(page.objects.iter().map(owned).collect()),
        common_prefixes: Some(common_prefixes(&page.common_prefixes, encoding)),
        // S3 names the next marker only with a delimiter; without, it is the last key
        next_marker: page.next.filter(|_| delimiter.is_some()).map(|next| encoding.key(&next)),
        delimiter: delimiter.map(|delimiter| encoding.key(&delimiter)),
        encoding_type: encoding.shown(),
        request_charged: None,
    })
}

pub(super) async fn v2(mapper: &Mapper, request: S3Request<ListObjectsV2Input>) -> S3Result<ListObjectsV2Output> {
    let S3Request { input, extensions, .. } = request;
    let bucket_owner = Access::of(&extensions)?.bucket()?.info.owner.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max_keys = page_len(input.max_keys, "max-keys")?;
    let prefix = input.prefix.unwrap_or_default();
    let delimiter = delimiter(input.delimiter);
    let start_after = match input.continuation_token.as_ref().filter(|token| !token.is_empty()) {
        Some(token) => Some(key_of_token(token)?),
        None => input.start_after.clone().filter(|key| !key.is_empty()),
    };
    let list =
        ListRequest { bucket: input.bucket.clone(), prefix: prefix.clone(), delimiter: delimiter.clone(), start_after, max_keys };
    let page = mapper.objects.list(list).await.map_err(s3_error)?;
    let asked = [Some(&*prefix), delimiter.as_deref(), input.start_after.as_deref()].into_iter().flatten();
    let encoding = encoding.for_all(texts(&page).chain(asked));
    let with_owner = input.fetch_owner.unwrap_or(false);
    let one = |object| shown(object, encoding, with_owner.then(|| owner(object, &bucket_owner)));
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.key(&prefix)),
        max_keys: count(max_keys),
        key_count: count(page.objects.len() + page.common_prefixes.len()),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_deref().map(token_of_key),
        contents: Some(page.objects.iter().map(one).collect()),
        common_prefixes: Some(common_prefixes(&page.common_prefixes, encoding)),
        delimiter: delimiter.map(|delimiter| encoding.key(&delimiter)),
        encoding_type: encoding.shown(),
        start_after: input.start_after.map(|key| encoding.key(&key)),
        request_charged: None,
    })
}

/// Versions and delete markers as S3 shows them: each kind apart, in the order of the page.
pub(super) async fn versions(mapper: &Mapper, request: S3Request<ListObjectVersionsInput>) -> S3Result<ListObjectVersionsOutput> {
    let S3Request { input, extensions, .. } = request;
    let owner = Access::of(&extensions)?.bucket()?.info.owner.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max_keys = page_len(input.max_keys, "max-keys")?;
    let prefix = input.prefix.unwrap_or_default();
    let key_marker = input.key_marker.unwrap_or_default();
    let version_marker = input.version_id_marker.filter(|marker| !marker.is_empty());
    if version_marker.is_some() && key_marker.is_empty() {
        let message = "A version-id marker cannot be specified without a key marker.";
        return Err(refused(S3ErrorCode::InvalidArgument, message));
    }
    let delimiter = delimiter(input.delimiter);
    let list = ListVersionsRequest {
        bucket: input.bucket.clone(),
        prefix: prefix.clone(),
        delimiter: delimiter.clone(),
        key_marker: key_marker.clone(),
        version_marker: version_of(version_marker.as_deref())?,
        max_keys,
    };
    let page = mapper.objects.list_versions(list).await.map_err(s3_error)?;
    let keys = page.versions.iter().map(|version| &*version.object.key);
    let keys = keys.chain(page.common_prefixes.iter().map(|prefix| &**prefix));
    let encoding = encoding.for_all(keys.chain([&*prefix, &*key_marker]).chain(delimiter.as_deref()));
    let (markers, versions): (Vec<_>, Vec<_>) = page.versions.iter().partition(|version| version.delete_marker);
    let truncated = page.next.is_some();
    let (next_key, next_version) = page.next.unzip();
    Ok(ListObjectVersionsOutput {
        common_prefixes: Some(common_prefixes(&page.common_prefixes, encoding)),
        delete_markers: Some(markers.into_iter().map(|version| shown_marker(version, encoding, &owner)).collect()),
        delimiter: delimiter.map(|delimiter| encoding.key(&delimiter)),
        encoding_type: encoding.shown(),
        is_truncated: Some(truncated),
        key_marker: Some(encoding.key(&key_marker)),
        max_keys: count(max_keys),
        name: Some(input.bucket),
        next_version_id_marker: next_version.flatten().map(|version| version.to_string()),
        next_key_marker: next_key.map(|next| encoding.key(&next)),
        prefix: Some(encoding.key(&prefix)),
        version_id_marker: Some(version_marker.unwrap_or_default()),
        versions: Some(versions.into_iter().map(|version| shown_versions(version, encoding, &owner)).collect()),
        request_charged: None,
    })
}

fn shown_versions(version: &ListedVersion, encoding: Encoding, bucket_owner: &str) -> ObjectVersion {
    let object = shown(&version.object, encoding, Some(owner(&version.object, bucket_owner)));
    ObjectVersion {
        checksum_algorithm: object.checksum_algorithm,
        checksum_type: object.checksum_type,
        e_tag: object.e_tag,
        is_latest: Some(version.latest),
        key: object.key,
        last_modified: object.last_modified,
        owner: object.owner,
        size: object.size,
        storage_class: object.storage_class.map(|class| ObjectVersionStorageClass::from(class.as_str().to_owned())),
        version_id: Some(version.version.to_string()),
        ..Default::default()
    }
}

fn shown_marker(version: &ListedVersion, encoding: Encoding, bucket_owner: &str) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(version.latest),
        key: Some(encoding.key(&version.object.key)),
        last_modified: Some(timestamp(version.object.modified)),
        owner: Some(owner(&version.object, bucket_owner)),
        version_id: Some(version.version.to_string()),
    }
}

/// Who wrote an object; without a name, the bucket's owner.
fn owner(object: &ListedObject, bucket_owner: &str) -> Owner {
    shown_owner(if object.owner.is_empty() { bucket_owner } else { &object.owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_only_when_asked() {
        let url = Encoding::of(Some(&EncodingType::from_static(EncodingType::URL))).expect("known");
        let raw = Encoding::of(None).expect("known");
        for (key, encoded) in [("a/b.c-d_e~f", "a/b.c-d_e~f"), ("a b+c", "a%20b%2Bc"), ("ü\u{1}%", "%C3%BC%01%25")] {
            assert_eq!(url.key(key), encoded);
            assert_eq!(raw.key(key), key);
        }
        assert!(Encoding::of(Some(&EncodingType::from_static("base64"))).is_err());
        assert_eq!(raw.for_all(["a", "b\nc\t"]).key("a b"), "a b");
        for unspeakable in ["\u{1}", "a\u{8}b", "\u{1f}", "\u{ffff}"] {
            let both = raw.for_all(["a", unspeakable]);
            assert_eq!((both.key("a b"), both.shown().is_some()), ("a%20b".into(), true));
        }
    }

    #[test]
    fn tokens_are_opaque_and_strangers_are_refused() {
        for key in ["", "a", "ü/ b", &"k".repeat(1024)] {
            assert_eq!(key_of_token(&token_of_key(key)).expect("ours"), key);
        }
        for bad in ["", "!!", "AmE", &TOKEN.encode([TOKEN_FORMAT, 0xff])] {
            assert_eq!(key_of_token(bad).expect_err("not ours").code(), &S3ErrorCode::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn pages_have_bounds() {
        for (asked, expected) in [(None, 1000), (Some(0), 0), (Some(5), 5), (Some(5000), 1000), (Some(i32::MAX), 1000)] {
            assert_eq!(page_len(asked, "max-keys").expect("good"), expected);
        }
        assert!(page_len(Some(-1), "max-keys").is_err());
    }
}
