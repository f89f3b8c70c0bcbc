//! One layer of configuration: what a file, or the flags and environment, say; everything may be left open.

use std::path::PathBuf;

use cairn_types::{NodeId, Redundancy};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Budget, Credits, PerTib, S3Url, Space};
use crate::size::ByteLen;
use crate::span::Span;

/// `upper` where it says something, else `lower`, field by field.
macro_rules! over {
    ($upper:ident, $lower:ident; $($field:ident),+) => { Self { $($field: $upper.$field.or($lower.$field)),+ } };
}
pub(super) use over;

/// How to find others.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct NetworkLayer {
    /// Addresses of nodes to ask first: multiaddrs that end in /p2p/PEER_ID, separated by commas
    #[arg(long, env = "CAIRN_BOOTSTRAP", value_delimiter = ',', value_name = "MULTIADDR")]
    pub bootstrap: Option<Vec<String>>,
    /// Pre-shared key of a private network (libp2p swarm.key); TCP only
    #[arg(long, env = "CAIRN_PSK_FILE", value_name = "FILE")]
    pub psk_file: Option<PathBuf>,
    /// Look for others on the local network by mDNS
    #[arg(long, env = "CAIRN_MDNS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub mdns: Option<bool>,
    /// Keeps networks apart: nodes of different ids do not find each other [default: main]
    #[arg(long, env = "CAIRN_NETWORK_ID", value_name = "WORD")]
    pub network_id: Option<String>,
}

impl NetworkLayer {
    /// This layer over `lower`.
    pub fn over(self, lower: Self) -> Self {
        over!(self, lower; bootstrap, psk_file, mdns, network_id)
    }
}

/// A provider.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ProviderLayer {
    /// Data directory of the node [default: ~/.local/share/cairn/provider]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Multiaddrs to listen on, separated by commas [default: port 4501, TCP and QUIC]
    #[arg(long, env = "CAIRN_LISTEN", value_delimiter = ',', value_name = "MULTIADDR")]
    pub listen: Option<Vec<String>>,
    /// Multiaddrs at which others reach this node, when they differ from --listen
    #[arg(long, env = "CAIRN_EXTERNAL", value_delimiter = ',', value_name = "MULTIADDR")]
    pub external: Option<Vec<String>>,
    /// Directory to rent out and how much of it, such as /mnt/a=500GiB; may be repeated
    #[arg(long, env = "CAIRN_SPACE", value_delimiter = ',', value_name = "DIR=LENGTH")]
    pub space: Option<Vec<Space>>,
    /// Bytes to leave free on each disk [default: 1GiB]
    #[arg(long, env = "CAIRN_RESERVE", value_name = "LENGTH")]
    pub reserve: Option<ByteLen>,
    /// Your own word for the place, at most 32 bytes
    #[arg(long, env = "CAIRN_REGION", value_name = "WORD")]
    pub region: Option<String>,
    /// Who runs this provider, at most 64 bytes: shards of one segment avoid sharing an operator
    #[arg(long, env = "CAIRN_OPERATOR", value_name = "NAME")]
    pub operator: Option<String>,
    /// Ledger to be paid on, such as http://127.0.0.1:8545; without it the provider is free
    #[arg(long, env = "CAIRN_CHAIN", value_name = "URL")]
    pub chain: Option<String>,
    /// Where the contracts are on that chain: the file of `cairn chain deploy` [default: where `cairn chain` has them]
    #[arg(long, env = "CAIRN_CONTRACTS", value_name = "FILE")]
    pub contracts: Option<PathBuf>,
    /// Credits for a TiB stored for a month of 30 days [default: 4]
    #[arg(long, env = "CAIRN_STORAGE_PRICE", value_name = "CREDITS")]
    pub storage_price: Option<PerTib>,
    /// Credits for a TiB read [default: 2]
    #[arg(long, env = "CAIRN_EGRESS_PRICE", value_name = "CREDITS")]
    pub egress_price: Option<PerTib>,
    /// Credits staked at registration; what a lost dispute can take [default: 100]
    #[arg(long, env = "CAIRN_COLLATERAL", value_name = "CREDITS")]
    pub collateral: Option<Credits>,
    /// Credits of it at risk for each TiB stored [default: 16]
    #[arg(long, env = "CAIRN_COLLATERAL_PRICE", value_name = "CREDITS")]
    pub collateral_per_tib: Option<PerTib>,
    /// Between two audits and payments [default: 24h]
    #[arg(long, env = "CAIRN_EPOCH", value_name = "SPAN")]
    pub epoch: Option<Span>,
    /// After an epoch, until a payment is overdue [default: a quarter of the epoch]
    #[arg(long, env = "CAIRN_GRACE", value_name = "SPAN")]
    pub grace: Option<Span>,
    /// Redeem a channel when so many credits are promised on it; once a day all together, if it is worth the gas [default: 1]
    #[arg(long, env = "CAIRN_REDEEM_AT", value_name = "CREDITS")]
    pub redeem_at: Option<Credits>,
    /// What a whole coin of the chain is worth to you in credits, to tell what gas costs [default: 0, as on a ledger of `cairn chain`]
    #[arg(long, env = "CAIRN_GAS_PRICE", value_name = "CREDITS")]
    pub gas_price: Option<Credits>,
    /// Redeem only when it brings at least so many times what the transaction costs [default: 20]
    #[arg(long, env = "CAIRN_REDEEM_TIMES", value_name = "NUMBER")]
    pub redeem_times: Option<u64>,
}

