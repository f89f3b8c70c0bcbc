//! Labels and wrapped keys from a hostile provider: as they come, and with a body that the account itself sealed.
#![no_main]

use cairn_coding::{LABEL_LEN, Label, LabelError, Layout, WrappedKey};
use cairn_types::{BlobId, DataKeys};
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use libfuzzer_sys::fuzz_target;

/// The keys of `tests/vectors/label.json`.
fn keys() -> DataKeys {
    DataKeys { wrap: sample(5), label: sample(6) }
}

fn sample(seed: usize) -> [u8; 32] {
    std::array::from_fn(|at| (31 * at + at / 251 + seed) as u8)
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, input)) = input.split_first() else { return };
    match mode % 3 {
        0 => check(input),
        1 => check(&sealed(input)),
        _ => {
            let (blob, wrapped) = input.split_at(input.len().min(16));
            if let (Some(blob), Some(wrapped)) = (BlobId::from_slice(blob), WrappedKey::from_slice(wrapped)) {
                let _ = wrapped.open(&keys(), blob);
            }
        }
    }
});

fn check(bytes: &[u8]) {
    match Label::open(bytes, &keys()) {
        Ok(label) => {
            assert!(Layout::new(label.redundancy, label.plain_len).is_ok());
            assert!(usize::from(label.shard_index) < label.redundancy.total());
            assert_eq!(Label::open(&label.seal(&keys(), [9; 24]), &keys()), Ok(label));
        }
        Err(LabelError::WrongLength { len }) => assert!(len != LABEL_LEN),
        Err(_) => {}
    }
}

/// A label whose sealed body is `body`, cut or continued with zeros.
fn sealed(body: &[u8]) -> Vec<u8> {
    let nonce = [10; 24];
    let mut padded = [0; LABEL_LEN - 1 - 24 - 16];
    let len = body.len().min(padded.len());
    padded[..len].copy_from_slice(&body[..len]);
    let tag = XChaCha20Poly1305::new(&keys().label.into())
        .encrypt_inout_detached(&XNonce::from(nonce), b"cairn/label/1", padded.as_mut_slice().into())
        .expect("a short body");
    [&[1][..], &nonce, &padded, &tag].concat()
}
