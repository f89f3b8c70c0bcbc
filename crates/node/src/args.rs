//! The command line.

mod delegate;
mod key;
mod localnet;
mod money;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
pub use delegate::*;
pub use key::*;
pub use localnet::*;
pub use money::*;

use crate::config::{DashboardLayer, GatewayLayer, NetworkLayer, PeerLayer, ProviderLayer};
use crate::home::Role;
use crate::telemetry::LogFormat;

/// Decentralised storage: rent out disk space, or store files on the disks of others.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not found, 4 unavailable (no daemon answers, or too few providers).
#[derive(Debug, Parser)]
#[command(name = "cairn", version, max_term_width = 110)]
pub struct Cairn {
    /// What every command knows.
    #[command(flatten)]
    pub common: Common,
    /// What to do; nothing: say what can be done next.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command knows.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file [default: ~/.config/cairn/cairn.toml, if there is one]
    #[arg(long, global = true, env = "CAIRN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How logs on standard error look
    #[arg(long, global = true, env = "CAIRN_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged, such as info or warn,cairn_net=debug [default: $RUST_LOG, else info for daemons and warn for others]
    #[arg(long, global = true, env = "CAIRN_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Threads of the async runtime [default: one per core]
    #[arg(long, global = true, env = "CAIRN_WORKER_THREADS", value_name = "COUNT", hide = true)]
    pub worker_threads: Option<std::num::NonZeroUsize>,
    /// Stop as if by SIGTERM when standard input ends; how localnet's children notice that their supervisor died
    #[arg(long, global = true, hide = true)]
    pub stop_at_stdin_end: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a node's data directory with a new 12-word phrase, or with one you have
    Init(Init),
    /// Rent out disk space
    Provider(Box<RunProvider>),
    /// Serve the S3 endpoint and the native commands (put, get, ls, rm, stat)
    Gateway(Box<RunGateway>),
    /// Run a plain node that helps others to find each other
    #[command(alias = "bootstrap")]
    Peer(RunPeer),
    /// Audit and pay for gateways that are silent; or, on a gateway, say who may do so for it
    Delegate(Delegate),
    /// Serve a ledger of your own, for this machine or for friends on a LAN; or put the contracts on another chain
    Chain(Chain),
    /// Run a whole network on this machine: a ledger, a bootstrap node, providers and a gateway, each its own process
    Localnet(Localnet),
    /// Store a file or, with -r, a directory
    Put(Put),
    /// Fetch an object or, with -r, all objects under a prefix
    Get(Get),
    /// List buckets, or the objects of one
    Ls(Ls),
    /// Delete an object or, with -r, all objects under a prefix (a bare bucket: the bucket too)
    Rm(Rm),
    /// Show what is known of an object
    Stat(Stat),
    /// Make a bucket
    Mb(Mb),
    /// Show what a bucket holds and costs in a month, or say what it may cost
    Bucket(Bucket),
    /// Make a link to an object for whoever has it, good for a while
    Share(Share),
    /// Make, list and revoke S3 access keys
    Key(Key),
    /// Build a gateway's lost catalog anew from the 12 words and the network: every object, version, bucket, key and setting
    Recover(Recover),
    /// Write what the catalog holds to the network now, instead of at the next turn; see recover
    Checkpoint(Socket),
    /// Delete what lies at providers and belongs to no object, now instead of at the next turn
    Collect(Socket),
    /// How many shards of every segment can be relied on; --repair builds lost ones anew now
    Health(Health),
    /// What a provider has earned, and what of it is promised, paid out and in the wallet
    Earnings(Earnings),
    /// Paid deals: a gateway's with providers, a provider's with clients
    Deals(Deals),
    /// Audits of providers, with the reason for every one that was not passed
    Audits(Audits),
    /// Disputes before the ledger's court: those a gateway brought there, or those against a provider
    Disputes(Disputes),
    /// The journal of a node's credits: every promise and payment, in double entry
    Ledger(Journal),
    /// The wallet of a node: what it holds, how credits come in and go out
    Wallet(Wallet),
    /// Print the address of a node's dashboard, or make a new first token when its password was forgotten
    Dashboard(Dashboard),
    /// Check this machine and this node, and say how to mend what is wrong
    Doctor(Doctor),
    /// Show what the daemon of a data directory is doing
    Status(Status),
    /// Print the effective configuration of a role, in the form of a configuration file
    Config(Config),
    /// Print a shell's completions, such as: cairn completions bash > ~/.local/share/bash-completion/completions/cairn
    Completions(Completions),
    /// Write the manual pages, such as: cairn man ~/.local/share/man/man1
    Man(Man),
}

