//! Segments being written: the collector leaves their shards alone.
//!
//! Never: a segment forgotten before its writer either committed it or gave it up.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_types::SegmentId;

/// The set of segments being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<SegmentId>>>);

impl InFlight {
    pub fn guard(&self) -> InFlightGuard {
        InFlightGuard { set: self.clone(), ids: Vec::new() }
    }

    pub fn contains(&self, id: &SegmentId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

/// Keeps its segments in the set until dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard {
    set: InFlight,
    ids: Vec<SegmentId>,
}

impl InFlightGuard {
    pub fn add(&mut self, id: SegmentId) {
        self.set.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.ids.push(id);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut set = self.set.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            set.remove(id);
        }
    }
}
