//! Harness of the end-to-end tests: the real binary `cairn`, real provider processes, real S3 clients.
//!
//! Never: names a crate of the product; everything goes through processes, sockets and files, as a user's would.
//! Limits: Linux (signals, `/proc`); every wait has a deadline.

pub mod anvil;
pub mod cli;
pub mod data;
pub mod disk;
pub mod localnet;
pub mod proc;
pub mod rpc;
pub mod s3;
pub mod tool;

pub use anvil::Anvil;
pub use localnet::{Localnet, Provider, Ready};
pub use s3::{Answer, Body, S3};