/// `cairn completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// Whose
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `cairn man`
#[derive(Debug, Args)]
pub struct Man {
    /// Directory for the pages; it is made
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// `cairn init`
#[derive(Debug, Args)]
pub struct Init {
    /// Data directory [default: ~/.local/share/cairn/ROLE]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Role whose default data directory is meant
    #[arg(long, value_enum, default_value = "gateway")]
    pub role: Role,
    /// Which phrase.
    #[command(flatten)]
    pub phrase: PhraseArgs,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
}

/// A phrase that somebody has.
#[derive(Debug, Args)]
pub struct PhraseArgs {
    /// Take the 12 words from this file
    #[arg(long, value_name = "FILE", conflicts_with = "phrase_stdin")]
    pub phrase_file: Option<PathBuf>,
    /// Take the 12 words from standard input
    #[arg(long)]
    pub phrase_stdin: bool,
    /// Counts the machines of one role under one phrase: 0 for the first, 1 for the second
    #[arg(long, default_value_t = 0)]
    pub index: u32,
}

/// `cairn provider`
#[derive(Debug, Clone, Args)]
pub struct RunProvider {
    /// Own settings.
    #[command(flatten)]
    pub provider: ProviderLayer,
    /// Network.
    #[command(flatten)]
    pub network: NetworkLayer,
    /// Dashboard.
    #[command(flatten)]
    pub dashboard: DashboardLayer,
}

/// `cairn gateway`
#[derive(Debug, Clone, Args)]
pub struct RunGateway {
    /// Own settings.
    #[command(flatten)]
    pub gateway: GatewayLayer,
    /// Network.
    #[command(flatten)]
    pub network: NetworkLayer,
    /// Dashboard.
    #[command(flatten)]
    pub dashboard: DashboardLayer,
}

/// `cairn peer`
#[derive(Debug, Clone, Args)]
pub struct RunPeer {
    /// Own settings.
    #[command(flatten)]
    pub peer: PeerLayer,
    /// Network.
    #[command(flatten)]
    pub network: NetworkLayer,
}

/// `cairn recover`
#[derive(Debug, Args)]
pub struct Recover {
    /// Data directory of the gateway; made if it is not there [default: ~/.local/share/cairn/gateway]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Which phrase; not needed where the directory still has it.
    #[command(flatten)]
    pub phrase: PhraseArgs,
    /// Ledger on which the gateway paid, such as http://127.0.0.1:8545
    #[arg(long, env = "CAIRN_CHAIN", value_name = "URL")]
    pub chain: Option<String>,
    /// Where the contracts are on that chain: the file of `cairn chain deploy` [default: where `cairn chain` has them]
    #[arg(long, env = "CAIRN_CONTRACTS", value_name = "FILE")]
    pub contracts: Option<PathBuf>,
    /// How long providers are looked for; it goes on when no more were found for some seconds
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub wait: crate::span::Span,
    /// Leave out objects that cannot be read now, instead of failing
    #[arg(long)]
    pub allow_missing: bool,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
    /// Network.
    #[command(flatten)]
    pub network: NetworkLayer,
}

/// `cairn health`
#[derive(Debug, Args)]
pub struct Health {
    /// Ask every provider whether it is there, and build what is due anew, before telling
    #[arg(long)]
    pub repair: bool,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// Which gateway a native command talks to.
#[derive(Debug, Clone, Args)]
pub struct Socket {
    /// Data directory of the gateway, or of a localnet [default: ~/.local/share/cairn/gateway]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The gateway's socket itself
    #[arg(long, env = "CAIRN_SOCKET", value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// JSON lines on standard output, one per object
    #[arg(long)]
    pub json: bool,
}

/// `cairn put`
#[derive(Debug, Args)]
pub struct Put {
    /// File or directory; - is standard input
    pub source: PathBuf,
    /// BUCKET/KEY; a key that is empty or ends in / gets the file's name
    #[arg(required_unless_present = "estimate")]
    pub target: Option<String>,
    /// Store all files under a directory
    #[arg(short, long)]
    pub recursive: bool,
    /// Forget an interrupted upload of the same file instead of continuing it
    #[arg(long)]
    pub no_resume: bool,
    /// Store nothing: say what storing it would cost now, for a month, and for reading it back once
    #[arg(long)]
    pub estimate: bool,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn get`
#[derive(Debug, Args)]
pub struct Get {
    /// BUCKET/KEY, or BUCKET/PREFIX with -r
    pub source: String,
    /// File or directory; - is standard output [default: the key's last part, here]
    pub target: Option<PathBuf>,
    /// Fetch all objects under a prefix
    #[arg(short, long)]
    pub recursive: bool,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// BUCKET or BUCKET/PREFIX; without it, the buckets
    pub source: Option<String>,
    /// Do not fold at /
    #[arg(short, long)]
    pub recursive: bool,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn rm`
#[derive(Debug, Args)]
pub struct Rm {
    /// BUCKET/KEY, or BUCKET/PREFIX with -r; a bare BUCKET is the bucket itself
    pub target: String,
    /// Delete all objects under a prefix
    #[arg(short, long)]
    pub recursive: bool,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn stat`
#[derive(Debug, Args)]
pub struct Stat {
    /// BUCKET/KEY
    pub source: String,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn share`
#[derive(Debug, Args)]
pub struct Share {
    /// BUCKET/KEY
    pub source: String,
    /// How long the link is good, at most 7d
    #[arg(long, value_name = "TIME", default_value = "1d")]
    pub expires: crate::span::Span,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn mb`
#[derive(Debug, Args)]
pub struct Mb {
    /// The new bucket
    pub bucket: String,
    /// Which gateway.
    #[command(flatten)]
    pub socket: Socket,
}

/// `cairn doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Data directory of a node, or of a localnet [default: the default directories that exist]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
    /// Network.
    #[command(flatten)]
    pub network: NetworkLayer,
}

/// `cairn dashboard`
#[derive(Debug, Args)]
pub struct Dashboard {
    /// Data directory of a node, or of a localnet [default: the default directories that exist]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Forget the password and end all sessions; the address that is printed lets a new one be chosen
    #[arg(long)]
    pub reset: bool,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
}

/// `cairn status`
#[derive(Debug, Args)]
pub struct Status {
    /// Data directory of a node, or of a localnet [default: the default directories that exist]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
}

/// `cairn config`
#[derive(Debug, Args)]
pub struct Config {
    /// Whose configuration
    #[command(subcommand)]
    pub role: ConfigRole,
}

/// The role and the flags it would be started with.
#[derive(Debug, Subcommand)]
pub enum ConfigRole {
    /// Of a provider
    Provider(Box<RunProvider>),
    /// Of a gateway
    Gateway(Box<RunGateway>),
    /// Of a plain peer
    Peer(RunPeer),
    /// Of a delegate
    Delegate(Box<RunDelegate>),
    /// Of a ledger of one's own
    Chain(RunChain),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cairn::command().debug_assert();
    }

