//! Checksums: `x-amz-checksum-*`, `Content-MD5` and trailers of a request, and how checksums are shown in answers.
//!
//! Never: compute one; the object store does, while the bytes pass. Limits: one checksum value a request, as in S3.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result, TrailingHeaders};

use super::errors::refused;
use crate::objects::api::{BodyChecks, Checksum, ChecksumAlgorithm, ChecksumKind, LateChecksums, ObjectError};

/// Name, header and length in bytes of each algorithm.
const ALGORITHMS: [(ChecksumAlgorithm, &str, &str, usize); 5] = [
    (ChecksumAlgorithm::Crc32, "CRC32", "x-amz-checksum-crc32", 4),
    (ChecksumAlgorithm::Crc32c, "CRC32C", "x-amz-checksum-crc32c", 4),
    (ChecksumAlgorithm::Crc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme", 8),
    (ChecksumAlgorithm::Sha1, "SHA1", "x-amz-checksum-sha1", 20),
    (ChecksumAlgorithm::Sha256, "SHA256", "x-amz-checksum-sha256", 32),
];

/// `x-amz-checksum-…` headers that are not the value of a checksum.
const NOT_VALUES: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"];

/// Writes checksums into the fields of an output; they are named alike in all of them.
macro_rules! show_checksums {
    ($output:expr, $checksums:expr) => {
        for checksum in $checksums {
            let text = Some($crate::s3::checksum::text(checksum));
            match checksum.algorithm {
                $crate::objects::api::ChecksumAlgorithm::Crc32 => $output.checksum_crc32 = text,
                $crate::objects::api::ChecksumAlgorithm::Crc32c => $output.checksum_crc32c = text,
                $crate::objects::api::ChecksumAlgorithm::Crc64Nvme => $output.checksum_crc64nvme = text,
                $crate::objects::api::ChecksumAlgorithm::Sha1 => $output.checksum_sha1 = text,
                $crate::objects::api::ChecksumAlgorithm::Sha256 => $output.checksum_sha256 = text,
            }
        }
    };
}
pub(super) use show_checksums;

/// Checksum as S3 writes it: base64, and `-N` behind the composite of N parts.
pub(super) fn text(checksum: &Checksum) -> String {
    let value = BASE64.encode(&checksum.value);
    match checksum.kind {
        ChecksumKind::FullObject => value,
        ChecksumKind::Composite => format!("{value}-{}", checksum.parts),
    }
}

/// `x-amz-checksum-type` for a list of checksums.
pub(super) fn shown_kind(checksums: &[Checksum]) -> Option<s3s::dto::ChecksumType> {
    checksums.first().map(|checksum| kind_name(checksum.kind))
}

/// Name of a kind.
pub(super) fn kind_name(kind: ChecksumKind) -> s3s::dto::ChecksumType {
    s3s::dto::ChecksumType::from_static(match kind {
        ChecksumKind::FullObject => s3s::dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => s3s::dto::ChecksumType::COMPOSITE,
    })
}

/// Name of an algorithm.
pub(super) fn algorithm_name(algorithm: ChecksumAlgorithm) -> s3s::dto::ChecksumAlgorithm {
    let (_, name, _, _) = row(algorithm);
    s3s::dto::ChecksumAlgorithm::from_static(name)
}

fn row(algorithm: ChecksumAlgorithm) -> (ChecksumAlgorithm, &'static str, &'static str, usize) {
    ALGORITHMS.into_iter().find(|row| row.0 == algorithm).expect("each algorithm has its row")
}

/// Algorithm of a name.
pub(super) fn algorithm(name: &str) -> S3Result<ChecksumAlgorithm> {
    let found = ALGORITHMS.iter().find(|row| row.1.eq_ignore_ascii_case(name));
    found.map(|row| row.0).ok_or_else(|| {
        let message = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
                       [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]";
        refused(S3ErrorCode::InvalidRequest, message)
    })
}

/// Kind of a name.
pub(super) fn kind(name: &str) -> S3Result<ChecksumKind> {
    match name {
        s3s::dto::ChecksumType::FULL_OBJECT => Ok(ChecksumKind::FullObject),
        s3s::dto::ChecksumType::COMPOSITE => Ok(ChecksumKind::Composite),
        _ => Err(refused(S3ErrorCode::InvalidRequest, "Value for x-amz-checksum-type header is invalid.")),
    }
}

/// A checksum value as it came: base64 of as many bytes as its algorithm has. A composite's `-N` is cut off.
pub(super) fn value(algorithm: ChecksumAlgorithm, text: &str) -> S3Result<Vec<u8>> {
    let (_, _, header, len) = row(algorithm);
    let bare = match text.rsplit_once('-') {
        Some((value, parts)) if parts.bytes().all(|byte| byte.is_ascii_digit()) => value,
        _ => text,
    };
    match BASE64.decode(bare) {
        Ok(value) if value.len() == len => Ok(value),
        _ => Err(refused(S3ErrorCode::BadDigest, format!("Value for {header} header is invalid."))),
    }
}

/// The checksum value among the headers, if any.
pub(super) fn in_headers(headers: &HeaderMap) -> S3Result<Option<(ChecksumAlgorithm, Vec<u8>)>> {
    let mut found = None;
    for (name, text) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-checksum-") || NOT_VALUES.contains(&name) {
            continue;
        }
        let known = ALGORITHMS.iter().find(|row| row.2 == name).ok_or_else(|| {
            refused(S3ErrorCode::InvalidRequest, format!("The checksum algorithm of header {name} is not supported."))
        })?;
        let text = text.to_str().unwrap_or_default();
        if found.replace((known.0, value(known.0, text)?)).is_some() {
            let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(refused(S3ErrorCode::InvalidRequest, message));
        }
    }
    Ok(found)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn in_trailer(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some(names) = header(headers, "x-amz-trailer") else { return Ok(None) };
    let mut found = None;
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let known = ALGORITHMS.iter().find(|row| row.2.eq_ignore_ascii_case(name));
        let invalid = || refused(S3ErrorCode::InvalidRequest, "The value specified in the x-amz-trailer header is not supported");
        if found.replace(known.ok_or_else(invalid)?.0).is_some() {
            return Err(invalid());
        }
    }
    Ok(found)
}