impl ProviderLayer {
    /// This layer over `lower`.
    pub fn over(self, lower: Self) -> Self {
        over!(self, lower; dir, listen, external, space, reserve, region, operator, chain, contracts, storage_price, egress_price,
            collateral, collateral_per_tib, epoch, grace, redeem_at, gas_price, redeem_times)
    }
}

/// When failed audits are taken to court.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Court {
    /// When a miss is likely and restitution is worth the bond
    Auto,
    /// Only by cairn disputes challenge
    Never,
    /// Whenever data that was committed to is gone or wrong
    Always,
}

impl Court {
    /// As flags and files have it.
    pub fn name(self) -> &'static str {
        match self {
            Court::Auto => "auto",
            Court::Never => "never",
            Court::Always => "always",
        }
    }
}

/// A gateway.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GatewayLayer {
    /// Data directory of the node [default: ~/.local/share/cairn/gateway]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Multiaddrs to listen on, separated by commas [default: any free port, TCP and QUIC]
    #[arg(long, env = "CAIRN_LISTEN", value_delimiter = ',', value_name = "MULTIADDR")]
    pub listen: Option<Vec<String>>,
    /// Multiaddrs at which others reach this node, when they differ from --listen
    #[arg(long, env = "CAIRN_EXTERNAL", value_delimiter = ',', value_name = "MULTIADDR")]
    pub external: Option<Vec<String>>,
    /// Address of the S3 endpoint [default: 127.0.0.1:8333]
    #[arg(long, env = "CAIRN_S3_LISTEN", value_name = "HOST:PORT")]
    pub s3_listen: Option<String>,
    /// Certificate chain (PEM) with which the S3 endpoint speaks TLS; read again when it changes. Needs --s3-tls-key
    #[arg(long, env = "CAIRN_S3_TLS_CERT", value_name = "FILE")]
    pub s3_tls_cert: Option<PathBuf>,
    /// Private key (PEM) of that certificate
    #[arg(long, env = "CAIRN_S3_TLS_KEY", value_name = "FILE")]
    pub s3_tls_key: Option<PathBuf>,
    /// URL under which others reach the S3 endpoint, for links: scheme, host, and port if need be [default: its own address]
    #[arg(long, env = "CAIRN_S3_URL", value_name = "URL")]
    pub s3_url: Option<S3Url>,
    /// Domain whose subdomains are buckets: BUCKET.s3.example.org beside s3.example.org/BUCKET [default: paths only]
    #[arg(long, env = "CAIRN_S3_DOMAIN", value_name = "DOMAIN")]
    pub s3_domain: Option<String>,
    /// Region the S3 endpoint claims [default: us-east-1]
    #[arg(long, env = "CAIRN_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// Shards that suffice / shards stored, such as 4/8 [default: by the number of providers]
    #[arg(long, env = "CAIRN_REDUNDANCY", value_name = "DATA/TOTAL")]
    #[serde(deserialize_with = "redundancy")]
    pub redundancy: Option<Redundancy>,
    /// Ledger to pay on, such as http://127.0.0.1:8545; without it only free providers are used
    #[arg(long, env = "CAIRN_CHAIN", value_name = "URL")]
    pub chain: Option<String>,
    /// Where the contracts are on that chain: the file of `cairn chain deploy` [default: where `cairn chain` has them]
    #[arg(long, env = "CAIRN_CONTRACTS", value_name = "FILE")]
    pub contracts: Option<PathBuf>,
    /// Most credits that go into payments: 100/month, or none for no limit [default: 100/month]
    #[arg(long, env = "CAIRN_BUDGET", value_name = "CREDITS/month")]
    pub budget: Option<Budget>,
    /// How long a provider may not answer before its shards are built anew elsewhere [default: 1h]
    #[arg(long, env = "CAIRN_REPAIR_AFTER", value_name = "SPAN")]
    pub repair_after: Option<Span>,
    /// When a provider that committed to data and lost it is taken to court, for a bond of 10 credits [default: auto]
    #[arg(long, env = "CAIRN_COURT", value_enum)]
    pub court: Option<Court>,
    /// Between two checkpoints of all objects, from which `cairn recover` brings a lost catalog back [default: 10m]
    #[arg(long, env = "CAIRN_CHECKPOINT_EVERY", value_name = "SPAN")]
    pub checkpoint_every: Option<Span>,
    /// Length of a day of lifecycle rules; only for tests of them
    #[arg(long, env = "CAIRN_LIFECYCLE_DAY", value_name = "SPAN", hide = true)]
    pub lifecycle_day: Option<Span>,
}