    #[test]
    fn command_lines_are_understood_or_refused() {
        for (line, good) in [
            (
                "provider --dir d --space /a=1GiB --space /b=2TB --reserve 1GiB --listen /ip4/1.2.3.4/tcp/1,/ip4/1.2.3.4/tcp/2",
                true,
            ),
            ("provider --space /a", false),
            ("provider --mdns --bootstrap /dns/x/tcp/1/p2p/y", true),
            ("gateway --redundancy 4/8 --s3-listen 127.0.0.1:1", true),
            ("gateway --redundancy 9/8", false),
            ("bootstrap --dir d", true),
            ("peer --dir d --log-format json", true),
            ("localnet --providers 8 --dir d --json --space 20GiB --redundancy 4/8 --s3-listen 127.0.0.1:0", true),
            ("localnet --providers 8", false),
            ("localnet --dir d --free", true),
            ("localnet --dir d --paid --epoch 10s", true),
            ("localnet --dir d --free --paid", false),
            ("localnet --dir d --free --epoch 10s", false),
            ("localnet --dir d --chain http://127.0.0.1:8545 --key-file k", true),
            ("localnet --dir d --chain http://127.0.0.1:8545", false),
            ("localnet --dir d --contracts c", false),
            ("chain --dir d --listen 127.0.0.1:1", true),
            ("chain deploy --rpc http://127.0.0.1:8545 --key-file k", true),
            ("chain deploy --rpc http://127.0.0.1:8545 --key-file k --out f --no-faucet --confirmations 3 --json", true),
            ("chain deploy --rpc http://127.0.0.1:8545", false),
            ("chain --dir d deploy --rpc http://127.0.0.1:8545 --key-file k", false),
            ("provider --space /a=1GiB --chain http://127.0.0.1:8545 --contracts f", true),
            ("localnet --providers 0 --dir d", false),
            ("localnet restart 3 --dir d", true),
            ("localnet restart --dir d", false),
            ("localnet status --dir d --json", true),
            ("put a b/c", true),
            ("put a", false),
            ("put a --estimate", true),
            ("put -r a b/ --estimate --json", true),
            ("bucket b", true),
            ("bucket b --budget 5/month --json", true),
            ("bucket b --budget none", true),
            ("bucket b --budget 5", false),
            ("put -r a b/ --json --socket s", true),
            ("get b/c", true),
            ("get b/c - --dir d", true),
            ("ls", true),
            ("ls b/p -r", true),
            ("rm b/c", true),
            ("rm", false),
            ("stat b/c", true),
            ("key create --label x", true),
            ("key revoke", false),
            ("key revoke AK", true),
            ("doctor --json", true),
            ("status --dir d", true),
            ("config provider --space /a=1GiB", true),
            ("config", false),
            ("init --phrase-file f --phrase-stdin", false),
            ("init --role provider --index 2 --json", true),
            ("", true),
        ] {
            let parsed = Cairn::try_parse_from(std::iter::once("cairn").chain(line.split_whitespace()));
            assert_eq!(parsed.is_ok(), good, "{line}: {parsed:?}");
        }
    }
}
