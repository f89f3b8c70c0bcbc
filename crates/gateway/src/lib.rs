//! S3 gateway and catalog: names and keys live here, bytes live on the network.
//!
//! Never: plaintext, names or keys handed to anything but the client. Limits: [`objects::limits`].

pub mod catalog;
mod drained;
pub mod native;
pub mod objects;
mod rules;
pub mod s3;
