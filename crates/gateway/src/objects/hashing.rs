//! Hashing a body while it streams: MD5 for the ETag and the checksums asked for, on blocking threads, beside the upload.
//!
//! MD5 is the slowest stage of a PUT, so a batch is hashed while the next one is being read and sent.
//! Never: a thread held by a body that does not move. Limits: two batches of [`BATCH_LEN`] (plus one chunk) per body.

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::api::{Checksum, ChecksumAlgorithm};
use super::checksum::Hasher;
use super::error::ObjectError;

/// Bytes hashed in one go on a blocking thread.
const BATCH_LEN: usize = 256 * 1024;
/// Up to this many bytes are hashed where they are: handing them over would cost more.
const INLINE_LEN_MAX: usize = 16 * 1024;

/// What a body turned out to be.
#[derive(Debug, Clone)]
pub(crate) struct Digests {
    pub md5: [u8; 16],
    pub checksums: Vec<Checksum>,
}

struct State {
    md5: Md5,
    others: Vec<Hasher>,
}

impl State {
    fn update(&mut self, batch: &[Bytes]) {
        for chunk in batch {
            self.md5.update(chunk);
            for hasher in &mut self.others {
                hasher.update(chunk);
            }
        }
    }

    fn finish(self) -> Digests {
        Digests { md5: self.md5.finalize().into(), checksums: self.others.into_iter().map(Hasher::finish).collect() }
    }
}

enum Stage {
    Idle(State),
    Running(JoinHandle<State>),
    Lost,
}

/// Hashes one body.
pub(crate) struct BodyHasher {
    stage: Stage,
    waiting: Vec<Bytes>,
    waiting_len: usize,
    permits: Arc<Semaphore>,
}

impl BodyHasher {
    /// A hasher of MD5 and `algorithms`; `permits` bounds the batches hashed at once.
    pub fn new(algorithms: impl Iterator<Item = ChecksumAlgorithm>, permits: Arc<Semaphore>) -> BodyHasher {
        let mut distinct: Vec<ChecksumAlgorithm> = algorithms.collect();
        distinct.sort_unstable();
        distinct.dedup();
        let state = State { md5: Md5::new(), others: distinct.into_iter().map(Hasher::new).collect() };
        BodyHasher { stage: Stage::Idle(state), waiting: Vec::new(), waiting_len: 0, permits }
    }

    /// Takes the next bytes; waits only while the batch before is still being hashed.
    ///
    /// # Errors
    /// [`ObjectError::Internal`] if a hashing thread was lost.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), ObjectError> {
        self.waiting_len += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_len < BATCH_LEN {
            return Ok(());
        }
        let mut state = self.idle().await?;
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| ObjectError::Stopping)?;
        let batch = std::mem::take(&mut self.waiting);
        self.waiting_len = 0;
        self.stage = Stage::Running(tokio::task::spawn_blocking(move || {
            state.update(&batch);
            drop(permit);
            state
        }));
        Ok(())
    }

    /// The digests of everything pushed.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn finish(mut self) -> Result<Digests, ObjectError> {
        let mut state = self.idle().await?;
        let batch = std::mem::take(&mut self.waiting);
        if self.waiting_len <= INLINE_LEN_MAX {
            state.update(&batch);
            return Ok(state.finish());
        }
        let permit = self.permits.acquire_owned().await.map_err(|_| ObjectError::Stopping)?;
        let hashing = tokio::task::spawn_blocking(move || {
            state.update(&batch);
            drop(permit);
            state.finish()
        });
        hashing.await.map_err(|error| ObjectError::Internal(format!("hashing: {error}")))
    }

    async fn idle(&mut self) -> Result<State, ObjectError> {
        match std::mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Idle(state) => Ok(state),
            Stage::Running(task) => task.await.map_err(|error| ObjectError::Internal(format!("hashing: {error}"))),
            Stage::Lost => Err(ObjectError::Internal("hashing was given up".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn digests_do_not_depend_on_how_a_body_is_cut() {
        let body: Vec<u8> = (0..1_000_003u32).map(|n| (n % 253) as u8).collect();
        let whole = Md5::digest(&body);
        for cut in [1_000_003, 65_536, 16_384, 100_000, BATCH_LEN, BATCH_LEN + 1] {
            let mut hasher =
                BodyHasher::new([ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32].into_iter(), Arc::new(Semaphore::new(1)));
            for chunk in body.chunks(cut) {
                hasher.push(Bytes::copy_from_slice(chunk)).await.expect("threads");
            }
            let digests = hasher.finish().await.expect("threads");
            assert_eq!(digests.md5[..], whole[..], "cut {cut}");
            assert_eq!(digests.checksums.len(), 1, "an algorithm named twice is computed once");
            assert_eq!(
                crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &body).to_be_bytes()[4..],
                digests.checksums[0].value
            );
        }
    }
}
