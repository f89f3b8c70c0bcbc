//! Lease: keeps blobs on their providers while somebody reads them, though nothing in the catalog refers to them any more.
//!
//! A blob is either held by leases or being deleted, never both. A reader takes the lease first and looks at the catalog then, so
//! a blob whose references it saw cannot have begun to be deleted; the trash waits for the last lease.
//! Never: written to disk; after a restart there are no readers. Limits: one entry per blob being read.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_client::Manifest;
use cairn_types::BlobId;

/// Which blobs are held and which are being deleted.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: HashMap<BlobId, usize>,
    deleting: HashSet<BlobId>,
}

/// Holds blobs until dropped.
#[derive(Debug)]
pub struct Lease {
    leases: Arc<Leases>,
    blobs: Vec<BlobId>,
    /// Manifests of the blobs, if they were few: looked up with the object, so that reading it looks nothing up.
    manifests: Vec<Arc<Manifest>>,
}

impl Lease {
    /// The blobs it holds, each once.
    pub(crate) fn blobs(&self) -> &[BlobId] {
        &self.blobs
    }

    /// Keeps a manifest at hand.
    pub(crate) fn keep(&mut self, manifest: Manifest) {
        self.manifests.push(Arc::new(manifest));
    }

    /// The manifest of a blob, if it is at hand.
    pub(crate) fn manifest(&self, blob: BlobId) -> Option<Arc<Manifest>> {
        self.manifests.iter().find(|manifest| manifest.blob == blob).cloned()
    }
}

/// Keeps new leases off a blob while it is deleted.
#[derive(Debug)]
pub(crate) struct Deleting {
    leases: Arc<Leases>,
    blob: BlobId,
}

impl Leases {
    /// Holds `blobs`; `None` if one of them is being deleted.
    pub(crate) fn hold(self: &Arc<Self>, mut blobs: Vec<BlobId>) -> Option<Lease> {
        blobs.sort_unstable();
        blobs.dedup();
        let mut state = self.state();
        if blobs.iter().any(|blob| state.deleting.contains(blob)) {
            return None;
        }
        for blob in &blobs {
            *state.held.entry(*blob).or_insert(0) += 1;
        }
        drop(state);
        Some(Lease { leases: self.clone(), blobs, manifests: Vec::new() })
    }

    /// Begins to delete `blob`; `None` while it is held or already being deleted.
    pub(crate) fn begin_delete(self: &Arc<Self>, blob: BlobId) -> Option<Deleting> {
        let mut state = self.state();
        if state.held.contains_key(&blob) || !state.deleting.insert(blob) {
            return None;
        }
        drop(state);
        Some(Deleting { leases: self.clone(), blob })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.leases.state();
        for blob in &self.blobs {
            if let Some(count) = state.held.get_mut(blob) {
                *count -= 1;
                if *count == 0 {
                    state.held.remove(blob);
                }
            }
        }
    }
}

impl Drop for Deleting {
    fn drop(&mut self) {
        self.leases.state().deleting.remove(&self.blob);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_held_or_being_deleted_never_both() {
        let leases = Arc::new(Leases::default());
        let (a, b) = (BlobId([1; 16]), BlobId([2; 16]));
        let first = leases.hold(vec![a, a, b]).expect("free");
        let second = leases.hold(vec![a]).expect("held blobs may be held again");
        assert!(leases.begin_delete(a).is_none());
        drop(first);
        assert!(leases.begin_delete(a).is_none(), "still held once");
        drop(second);
        let deleting = leases.begin_delete(a).expect("no longer held");
        assert!(leases.begin_delete(a).is_none(), "once at a time");
        assert!(leases.hold(vec![b, a]).is_none());
        assert!(leases.begin_delete(b).is_some(), "a refused lease holds nothing");
        drop(deleting);
        assert!(leases.hold(vec![a]).is_some());
    }
}