fn redundancy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Redundancy>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

impl GatewayLayer {
    /// This layer over `lower`.
    pub fn over(self, lower: Self) -> Self {
        over!(
            self, lower; dir, listen, external, s3_listen, s3_tls_cert, s3_tls_key, s3_url, s3_domain, region, redundancy, chain,
            contracts, budget, repair_after, court, checkpoint_every, lifecycle_day
        )
    }
}

/// A ledger of one's own.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ChainLayer {
    /// Data directory [default: ~/.local/share/cairn/chain]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Address of the JSON-RPC endpoint [default: 127.0.0.1:8545]
    #[arg(long, env = "CAIRN_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Number of the chain, kept from the first start on [default: 52114]
    #[arg(long, env = "CAIRN_CHAIN_ID", value_name = "NUMBER")]
    pub chain_id: Option<u64>,
    /// Let anybody move the chain's time on; only for tests of deadlines
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub test_clock: Option<bool>,
}

impl ChainLayer {
    /// This layer over `lower`.
    pub fn over(self, lower: Self) -> Self {
        over!(self, lower; dir, listen, chain_id, test_clock)
    }
}

/// A plain peer.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PeerLayer {
    /// Data directory of the node [default: ~/.local/share/cairn/peer]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Multiaddrs to listen on, separated by commas [default: port 4500, TCP and QUIC]
    #[arg(long, env = "CAIRN_LISTEN", value_delimiter = ',', value_name = "MULTIADDR")]
    pub listen: Option<Vec<String>>,
    /// Multiaddrs at which others reach this node, when they differ from --listen
    #[arg(long, env = "CAIRN_EXTERNAL", value_delimiter = ',', value_name = "MULTIADDR")]
    pub external: Option<Vec<String>>,
}

impl PeerLayer {
    /// This layer over `lower`.
    pub fn over(self, lower: Self) -> Self {
        over!(self, lower; dir, listen, external)
    }
}

/// A delegate.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DelegateLayer {
    /// Data directory of the node [default: ~/.local/share/cairn/delegate]
    #[arg(long, env = "CAIRN_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Multiaddrs to listen on, separated by commas [default: port 4502, TCP and QUIC]
    #[arg(long, env = "CAIRN_LISTEN", value_delimiter = ',', value_name = "MULTIADDR")]
    pub listen: Option<Vec<String>>,
    /// Multiaddrs at which others reach this node, when they differ from --listen
    #[arg(long, env = "CAIRN_EXTERNAL", value_delimiter = ',', value_name = "MULTIADDR")]
    pub external: Option<Vec<String>>,
    /// Gateways to act for when they are silent, by the node that `cairn status` shows; separated by commas
    #[arg(long = "for", env = "CAIRN_DELEGATE_FOR", value_delimiter = ',', value_name = "NODE")]
    pub clients: Option<Vec<NodeId>>,
    /// Ledger that their providers are paid on, such as http://127.0.0.1:8545
    #[arg(long, env = "CAIRN_CHAIN", value_name = "URL")]
    pub chain: Option<String>,
    /// Where the contracts are on that chain: the file of `cairn chain deploy` [default: where `cairn chain` has them]
    #[arg(long, env = "CAIRN_CONTRACTS", value_name = "FILE")]
    pub contracts: Option<PathBuf>,
}

impl DelegateLayer {
    /// This layer over `lower`.
    pub fn over(self, lower: Self) -> Self {
        over!(self, lower; dir, listen, external, clients, chain, contracts)
    }
}
