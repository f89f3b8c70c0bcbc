//! What an S3 client sends and the S3 library leaves to us: tags, tokens, ranges, checksums, what a signature covers.
#![no_main]

use arbitrary::Arbitrary;
use cairn_gateway::s3::fuzzing::{request, value, view};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    headers: Vec<(Name<'a>, &'a [u8])>,
    len: Option<i64>,
    md5: Option<&'a str>,
    parts: Vec<(u16, u32)>,
    part: Option<i32>,
    size: u64,
    uri: &'a str,
    text: &'a str,
}

#[derive(Debug, Arbitrary)]
enum Name<'a> {
    Known(u8),
    Any(&'a [u8]),
}

const KNOWN: [&str; 16] = [
    "authorization",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-algorithm",
    "x-amz-trailer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-acl",
    "x-amz-grant-read",
    "x-amz-server-side-encryption",
    "x-amz-object-lock-mode",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-expected-bucket-owner",
    "x-amz-security-token",
];

fuzz_target!(|input: Input| {
    value(input.text);
    let mut headers = HeaderMap::new();
    for (name, text) in input.headers.iter().take(64) {
        let name = match name {
            Name::Known(at) => HeaderName::from_static(KNOWN[usize::from(*at) % KNOWN.len()]),
            Name::Any(name) => match HeaderName::from_bytes(name) {
                Ok(name) => name,
                Err(_) => continue,
            },
        };
        if let Ok(text) = HeaderValue::from_bytes(text) {
            headers.append(name, text);
        }
    }
    if let Ok(uri) = input.uri.parse::<Uri>() {
        request(&headers, &uri, input.len, input.md5);
    }
    let parts: Vec<(u32, u64)> = input.parts.iter().map(|(number, len)| ((*number).into(), (*len).into())).collect();
    let len = if parts.is_empty() { input.size } else { parts.iter().map(|(_, len)| len).sum() };
    view(len, &parts, Some(input.text), None);
    view(len, &parts, None, input.part);
});
