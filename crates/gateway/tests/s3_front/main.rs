//! The S3 front over real sockets, signed by a signer of our own, before the real object store on a network in memory.

#![allow(clippy::unwrap_used)]

mod auth;
mod bodies;
mod client;
mod latency;
mod listing;
mod matrix;
mod multipart;
#[path = "../net/mod.rs"]
mod net;
mod objects;
mod rights;
mod signer;
mod tls;
mod versions;
mod world;
