//! Native commands: put, get, ls, rm, stat and mb through a gateway's unix socket.
//!
//! Never: a whole object in memory. Limits: [`FILES_AT_ONCE`] files and [`PARTS_AT_ONCE`] parts of one file in flight.

mod estimate;
mod get;
mod list;
mod progress;
mod put;
mod resume;
mod share;

use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

pub use estimate::bucket;
pub use get::get;
pub use list::{ls, mb, rm, stat};
pub use put::put;
pub use share::share;

use crate::args;
use crate::config::dir_or_default;
use crate::home::{self, Role};
use crate::outcome::{ExitCode, coded};
use crate::socket::{Dialer, GATEWAY_SOCKET, request, with_query};

/// Files stored or fetched at once by a recursive command.
pub const FILES_AT_ONCE: usize = 8;
/// Parts of one file stored at once.
pub const PARTS_AT_ONCE: usize = 3;

/// The gateway that `socket` means.
pub fn dialer(socket: &args::Socket) -> Result<Dialer> {
    if let Some(path) = &socket.socket {
        return Ok(Dialer::new(path, "start the gateway that owns this socket, or name another with --socket or --dir"));
    }
    let dir = gateway_dir(socket)?;
    let remedy =
        format!("start it (cairn gateway --dir {}), or name a running one with --dir, --socket or CAIRN_SOCKET", dir.display());
    Ok(Dialer::new(dir.join(GATEWAY_SOCKET), remedy))
}

/// The data directory of the gateway that `socket` means; a localnet's directory holds its gateway's.
pub fn gateway_dir(socket: &args::Socket) -> Result<PathBuf> {
    let dir = dir_or_default(socket.dir.clone(), Role::Gateway)?;
    let inside = dir.join("gateway");
    Ok(if home::is_initialised(&inside) && !home::is_initialised(&dir) { inside } else { dir })
}

/// A bucket and a key or prefix; the key may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bucket.
    pub bucket: String,
    /// Key or prefix.
    pub key: String,
}

impl Place {
    /// Reads `BUCKET[/KEY]`, with or without `cairn://` or `s3://` before it.
    pub fn parse(text: &str) -> Result<Place> {
        let bare = text.strip_prefix("cairn://").or_else(|| text.strip_prefix("s3://")).unwrap_or(text);
        let (bucket, key) = bare.split_once('/').unwrap_or((bare, ""));
        if bucket.is_empty() {
            return Err(coded(
                ExitCode::Usage,
                format!("{text:?} names no bucket"),
                "write BUCKET/KEY, such as photos/2024/a.jpg",
            ));
        }
        Ok(Place { bucket: bucket.into(), key: key.into() })
    }

    /// As [`Self::parse`], for commands that need a key.
    pub fn parse_object(text: &str) -> Result<Place> {
        let place = Place::parse(text)?;
        if place.key.is_empty() {
            return Err(coded(
                ExitCode::Usage,
                format!("{text:?} names no object"),
                "write BUCKET/KEY, such as photos/2024/a.jpg",
            ));
        }
        Ok(place)
    }

    fn path(&self, route: &str) -> String {
        with_query(route, &[("bucket", &self.bucket), ("key", &self.key)])
    }

    fn with_key(&self, key: String) -> Place {
        Place { bucket: self.bucket.clone(), key }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

/// Standard input or output as an async file of its own.
fn standard(stream: impl AsFd) -> Result<tokio::fs::File> {
    Ok(tokio::fs::File::from_std(stream.as_fd().try_clone_to_owned()?.into()))
}

/// One key of a listing.
#[derive(Debug, Clone, serde::Deserialize)]
struct Listed {
    key: String,
    len: u64,
    etag: String,
    modified_ms: u64,
}

#[derive(Debug, serde::Deserialize)]
struct Page {
    objects: Vec<Listed>,
    prefixes: Vec<String>,
    next: Option<String>,
}

async fn page(dialer: &Dialer, place: &Place, delimiter: &str, cursor: Option<&str>) -> Result<Page> {
    let mut fields = vec![("bucket", place.bucket.as_str()), ("prefix", place.key.as_str()), ("delimiter", delimiter)];
    fields.extend(cursor.map(|cursor| ("cursor", cursor)));
    dialer.json(request(Method::GET, &with_query("/v1/objects", &fields), crate::socket::empty())?).await
}

async fn stat_object(dialer: &Dialer, place: &Place) -> Result<Value> {
    dialer.json(request(Method::GET, &place.path("/v1/stat"), crate::socket::empty())?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_a_bucket_and_a_key() {
        for (text, expected) in [
            ("b/k", Some(("b", "k"))),
            ("cairn://b/k/l", Some(("b", "k/l"))),
            ("s3://b", Some(("b", ""))),
            ("b/", Some(("b", ""))),
            ("b//k", Some(("b", "/k"))),
            ("/k", None),
            ("", None),
        ] {
            let place = Place::parse(text).ok();
            assert_eq!(place.as_ref().map(|place| (place.bucket.as_str(), place.key.as_str())), expected, "{text}");
        }
        assert!(Place::parse_object("b/").is_err());
    }
}
