//! What the fuzz targets share: a clock that stands still, a counted random source, a stream over bytes at hand, one runtime.
//!
//! Never: anything that differs between two runs of one input, as far as threads allow.

pub mod chain;
pub mod provider;
/// The tests' own signer of S3 requests.
#[path = "../../../crates/gateway/tests/s3_front/signer.rs"]
pub mod signer;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use cairn_types::{Clock, NodeId, Rng, UnixMs};
use futures::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};

/// The moment at which every target runs.
pub const NOW: UnixMs = UnixMs(1_700_000_000_000);

/// Stands still.
pub struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> UnixMs {
        NOW
    }
}

/// Bytes that differ from draw to draw and are the same in every run.
#[derive(Default)]
pub struct CountedRng(AtomicU64);

impl Rng for CountedRng {
    fn fill(&self, bytes: &mut [u8]) {
        let seed = self.0.fetch_add(1, Ordering::SeqCst);
        bytes.copy_from_slice(&noise(seed, bytes.len()));
    }
}

/// `len` bytes that differ from seed to seed and do not repeat soon.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// An advert's body that names `node`, unless `rest` names another: no fuzzer guesses 32 bytes that it never sees compared.
pub fn advert_body(node: NodeId, rest: &[u8]) -> Bytes {
    [&[0x0a, 32][..], node.as_bytes(), rest].concat().into()
}

/// A stream whose peer has said all of its input, takes everything, and keeps it for whoever looks.
pub struct Peer {
    input: io::Cursor<Vec<u8>>,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Peer {
    /// A peer that says `input`, and where its answer is kept.
    pub fn saying(input: Vec<u8>) -> (Peer, Arc<Mutex<Vec<u8>>>) {
        let output = Arc::default();
        (Peer { input: io::Cursor::new(input), output: Arc::clone(&output) }, output)
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(&mut self.input, buffer))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.output.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The runtime of the targets that need one. A panic in any of its threads ends the process, as a panic of the target does.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        panics_are_findings();
        Builder::new_multi_thread().worker_threads(1).max_blocking_threads(8).enable_time().build().expect("threads")
    })
}

/// A panic in a task or a thread would else be swallowed by whoever joins it.
pub fn panics_are_findings() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        shown(panic);
        std::process::abort();
    }));
}
