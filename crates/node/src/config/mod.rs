//! Configuration of the daemons: flags over environment over file over defaults.
//!
//! clap itself puts flags over the environment; this module puts the result over the file and the file over the defaults.
//! Never: an unknown key ignored. Limits: a file of [`FILE_LEN_MAX`] bytes.

mod dashboard;
mod delegate;
mod layer;
mod money;
mod s3;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use cairn_types::{Amount, Redundancy};
use serde::{Deserialize, Serialize, Serializer};

pub use dashboard::{Dashboard, DashboardLayer, GATEWAY_PORT, PROVIDER_PORT};
pub use delegate::Delegate;
pub use layer::{ChainLayer, Court, DelegateLayer, GatewayLayer, NetworkLayer, PeerLayer, ProviderLayer};
pub use money::{Budget, Credits, PerTib};
pub use s3::{S3Tls, S3Url};

use crate::home::{self, Role};
use crate::outcome::{ExitCode, coded};
use crate::size::ByteLen;
use crate::span::Span;
use crate::text::text_in_serde;

/// Bytes of a configuration file.
pub const FILE_LEN_MAX: u64 = 1024 * 1024;
/// Between two audits and payments, unless a provider says otherwise.
pub const EPOCH_DEFAULT: Span = Span(86_400_000);
/// Name of the file in the user's configuration directory.
pub const FILE_NAME: &str = "cairn.toml";

/// A directory to rent out and how much of it: `/mnt/a=500GiB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// The directory.
    pub path: PathBuf,
    /// Bytes of it that may be used.
    pub len: ByteLen,
}

impl FromStr for Space {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no space to rent out; write DIRECTORY=LENGTH, such as /mnt/a=500GiB");
        let (path, len) = text.rsplit_once('=').filter(|(path, _)| !path.is_empty()).ok_or_else(wrong)?;
        let len: ByteLen = len.parse().map_err(|error| format!("{error}"))?;
        Ok(Space { path: path.into(), len })
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.path.display(), self.len)
    }
}

text_in_serde!(Space);

/// The configuration file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct File {
    /// Section `[network]`, shared by all roles.
    pub network: NetworkLayer,
    /// Section `[provider]`.
    pub provider: ProviderLayer,
    /// Section `[gateway]`.
    pub gateway: GatewayLayer,
    /// Section `[peer]`.
    pub peer: PeerLayer,
    /// Section `[delegate]`.
    pub delegate: DelegateLayer,
    /// Section `[chain]`.
    pub chain: ChainLayer,
    /// Section `[dashboard]`, shared by provider and gateway.
    pub dashboard: DashboardLayer,
}

impl File {
    /// Reads `path`; without a path, the user's own file if there is one.
    ///
    /// # Errors
    /// The file cannot be read, is too long, is no TOML, or has a key that is not known.
    pub fn read(path: Option<&Path>) -> Result<File> {
        match path {
            Some(path) => File::read_at(path),
            None => match home::config_root().map(|root| root.join(FILE_NAME)) {
                Ok(path) if path.exists() => File::read_at(&path),
                _ => Ok(File::default()),
            },
        }
    }

    fn read_at(path: &Path) -> Result<File> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_LEN_MAX).read_to_string(&mut text))
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        File::parse(&text).map_err(|error| {
            coded(
                ExitCode::Usage,
                format!("{}: {error}", path.display()),
                "correct the file; `cairn config` shows the known keys",
            )
        })
    }

    fn parse(text: &str) -> Result<File, toml::de::Error> {
        toml::from_str(text)
    }
}

/// What every role needs to find others.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Network {
    /// Multiaddrs with `/p2p/<peer id>` of nodes to ask first.
    pub bootstrap: Vec<String>,
    /// File of the private network's pre-shared key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psk_file: Option<PathBuf>,
    /// Whether to look for others on the local network.
    pub mdns: bool,
    /// Keeps networks apart.
    pub network_id: String,
}

impl From<NetworkLayer> for Network {
    fn from(layer: NetworkLayer) -> Self {
        Network {
            bootstrap: layer.bootstrap.unwrap_or_default(),
            psk_file: layer.psk_file,
            mdns: layer.mdns.unwrap_or(false),
            network_id: layer.network_id.unwrap_or_else(|| "main".into()),
        }
    }
}

/// Effective configuration of a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provider {
    /// Data directory of the node.
    pub dir: PathBuf,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs at which others reach this node, when they differ.
    pub external: Vec<String>,
    /// Directories rented out.
    pub space: Vec<Space>,
    /// Bytes left free on each disk.
    pub reserve: ByteLen,
    /// The operator's own word for the place.
    pub region: String,
    /// Failure domain: who runs this provider.
    pub operator: String,
    /// Ledger to be paid on; without it the provider is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Where its contracts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contracts: Option<PathBuf>,
    /// Credits for a TiB and month.
    pub storage_price: PerTib,
    /// Credits for a TiB read.
    pub egress_price: PerTib,
    /// Credits staked.
    pub collateral: Credits,
    /// Credits at risk for each TiB.
    pub collateral_per_tib: PerTib,
    /// Between two audits and payments.
    pub epoch: Span,
    /// After an epoch, until a payment is overdue.
    pub grace: Span,
    /// Credits that are redeemed at once.
    pub redeem_at: Credits,
    /// What a coin of the chain is worth.
    pub gas_price: Credits,
    /// What is redeemed brings so many times what it costs.
    pub redeem_times: u64,
}