/// What the body of a PutObject or UploadPart is checked against.
///
/// # Errors
/// MissingContentLength, InvalidDigest, InvalidRequest.
pub(super) fn body_checks(
    headers: &HeaderMap,
    trailer: Option<TrailingHeaders>,
    len: Option<i64>,
    md5: Option<&str>,
) -> S3Result<BodyChecks> {
    let len = len.and_then(|len| u64::try_from(len).ok()).ok_or(S3ErrorCode::MissingContentLength)?;
    if headers.get("content-md5").is_some_and(|value| value.is_empty()) {
        return Err(refused(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid."));
    }
    let sent = in_headers(headers)?;
    let announced = in_trailer(headers)?;
    let declared = match header(headers, "x-amz-sdk-checksum-algorithm") {
        Some(name) => Some(algorithm(name)?),
        None => None,
    };
    let mut checksums = Vec::new();
    let mut late: Option<LateChecksums> = None;
    match (sent, announced) {
        (Some(_), Some(_)) => {
            return Err(refused(S3ErrorCode::InvalidRequest, "Expecting a single x-amz-checksum- header or trailer."));
        }
        (Some((algorithm, value)), None) => checksums.push((algorithm, Some(value))),
        (None, Some(algorithm)) => {
            checksums.push((algorithm, None));
            late = Some(late_checksum(algorithm, trailer));
        }
        (None, None) => checksums.extend(declared.map(|algorithm| (algorithm, None))),
    }
    if let (Some(declared), Some((used, _))) = (declared, checksums.first())
        && declared != *used
    {
        return Err(refused(S3ErrorCode::InvalidRequest, "Value for x-amz-sdk-checksum-algorithm header is invalid."));
    }
    Ok(BodyChecks { len: Some(len), md5: md5.map(content_md5).transpose()?, checksums, late })
}

fn late_checksum(algorithm: ChecksumAlgorithm, trailer: Option<TrailingHeaders>) -> LateChecksums {
    Box::new(move || {
        let (_, _, name, _) = row(algorithm);
        let text = trailer.and_then(|trailer| trailer.read(|headers| header(headers, name).map(str::to_owned))).flatten();
        let text =
            text.ok_or_else(|| ObjectError::InvalidRequest(format!("The trailer {name} was announced but did not come.")))?;
        let value = value(algorithm, &text)
            .map_err(|_| ObjectError::InvalidRequest(format!("Value for {name} trailing header is invalid.")))?;
        Ok(vec![(algorithm, value)])
    })
}

fn content_md5(text: &str) -> S3Result<[u8; 16]> {
    let decoded = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    decoded.ok_or_else(|| refused(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    fn code<T>(result: S3Result<T>) -> String {
        result.err().expect("it is refused").code().as_str().to_owned()
    }

    #[test]
    fn each_algorithm_is_read_and_shown() {
        for (algorithm, name, header, len) in ALGORITHMS {
            let text = BASE64.encode(vec![7; len]);
            let checks = body_checks(&headers(&[(header, &text)]), None, Some(3), None).expect("good headers");
            assert_eq!(checks.checksums, [(algorithm, Some(vec![7; len]))]);
            assert_eq!(checks.len, Some(3));
            assert_eq!(super::algorithm(name).expect("a name"), algorithm);
            assert_eq!(algorithm_name(algorithm).as_str(), name);
            let mut shown = Checksum { algorithm, kind: ChecksumKind::FullObject, value: vec![7; len], parts: 0 };
            assert_eq!(super::text(&shown), text);
            shown = Checksum { kind: ChecksumKind::Composite, parts: 3, ..shown };
            assert_eq!(super::text(&shown), format!("{text}-3"));
            assert_eq!(value(algorithm, &super::text(&shown)).expect("a composite"), vec![7; len]);
        }
    }

    #[test]
    fn bad_headers_are_refused_by_name() {
        let crc32 = BASE64.encode([1; 4]);
        let sha1 = BASE64.encode([1; 20]);
        type Case<'a> = (&'a [(&'static str, &'a str)], Option<i64>, Option<&'a str>, &'a str); // headers, length, MD5, refusal
        let cases: [Case<'_>; 12] = [
            (&[], None, None, "MissingContentLength"),
            (&[], Some(-1), None, "MissingContentLength"),
            (&[], Some(0), Some("not base64!"), "InvalidDigest"),
            (&[], Some(0), Some("YQ=="), "InvalidDigest"),
            (&[("x-amz-checksum-crc32", "bad")], Some(0), None, "BadDigest"),
            (&[("x-amz-checksum-crc32", &sha1)], Some(0), None, "BadDigest"),
            (&[("x-amz-checksum-crc32", &crc32), ("x-amz-checksum-sha1", &sha1)], Some(0), None, "InvalidRequest"),
            (&[("x-amz-checksum-crc32", &crc32), ("x-amz-trailer", "x-amz-checksum-sha1")], Some(0), None, "InvalidRequest"),
            (&[("x-amz-checksum-md9", &crc32)], Some(0), None, "InvalidRequest"),
            (&[("x-amz-sdk-checksum-algorithm", "MD9")], Some(0), None, "InvalidRequest"),
            (&[("x-amz-sdk-checksum-algorithm", "SHA1"), ("x-amz-checksum-crc32", &crc32)], Some(0), None, "InvalidRequest"),
            (&[("x-amz-trailer", "x-amz-meta-late")], Some(0), None, "InvalidRequest"),
        ];
        for (given, len, md5, expected) in cases {
            assert_eq!(code(body_checks(&headers(given), None, len, md5)), expected, "{given:?} {md5:?}");
        }
    }

    #[test]
    fn an_announced_trailer_must_come() {
        let announced = headers(&[("x-amz-trailer", "x-amz-checksum-crc32")]);
        let checks = body_checks(&announced, None, Some(1), None).expect("good headers");
        assert_eq!(checks.checksums, [(ChecksumAlgorithm::Crc32, None)]);
        let missing = checks.late.expect("it is asked for later")();
        assert!(matches!(missing, Err(ObjectError::InvalidRequest(_))), "{missing:?}");
    }

    #[test]
    fn a_declared_algorithm_without_a_value_is_computed() {
        let declared = headers(&[("x-amz-sdk-checksum-algorithm", "SHA256")]);
        let checks = body_checks(&declared, None, Some(1), None).expect("good headers");
        assert_eq!(checks.checksums, [(ChecksumAlgorithm::Sha256, None)]);
        assert!(checks.late.is_none());
    }
}
