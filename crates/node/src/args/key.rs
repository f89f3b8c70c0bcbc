//! The command line of S3 access keys.

use clap::{Args, Subcommand};

use super::Socket;

/// `cairn key`
#[derive(Debug, Args)]
pub struct Key {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// Make, list and revoke.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an access key; its secret is shown once
    Create(KeyCreate),
    /// List access keys without their secrets
    List(Socket),
    /// Make an access key useless from now on
    Revoke(KeyRevoke),
}

/// `cairn key create`
#[derive(Debug, Args)]
pub struct KeyCreate {
    /// A word to remember it by
    #[arg(long, default_value = "")]
    pub label: String,
    /// Whose it is: a user has buckets of their own. Without it, the account's own
    #[arg(long, default_value = "")]
    pub user: String,
    /// It opens only this bucket
    #[arg(long, default_value = "")]
    pub bucket: String,
    /// It opens only keys that begin with this; needs --bucket
    #[arg(long, default_value = "", requires = "bucket")]
    pub prefix: String,
    /// It changes nothing
    #[arg(long)]
    pub read_only: bool,
    /// It opens nothing after this time, as 7d or 12h
    #[arg(long, value_name = "TIME")]
    pub expires: Option<crate::span::Span>,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn key revoke`
#[derive(Debug, Args)]
pub struct KeyRevoke {
    /// The access key
    pub access_key: String,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}
