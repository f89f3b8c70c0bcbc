//! State of an interrupted put: which upload of which file it belongs to. The parts themselves are asked of the gateway.
//!
//! Never: continued for a file whose length or modification time changed. Limits: one file of JSON per upload, `docs/formats/node-files.md`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Place;
use crate::home;

const VERSION: u32 = 1;

/// An upload that may be continued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutState {
    version: u32,
    /// The file.
    pub source: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    modified_s: i64,
    modified_ns: i64,
    /// Bytes of every part but the last.
    pub part_len: u64,
    /// The gateway's name for the upload.
    pub upload_id: String,
}

impl PutState {
    /// State of a new upload.
    pub fn new(source: &Path, found: &Metadata, part_len: u64, upload_id: String) -> PutState {
        PutState {
            version: VERSION,
            source: source.to_owned(),
            len: found.len(),
            modified_s: found.mtime(),
            modified_ns: found.mtime_nsec(),
            part_len,
            upload_id,
        }
    }

    /// Whether this upload is of the file as it is now.
    pub fn fits(&self, source: &Path, found: &Metadata) -> bool {
        *self == PutState::new(source, found, self.part_len, self.upload_id.clone()) && self.part_len > 0
    }
}

/// Where the state of one upload lies.
#[derive(Debug, Clone)]
pub struct StateFile(PathBuf);

impl StateFile {
    /// The file for putting `source` to `place` through the gateway at `socket`.
    pub fn of(socket: &Path, place: &Place, source: &Path) -> Result<StateFile> {
        Ok(StateFile::under(&home::state_root()?, socket, place, source))
    }

    fn under(root: &Path, socket: &Path, place: &Place, source: &Path) -> StateFile {
        let mut hash = Sha256::new();
        for part in [
            socket.as_os_str().as_encoded_bytes(),
            place.bucket.as_bytes(),
            place.key.as_bytes(),
            source.as_os_str().as_encoded_bytes(),
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        StateFile(root.join("puts").join(format!("{}.json", hex::encode(&hash.finalize()[..16]))))
    }

    /// What was left behind, if it can be read.
    pub fn load(&self) -> Option<PutState> {
        let state: PutState = serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()?;
        (state.version == VERSION).then_some(state)
    }

    /// Remembers an upload.
    pub fn save(&self, state: &PutState) -> Result<()> {
        if let Some(dir) = self.0.parent() {
            home::make_private_dir(dir)?;
        }
        home::write_private(&self.0, &serde_json::to_vec(state)?)
    }

    /// Forgets it.
    pub fn forget(&self) {
        // A state file that stays is noticed as unfitting or unknown to the gateway by the next put.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_again_for_the_same_unchanged_file_only() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("a");
        std::fs::write(&source, b"12345").unwrap();
        let place = Place { bucket: "b".into(), key: "k".into() };
        let file = StateFile::under(root.path(), Path::new("/s"), &place, &source);
        assert!(file.load().is_none());
        let state = PutState::new(&source, &std::fs::metadata(&source).unwrap(), 4, "id".into());
        file.save(&state).unwrap();
        let loaded = StateFile::under(root.path(), Path::new("/s"), &place, &source).load().unwrap();
        assert!(loaded.fits(&source, &std::fs::metadata(&source).unwrap()));
        assert!(StateFile::under(root.path(), Path::new("/t"), &place, &source).load().is_none());
        std::fs::write(&source, b"123456").unwrap();
        assert!(!loaded.fits(&source, &std::fs::metadata(&source).unwrap()));
        file.forget();
        assert!(file.load().is_none());
    }
}
