//! Receiving a body: hashed, checked and, unless it is small, streamed to the network as it arrives.
//!
//! Never: a body that failed a check leaves anything behind: the writer is dropped and its shards are deleted.
//! Limits: a small body is buffered, of any other only what the writer and the hasher hold.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cairn_client::{BlobKind, BlobWriter, StoredBlob, WriterOptions};
use futures::StreamExt;

use super::api::{Body, BodyChecks, Checksum, ChecksumAlgorithm};
use super::core::{Core, write_error};
use super::error::ObjectError;
use super::hashing::{BodyHasher, Digests};
use super::limits::PUT_LEN_MAX;

/// Where a body's bytes are.
pub(crate) enum Content {
    /// Here.
    Small(Bytes),
    /// Durable on the network.
    Blob(Arc<StoredBlob>),
}

/// A body that passed all its checks.
pub(crate) struct Received {
    pub len: u64,
    pub digests: Digests,
    pub content: Content,
}

/// Receives `body`; up to `small_max` bytes stay in memory.
pub(crate) async fn receive(core: &Core, mut body: Body, checks: BodyChecks, small_max: usize) -> Result<Received, ObjectError> {
    check_expected(&checks)?;
    if checks.len.is_some_and(|len| len > PUT_LEN_MAX) {
        return Err(ObjectError::EntityTooLarge { max: PUT_LEN_MAX });
    }
    let algorithms = checks.checksums.iter().map(|(algorithm, _)| *algorithm);
    let mut hasher = BodyHasher::new(algorithms, core.hashing.clone());
    let mut small = BytesMut::new();
    let mut writer: Option<BlobWriter> = None;
    let mut len = 0u64;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        len = len.saturating_add(chunk.len() as u64);
        check_len(len, &checks)?;
        hasher.push(chunk.clone()).await?;
        if writer.is_none() && len > small_max as u64 {
            let mut started = start(core, checks.len)?;
            started.write(std::mem::take(&mut small).freeze()).await.map_err(write_error)?;
            writer = Some(started);
        }
        match &mut writer {
            Some(writer) => writer.write(chunk).await.map_err(write_error)?,
            None => small.extend_from_slice(&chunk),
        }
    }
    if let Some(expected) = checks.len.filter(|expected| *expected != len) {
        return Err(ObjectError::IncompleteBody { received: len, expected });
    }
    let digests = hasher.finish().await?;
    verify(checks, &digests)?;
    let content = match writer {
        Some(writer) => Content::Blob(Arc::new(writer.finish().await.map_err(write_error)?)),
        None => Content::Small(small.freeze()),
    };
    Ok(Received { len, digests, content })
}

fn start(core: &Core, len_hint: Option<u64>) -> Result<BlobWriter, ObjectError> {
    let options = WriterOptions { kind: BlobKind::Data, sequence: core.network.next_sequence(), len_hint };
    core.network.client.writer_with(options).map_err(write_error)
}

fn check_expected(checks: &BodyChecks) -> Result<(), ObjectError> {
    for (algorithm, expected) in &checks.checksums {
        check_value_len(*algorithm, expected.as_deref())?;
    }
    Ok(())
}

/// Whether an expected value has the length its algorithm gives.
pub(crate) fn check_value_len(algorithm: ChecksumAlgorithm, value: Option<&[u8]>) -> Result<(), ObjectError> {
    match value {
        Some(value) if value.len() != algorithm.len() => Err(ObjectError::InvalidArgument {
            name: "checksum",
            reason: format!("a {algorithm} value has {} bytes, not {}", algorithm.len(), value.len()),
        }),
        _ => Ok(()),
    }
}

fn check_len(len: u64, checks: &BodyChecks) -> Result<(), ObjectError> {
    match checks.len {
        Some(expected) if len > expected => Err(ObjectError::IncompleteBody { received: len, expected }),
        _ if len > PUT_LEN_MAX => Err(ObjectError::EntityTooLarge { max: PUT_LEN_MAX }),
        _ => Ok(()),
    }
}

fn verify(checks: BodyChecks, digests: &Digests) -> Result<(), ObjectError> {
    if checks.md5.is_some_and(|expected| expected != digests.md5) {
        return Err(ObjectError::BadDigest);
    }
    for (algorithm, expected) in checks.checksums {
        if let Some(expected) = expected {
            verify_one(algorithm, &expected, &digests.checksums)?;
        }
    }
    if let Some(late) = checks.late {
        for (algorithm, expected) in late()? {
            check_value_len(algorithm, Some(&expected))?;
            verify_one(algorithm, &expected, &digests.checksums)?;
        }
    }
    Ok(())
}

/// A value that was announced and not computed cannot be confirmed, so it does not match.
fn verify_one(algorithm: ChecksumAlgorithm, expected: &[u8], computed: &[Checksum]) -> Result<(), ObjectError> {
    let matches = computed.iter().any(|checksum| checksum.algorithm == algorithm && checksum.value == expected);
    if matches { Ok(()) } else { Err(ObjectError::ChecksumMismatch { algorithm }) }
}
