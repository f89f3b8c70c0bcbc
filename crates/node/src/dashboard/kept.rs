//! Small JSON files that a dashboard keeps for itself.
//!
//! Never: stops for one that is damaged, or cannot be written; what it held is found again or told again.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::home::write_private;

/// What the file at `path` holds; nothing when there is none, or it is damaged. Blocking.
///
/// # Errors
/// It cannot be read.
pub fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %path.display(), "a damaged file begins anew");
            T::default()
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes it, readable for its owner alone; a failure is logged. Blocking.
pub fn write(path: &Path, value: &impl Serialize) {
    let written = serde_json::to_vec(value).context("it is JSON").and_then(|bytes| write_private(path, &bytes));
    if let Err(error) = written {
        tracing::warn!(error = format!("{error:#}"), path = %path.display(), "not on disk");
    }
}
