//! Tables for the header functions.

use super::*;
use crate::objects::api::{ChecksumAlgorithm, ChecksumKind, ContentHeaders};

fn code<T: std::fmt::Debug>(result: S3Result<T>) -> String {
    result.expect_err("it is refused").code().as_str().to_owned()
}

#[test]
fn aws_chunked_is_not_kept_as_an_encoding() {
    for (sent, kept) in [
        (None, None),
        (Some(""), None),
        (Some("gzip"), Some("gzip")),
        (Some("aws-chunked"), None),
        (Some("AWS-Chunked"), None),
        (Some("aws-chunked,gzip"), Some("gzip")),
        (Some("gzip, aws-chunked"), Some("gzip")),
        (Some("deflate, gzip"), Some("deflate, gzip")),
    ] {
        assert_eq!(stored_encoding(sent.map(str::to_owned)).as_deref(), kept, "{sent:?}");
    }
}

#[test]
fn user_metadata_is_bounded_in_bytes() {
    let meta = |len: usize| Some([("k".to_owned(), "v".repeat(len - 1))].into_iter().collect());
    assert!(object_meta(ContentHeaders::default(), meta(USER_META_LEN_MAX), None, None).is_ok());
    let over = object_meta(ContentHeaders::default(), meta(USER_META_LEN_MAX + 1), None, None);
    assert_eq!(code(over), "MetadataTooLarge");
}

#[test]
fn tag_headers_are_read() {
    let read = |header: &str| tags(header).map(|tags| tags.into_iter().collect::<Vec<_>>());
    assert_eq!(read("").expect("empty"), []);
    let expected = [("a b".to_owned(), "1&2".to_owned()), ("c".to_owned(), String::new())];
    assert_eq!(read("a+b=1%262&c").expect("two tags"), expected);
    for bad in ["a=1&a=2", "=1", "%ff=1", &"k".repeat(129)] {
        assert_eq!(code(tags(bad)), "InvalidTag", "{bad}");
    }
    let eleven: Vec<String> = (0..11).map(|number| format!("k{number}=v")).collect();
    assert_eq!(code(tags(&eleven.join("&"))), "InvalidTag");
}

#[test]
fn times_survive_both_ways_and_never_panic() {
    for ms in [0, 1_445_412_480_000, LATEST_MS] {
        assert_eq!(unix_ms(timestamp(UnixMs(ms))), UnixMs(ms));
    }
    assert_eq!(unix_ms(timestamp(UnixMs(u64::MAX))), UnixMs(LATEST_MS));
    let before = Timestamp::parse(TimestampFormat::HttpDate, "Wed, 31 Dec 1969 23:59:59 GMT").expect("a date");
    assert_eq!(unix_ms(before), UnixMs(0));
}

#[test]
fn only_the_null_version_exists() {
    assert_eq!(version_of(None).expect("none"), None);
    assert_eq!(version_of(Some("null")).expect("a name"), Some(VersionRef::Null));
    assert!(version_of(Some(&"0a".repeat(16))).expect("a name").is_some());
    assert_eq!(code(version_of(Some("3HL4kqtJvjVBH40Nrjfkd"))), "InvalidArgument");
}

#[test]
fn copy_ranges_have_one_form() {
    for (header, expected) in [
        (None, Some(None)),
        (Some("bytes=0-0"), Some(Some(0..1))),
        (Some("bytes=5-9"), Some(Some(5..10))),
        (Some("bytes=5-"), None),
        (Some("bytes=-5"), None),
        (Some("0-9"), None),
        (Some("bytes=9-5"), None),
        (Some("bytes=0-9,11-12"), None),
        (Some("bytes=0-18446744073709551615"), None),
    ] {
        match (copy_range(header), expected) {
            (Ok(range), Some(expected)) => assert_eq!(range, expected, "{header:?}"),
            (result, None) => assert_eq!(code(result), "InvalidArgument", "{header:?}"),
            (result, _) => panic!("{header:?}: {result:?}"),
        }
    }
}

fn checksum(value: u8) -> Checksum {
    Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::FullObject, value: vec![value; 4], parts: 0 }
}

