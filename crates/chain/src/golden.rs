//! Golden vectors of what this crate writes to disk: `golden.txt`, one `name hex` a line.
//!
//! Never: changed; a new format gets a new version byte and a new line.

/// Fails unless `bytes` are those of the vector `name`.
pub(crate) fn check(name: &str, bytes: &[u8]) {
    let found = format!("{name} {}", alloy_primitives::hex::encode(bytes));
    assert!(include_str!("golden.txt").lines().any(|line| line == found), "{found}");
}
