//! The command line of a network on one machine.

use std::path::PathBuf;

use cairn_types::Redundancy;
use clap::{Args, Subcommand};

use crate::config::Court;
use crate::size::ByteLen;
use crate::span::Span;

/// `cairn localnet`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Localnet {
    /// Talk to a running localnet instead of starting one
    #[command(subcommand)]
    pub command: Option<LocalnetCommand>,
    /// Directory of the whole network; what is found there is taken up again
    #[arg(long, required = true, env = "CAIRN_LOCALNET_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Provider processes [default: 8, or as many as the directory has]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub providers: Option<u16>,
    /// Space each provider rents out [default: 20GiB, or what the directory says]
    #[arg(long, value_name = "LENGTH")]
    pub space: Option<ByteLen>,
    /// Shards that suffice / shards stored [default: by the number of providers, or what the directory says]
    #[arg(long, value_name = "DATA/TOTAL")]
    pub redundancy: Option<Redundancy>,
    /// Without a ledger: nobody is audited or paid
    #[arg(long, conflicts_with_all = ["paid", "epoch", "chain"])]
    pub free: bool,
    /// With a ledger, on which providers are audited and paid; needed only where a directory has been free before
    #[arg(long)]
    pub paid: bool,
    /// Between two audits and payments, such as 10s to watch them [default: 24h, or what the directory says]
    #[arg(long, value_name = "SPAN")]
    pub epoch: Option<Span>,
    /// How long a provider may not answer before its shards are built anew elsewhere [default: 1h, or what the directory says]
    #[arg(long, value_name = "SPAN")]
    pub repair_after: Option<Span>,
    /// When the gateway takes a provider that lost data to court [default: auto, or what the directory says]
    #[arg(long, value_enum)]
    pub court: Option<Court>,
    /// Let anybody move the ledger's time on; only for tests of deadlines
    #[arg(long, hide = true)]
    pub test_clock: bool,
    /// Use the chain at this address instead of a ledger of the network's own
    #[arg(long, value_name = "URL", requires = "key_file")]
    pub chain: Option<String>,
    /// The contracts on that chain: a file of `cairn chain deploy` [default: deployed at the first start]
    #[arg(long, value_name = "FILE", requires = "chain")]
    pub contracts: Option<PathBuf>,
    /// Private key with coin on that chain, in hex: deploys, and gives every wallet gas and credits
    #[arg(long, value_name = "FILE", requires = "chain")]
    pub key_file: Option<PathBuf>,
    /// Address of the S3 endpoint; port 0 takes a free port on the first start and keeps it [default: 127.0.0.1:0]
    #[arg(long, value_name = "HOST:PORT")]
    pub s3_listen: Option<std::net::SocketAddr>,
    /// Print one JSON line instead of text when ready
    #[arg(long)]
    pub json: bool,
}

/// Talks to a running localnet.
#[derive(Debug, Subcommand)]
pub enum LocalnetCommand {
    /// Start a provider (1, 2, … or p1, p2, …), `gateway` or `bootstrap` again, and wait until it is ready
    Restart(LocalnetRestart),
    /// Show the processes
    Status(LocalnetCall),
    /// End the network
    Stop(LocalnetCall),
}

/// `cairn localnet restart`
#[derive(Debug, Args)]
pub struct LocalnetRestart {
    /// Which one
    #[arg(value_name = "NUMBER|NAME")]
    pub name: String,
    /// Where and how.
    #[command(flatten)]
    pub call: LocalnetCall,
}

/// `cairn localnet status|stop`
#[derive(Debug, Args)]
pub struct LocalnetCall {
    /// Directory of the running network
    #[arg(long, env = "CAIRN_LOCALNET_DIR", value_name = "DIR")]
    pub dir: PathBuf,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
}