#[test]
fn views_follow_range_and_part_number() {
    let plain = ObjectInfo { checksums: vec![checksum(9)], ..crate::s3::test_info(10, &[]) };
    let mut parted = ObjectInfo { checksums: vec![checksum(9)], ..crate::s3::test_info(10, &[(1, 6), (7, 4)]) };
    parted.parts[1].checksums = vec![checksum(7)];
    let empty = crate::s3::test_info(0, &[]);
    type Seen<'a> = Result<(Range<u64>, Option<&'a str>), &'a str>; // bytes and Content-Range, or the refusal
    let cases: Vec<(&ObjectInfo, Option<&str>, Option<i32>, Seen<'_>)> = vec![
        (&plain, None, None, Ok((0..10, None))),
        (&plain, Some("bytes=0-3"), None, Ok((0..4, Some("bytes 0-3/10")))),
        (&plain, Some("bytes=9-"), None, Ok((9..10, Some("bytes 9-9/10")))),
        (&plain, Some("bytes=-4"), None, Ok((6..10, Some("bytes 6-9/10")))),
        (&plain, Some("bytes=-99"), None, Ok((0..10, Some("bytes 0-9/10")))),
        (&plain, Some("bytes=5-99"), None, Ok((5..10, Some("bytes 5-9/10")))),
        (&plain, Some("bytes=10-"), None, Err("InvalidRange")),
        (&plain, Some("bytes=-0"), None, Err("InvalidRange")),
        (&empty, Some("bytes=0-"), None, Err("InvalidRange")),
        (&empty, Some("bytes=-1"), None, Err("InvalidRange")),
        (&empty, None, None, Ok((0..0, None))),
        (&empty, None, Some(1), Ok((0..0, None))),
        (&plain, None, Some(1), Ok((0..10, Some("bytes 0-9/10")))),
        (&plain, None, Some(2), Err("InvalidPartNumber")),
        (&parted, None, Some(1), Ok((0..6, Some("bytes 0-5/10")))),
        (&parted, None, Some(7), Ok((6..10, Some("bytes 6-9/10")))),
        (&parted, None, Some(3), Err("InvalidPartNumber")),
        (&plain, None, Some(0), Err("InvalidArgument")),
        (&plain, None, Some(-1), Err("InvalidArgument")),
        (&plain, None, Some(10_001), Err("InvalidArgument")),
        (&plain, Some("bytes=0-3"), Some(1), Err("InvalidRequest")),
    ];
    for (info, range, part, expected) in cases {
        let parsed = range.map(|range| dto::Range::parse(range).expect("a range"));
        let seen = View::of(info, parsed, part);
        match (seen, expected) {
            (Ok(view), Ok((bytes, content_range))) => {
                assert_eq!(view.range, bytes, "{range:?} {part:?}");
                assert_eq!(view.content_range.as_deref(), content_range, "{range:?} {part:?}");
                assert_eq!(view.len(), bytes.end - bytes.start);
            }
            (Err(error), Err(expected)) => assert_eq!(error.code().as_str(), expected, "{range:?} {part:?}"),
            (seen, expected) => panic!("{range:?} {part:?}: {seen:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_checksum_is_shown_only_beside_the_bytes_it_covers() {
    let mut info = ObjectInfo { checksums: vec![checksum(9)], ..crate::s3::test_info(10, &[(1, 6), (2, 4)]) };
    info.parts[1].checksums = vec![checksum(7)];
    let shown = |range: Option<&str>, part| {
        let range = range.map(|range| dto::Range::parse(range).expect("a range"));
        View::of(&info, range, part).expect("a view").checksums
    };
    assert_eq!(shown(None, None), [checksum(9)]);
    assert_eq!(shown(None, Some(2)), [checksum(7)]);
    assert_eq!(shown(Some("bytes=0-3"), None), []);
}

#[test]
fn not_modified_carries_its_validators() {
    let info = crate::s3::test_info(10, &[]);
    let conditions = read_conditions(None, Some(ETagCondition::ETag(etag(&info.etag))), None, None);
    let error = check_read(&conditions, &info).expect_err("not modified");
    assert_eq!(error.status_code(), Some(http::StatusCode::NOT_MODIFIED));
    let headers = error.headers().expect("headers");
    assert_eq!(headers[header::ETAG], format!("\"{}\"", info.etag).as_str());
    assert_eq!(headers[header::LAST_MODIFIED], "Thu, 01 Jan 1970 00:00:10 GMT");
}