impl Provider {
    /// Fills what `layer` leaves open.
    pub fn new(layer: ProviderLayer) -> Result<Self> {
        let space = layer.space.unwrap_or_default();
        let epoch = layer.epoch.unwrap_or(EPOCH_DEFAULT);
        let credits = |credits| PerTib(Amount::from_credits(credits));
        Ok(Provider {
            dir: dir_or_default(layer.dir, Role::Provider)?,
            listen: layer.listen.unwrap_or_else(|| listen_on(4501)),
            external: layer.external.unwrap_or_default(),
            space,
            reserve: layer.reserve.unwrap_or(ByteLen(1 << 30)),
            region: layer.region.unwrap_or_default(),
            operator: layer.operator.unwrap_or_default(),
            chain: layer.chain,
            contracts: layer.contracts,
            storage_price: layer.storage_price.unwrap_or(credits(4)),
            egress_price: layer.egress_price.unwrap_or(credits(2)),
            collateral: layer.collateral.unwrap_or(Credits(Amount::from_credits(100))),
            collateral_per_tib: layer.collateral_per_tib.unwrap_or(credits(16)),
            epoch,
            grace: layer.grace.unwrap_or(Span(epoch.0 / 4)),
            redeem_at: layer.redeem_at.unwrap_or(Credits(Amount::CREDIT)),
            gas_price: layer.gas_price.unwrap_or(Credits(Amount::ZERO)),
            redeem_times: layer.redeem_times.unwrap_or(20),
        })
    }
}

/// Effective configuration of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Gateway {
    /// Data directory of the node.
    pub dir: PathBuf,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs at which others reach this node, when they differ.
    pub external: Vec<String>,
    /// Socket address of the S3 endpoint.
    pub s3_listen: String,
    /// With what the S3 endpoint speaks TLS: certificate and key.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub tls: Option<S3Tls>,
    /// URL under which others reach the S3 endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_url: Option<S3Url>,
    /// Domain whose subdomains are buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_domain: Option<String>,
    /// Region the S3 endpoint claims.
    pub region: String,
    /// Fixed redundancy; without it the number of providers decides.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub redundancy: Option<Redundancy>,
    /// Ledger to pay on; without it only free providers are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Where its contracts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contracts: Option<PathBuf>,
    /// Most that goes into payments.
    pub budget: Budget,
    /// How long a provider may not answer before its shards are built anew.
    pub repair_after: Span,
    /// When failed audits are taken to court.
    pub court: Court,
    /// Between two checkpoints of all objects.
    pub checkpoint_every: Span,
    /// Length of a day of lifecycle rules.
    pub lifecycle_day: Span,
}

fn as_text<S: Serializer>(redundancy: &Option<Redundancy>, serializer: S) -> Result<S::Ok, S::Error> {
    match redundancy {
        Some(redundancy) => serializer.collect_str(redundancy),
        None => serializer.serialize_none(),
    }
}

impl Gateway {
    /// Fills what `layer` leaves open.
    pub fn new(layer: GatewayLayer) -> Result<Self> {
        Ok(Gateway {
            dir: dir_or_default(layer.dir, Role::Gateway)?,
            listen: layer.listen.unwrap_or_else(|| listen_on(0)),
            external: layer.external.unwrap_or_default(),
            s3_listen: layer.s3_listen.unwrap_or_else(|| "127.0.0.1:8333".into()),
            tls: S3Tls::of(layer.s3_tls_cert, layer.s3_tls_key)?,
            s3_url: layer.s3_url,
            s3_domain: layer.s3_domain,
            region: layer.region.unwrap_or_else(|| "us-east-1".into()),
            redundancy: layer.redundancy,
            chain: layer.chain,
            contracts: layer.contracts,
            budget: layer.budget.unwrap_or(Budget(Some(Amount::from_credits(100)))),
            repair_after: layer.repair_after.unwrap_or(Span(3_600_000)),
            court: layer.court.unwrap_or(Court::Auto),
            checkpoint_every: layer.checkpoint_every.unwrap_or(Span(600_000)),
            lifecycle_day: layer.lifecycle_day.unwrap_or(Span(86_400_000)),
        })
    }
}

/// Effective configuration of a plain peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Peer {
    /// Data directory of the node.
    pub dir: PathBuf,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs at which others reach this node, when they differ.
    pub external: Vec<String>,
}

