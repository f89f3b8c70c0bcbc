//! Limits of names and metadata, checked before anything else happens.
//!
//! Never: look anything up.

use super::api::ObjectMeta;
use super::error::ObjectError;
use super::limits::{HEADERS_LEN_MAX, KEY_LEN_MAX, PART_NUMBER_MAX, TAGS_MAX, USER_META_LEN_MAX};

/// S3's rules for bucket names: 3–63 of `a-z 0-9 . -`, first and last a letter or digit, no `..`, not an IPv4 address, none of the
/// reserved prefixes and suffixes.
pub(crate) fn bucket_name(name: &str) -> Result<(), ObjectError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let good = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|&byte| plain(byte) || byte == b'.' || byte == b'-')
        && plain(bytes[0])
        && plain(bytes[bytes.len() - 1])
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !name.starts_with("xn--")
        && !name.ends_with("-s3alias");
    if good { Ok(()) } else { Err(ObjectError::InvalidBucketName) }
}

/// 1 to 1024 bytes.
pub(crate) fn key(key: &str) -> Result<(), ObjectError> {
    match key.len() {
        0 => Err(ObjectError::InvalidArgument { name: "key", reason: "a key has at least one byte".into() }),
        len if len > KEY_LEN_MAX => Err(ObjectError::KeyTooLong { len, max: KEY_LEN_MAX }),
        _ => Ok(()),
    }
}

/// 1 to 10,000.
pub(crate) fn part_number(number: u32) -> Result<(), ObjectError> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        return Ok(());
    }
    let reason = format!("{number} is not between 1 and {PART_NUMBER_MAX}");
    Err(ObjectError::InvalidArgument { name: "partNumber", reason })
}

/// Sizes of headers, user metadata and tags.
pub(crate) fn meta(meta: &ObjectMeta) -> Result<(), ObjectError> {
    let user = meta.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    limit("user metadata", user, USER_META_LEN_MAX)?;
    let headers = &meta.headers;
    let all = [
        &headers.content_type,
        &headers.cache_control,
        &headers.content_disposition,
        &headers.content_encoding,
        &headers.content_language,
        &headers.expires,
        &headers.website_redirect,
        &meta.storage_class,
    ];
    limit("content headers", all.into_iter().flatten().map(String::len).sum(), HEADERS_LEN_MAX)?;
    tags(&meta.tags)
}

/// Number and sizes of tags.
pub(crate) fn tags(tags: &std::collections::BTreeMap<String, String>) -> Result<(), ObjectError> {
    let invalid = |reason: &str| Err(ObjectError::InvalidArgument { name: "tagging", reason: reason.into() });
    if tags.len() > TAGS_MAX {
        return invalid("an object has at most 10 tags");
    }
    if tags.iter().any(|(name, value)| name.is_empty() || name.chars().count() > 128 || value.chars().count() > 256) {
        return invalid("a tag has a name of 1 to 128 characters and a value of at most 256");
    }
    Ok(())
}

fn limit(what: &'static str, len: usize, max: usize) -> Result<(), ObjectError> {
    if len > max { Err(ObjectError::MetadataTooLarge { what, len, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for (name, good) in [
            ("abc", true),
            ("my-bucket.2024", true),
            ("1-a", true),
            (&*"a".repeat(63), true),
            (&*"a".repeat(64), false),
            ("ab", false),
            ("", false),
            ("-ab", false),
            ("ab-", false),
            (".ab", false),
            ("a..b", false),
            ("Abc", false),
            ("a_b", false),
            ("a/b", false),
            ("bücket", false),
            ("192.168.5.4", false),
            ("xn--abc", false),
            ("abc-s3alias", false),
        ] {
            assert_eq!(bucket_name(name).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn keys_have_1_to_1024_bytes_of_any_kind() {
        for (text, good) in
            [("a", true), ("", false), (&*"k".repeat(1024), true), (&*"é".repeat(513), false), ("../..//\0 ", true)]
        {
            assert_eq!(key(text).is_ok(), good, "{} bytes", text.len());
        }
    }

    #[test]
    fn oversized_metadata_is_refused() {
        let with = |user: usize, header: usize, tags: usize| {
            let mut meta = ObjectMeta::default();
            meta.user.insert("a".into(), "b".repeat(user));
            meta.headers.cache_control = Some("c".repeat(header));
            meta.tags = (0..tags).map(|n| (n.to_string(), String::new())).collect();
            super::meta(&meta)
        };
        assert!(with(100, 100, 10).is_ok());
        assert!(matches!(with(USER_META_LEN_MAX, 0, 0), Err(ObjectError::MetadataTooLarge { .. })));
        assert!(matches!(with(0, HEADERS_LEN_MAX + 1, 0), Err(ObjectError::MetadataTooLarge { .. })));
        assert!(matches!(with(0, 0, 11), Err(ObjectError::InvalidArgument { .. })));
    }
}
