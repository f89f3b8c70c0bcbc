//! The command line of what has to do with credits.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{Budget, ChainLayer};

/// `cairn bucket`
#[derive(Debug, Args)]
pub struct Bucket {
    /// The bucket
    pub bucket: String,
    /// Most that its contents may cost: 5/month, or none for no limit. What would make it cost more is refused
    #[arg(long, value_name = "CREDITS/month")]
    pub budget: Option<Budget>,
    /// Which gateway.
    #[command(flatten)]
    pub socket: super::Socket,
}

/// `cairn wallet`
#[derive(Debug, Args)]
pub struct Wallet {
    /// What to do.
    #[command(subcommand)]
    pub command: WalletCommand,
}

/// What a wallet can do.
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Show address and credits
    Balance(WalletCall),
    /// Say where credits have to be sent; on a private ledger, ask its faucet for some
    Deposit(WalletCall),
    /// Send credits to another address
    Withdraw(WalletWithdraw),
    /// Print the wallet's private key, for another wallet program
    Export(WalletExport),
}

/// `cairn chain`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Chain {
    /// Something else than serving a ledger
    #[command(subcommand)]
    pub command: Option<ChainCommand>,
    /// The ledger.
    #[command(flatten)]
    pub run: RunChain,
}

/// A ledger of one's own.
#[derive(Debug, Clone, Args)]
pub struct RunChain {
    /// Own settings.
    #[command(flatten)]
    pub chain: ChainLayer,
}

/// What `cairn chain` does besides serving a ledger.
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Put the contracts on a chain, and write where they are
    Deploy(ChainDeploy),
}

/// `cairn chain deploy`
#[derive(Debug, Args)]
pub struct ChainDeploy {
    /// JSON-RPC endpoint of a node of the chain, such as http://127.0.0.1:8545
    #[arg(long, value_name = "URL")]
    pub rpc: String,
    /// Private key of a wallet with coin for gas, in hex
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Where to write the addresses
    #[arg(long, value_name = "FILE", default_value = "contracts.json")]
    pub out: PathBuf,
    /// No faucet: this key alone makes credits. For a chain where they are to be worth something
    #[arg(long)]
    pub no_faucet: bool,
    /// Blocks on top of a transaction that make it stay on this chain
    #[arg(long, default_value_t = 0, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub confirmations: u64,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
}

/// A node's data directory.
#[derive(Debug, Clone, Args)]
pub struct WalletCall {
    /// Data directory of a provider or gateway, or of a localnet (its gateway) [default: ~/.local/share/cairn/gateway]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// One JSON line on standard output
    #[arg(long)]
    pub json: bool,
}

/// `cairn wallet withdraw`
#[derive(Debug, Args)]
pub struct WalletWithdraw {
    /// Address of the receiver, 0x and 40 hex digits
    pub to: cairn_types::Address,
    /// Credits, such as 1.5
    pub amount: cairn_types::Amount,
    /// Names this withdrawal: asked for again with the same word, it is paid once [default: a new one]
    #[arg(long, value_name = "WORD")]
    pub id: Option<String>,
    /// Which node.
    #[command(flatten)]
    pub call: WalletCall,
}

/// `cairn wallet export`
#[derive(Debug, Args)]
pub struct WalletExport {
    /// Yes, print the key: who sees it can take all credits
    #[arg(long)]
    pub show_private_key: bool,
    /// Which node.
    #[command(flatten)]
    pub call: WalletCall,
}

/// `cairn earnings`
#[derive(Debug, Args)]
pub struct Earnings {
    /// Have all promised credits paid out to the wallet first
    #[arg(long)]
    pub redeem: bool,
    /// Which providers: a data directory, or a localnet's for all of its own.
    #[command(flatten)]
    pub call: WalletCall,
}

/// `cairn deals`
#[derive(Debug, Args)]
pub struct Deals {
    /// Which node: a gateway's deals are with providers, a provider's with clients.
    #[command(flatten)]
    pub call: WalletCall,
}

/// `cairn audits`
#[derive(Debug, Args)]
pub struct Audits {
    /// Audit every provider with a paid deal now, instead of showing past audits
    #[arg(long, conflicts_with_all = ["failed", "provider", "max"])]
    pub now: bool,
    /// Only those that were not passed
    #[arg(long)]
    pub failed: bool,
    /// Only those of this provider
    #[arg(long, value_name = "PEER_ID")]
    pub provider: Option<cairn_types::NodeId>,
    /// At most so many, the latest of them
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub max: usize,
    /// Which gateway.
    #[command(flatten)]
    pub call: WalletCall,
}

/// `cairn disputes`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Disputes {
    /// Something else than showing them
    #[command(subcommand)]
    pub command: Option<DisputesCommand>,
    /// Which node.
    #[command(flatten)]
    pub call: WalletCall,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum DisputesCommand {
    /// Have a provider show leaves that it committed to, for a bond of 10 credits: it comes back when the provider cannot
    Challenge(DisputesChallenge),
}

/// `cairn disputes challenge`
#[derive(Debug, Args)]
pub struct DisputesChallenge {
    /// The audit in which the provider committed; cairn audits --json shows ids
    #[arg(value_name = "AUDIT_ID")]
    pub audit: String,
    /// Which gateway.
    #[command(flatten)]
    pub call: WalletCall,
}

/// `cairn ledger`
#[derive(Debug, Args)]
pub struct Journal {
    /// Comma-separated values with a running balance for each account, for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Which node.
    #[command(flatten)]
    pub call: WalletCall,
}