impl Peer {
    /// Fills what `layer` leaves open.
    pub fn new(layer: PeerLayer) -> Result<Self> {
        Ok(Peer {
            dir: dir_or_default(layer.dir, Role::Peer)?,
            listen: layer.listen.unwrap_or_else(|| listen_on(4500)),
            external: layer.external.unwrap_or_default(),
        })
    }
}

/// Effective configuration of a ledger of one's own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Chain {
    /// Data directory.
    pub dir: PathBuf,
    /// Socket address of the JSON-RPC endpoint.
    pub listen: String,
    /// Number of the chain.
    pub chain_id: u64,
    /// Whether anybody may move its time on.
    pub test_clock: bool,
}

impl Chain {
    /// Fills what `layer` leaves open.
    pub fn new(layer: ChainLayer) -> Result<Self> {
        Ok(Chain {
            dir: layer.dir.map_or_else(|| home::data_root().map(|root| root.join("chain")), Ok)?,
            listen: layer.listen.unwrap_or_else(|| "127.0.0.1:8545".into()),
            chain_id: layer.chain_id.unwrap_or(cairn_chain::CHAIN_ID),
            test_clock: layer.test_clock.unwrap_or(false),
        })
    }
}

/// `given`, or the role's place under the user's data directory.
pub fn dir_or_default(given: Option<PathBuf>, role: Role) -> Result<PathBuf> {
    match given {
        Some(dir) => Ok(dir),
        None => Ok(home::data_root()?.join(role.name())),
    }
}

fn listen_on(port: u16) -> Vec<String> {
    vec![format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip4/0.0.0.0/udp/{port}/quic-v1")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_hold_only_known_keys() {
        for (text, good) in [
            ("", true),
            ("[network]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1\"]\nmdns = true", true),
            ("[provider]\nspace = [\"/mnt/a=500GiB\", \"/mnt/b=1TB\"]\nreserve = \"2GiB\"", true),
            ("[gateway]\nredundancy = \"4/8\"\ns3-listen = \"127.0.0.1:1\"\ns3-url = \"https://s3.example.org\"", true),
            ("[gateway]\ns3-url = \"s3.example.org\"", false),
            ("[gateway]\nredundancy = \"8/4\"", false),
            ("[gateway]\ns3_listen = \"127.0.0.1:1\"", false),
            ("[provider]\nspaces = []", false),
            ("[provider]\nspace = [\"/mnt/a\"]", false),
            ("[surprise]", false),
            ("dir = \"/x\"", false),
            ("[peer", false),
        ] {
            assert_eq!(File::parse(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_space_is_a_directory_and_a_length() {
        for (text, good) in
            [("/a=1GiB", true), ("/a=b=1GiB", true), ("=1GiB", false), ("/a=", false), ("/a", false), ("/a=1G", false)]
        {
            assert_eq!(text.parse::<Space>().is_ok(), good, "{text}");
        }
        let space: Space = "/a=b=20GB".parse().unwrap();
        assert_eq!((space.path.as_path(), space.len), (Path::new("/a=b"), ByteLen(20_000_000_000)));
        assert_eq!(space.to_string().parse(), Ok(space));
    }

    #[test]
    fn each_layer_wins_over_the_one_below() {
        let file = File::parse("[provider]\nregion = \"file\"\noperator = \"file\"\n[network]\nbootstrap = [\"/file\"]").unwrap();
        let flags = ProviderLayer { region: Some("flag".into()), dir: Some("/d".into()), ..ProviderLayer::default() };
        let provider = Provider::new(flags.over(file.provider)).unwrap();
        assert_eq!(
            (provider.region.as_str(), provider.operator.as_str(), provider.reserve, provider.listen.len()),
            ("flag", "file", ByteLen(1 << 30), 2)
        );
        let flags = NetworkLayer { bootstrap: Some(vec!["/flag".into()]), ..NetworkLayer::default() };
        assert_eq!(Network::from(flags.over(file.network)).bootstrap, ["/flag"]);
    }

    fn tls_layer() -> GatewayLayer {
        let (cert, key) = (Some("/etc/s3.crt".into()), Some("/etc/s3.key".into()));
        GatewayLayer {
            s3_tls_cert: cert,
            s3_tls_key: key,
            s3_url: "https://s3.example.org".parse().ok(),
            ..GatewayLayer::default()
        }
    }

    #[test]
    fn the_effective_configuration_is_itself_a_file() {
        let provider = Provider::new(ProviderLayer { dir: Some("/d".into()), ..ProviderLayer::default() }).unwrap();
        let gateway = GatewayLayer { dir: Some("/g".into()), redundancy: Redundancy::new(4, 8).ok(), ..tls_layer() };
        let gateway = Gateway::new(gateway).unwrap();
        let text = toml::to_string(&serde_json::json!({"provider": provider, "gateway": gateway})).unwrap();
        let file = File::parse(&text).unwrap();
        assert_eq!(Provider::new(file.provider).unwrap(), provider);
        assert_eq!(Gateway::new(file.gateway).unwrap(), gateway);
    }
}
