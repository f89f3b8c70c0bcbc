//! Configuration of a delegate.

use std::path::PathBuf;

use anyhow::Result;
use cairn_types::NodeId;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{dir_or_default, listen_on};
use crate::home::Role;
use crate::outcome::{ExitCode, coded};

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
        DelegateLayer {
            dir: self.dir.or(lower.dir),
            listen: self.listen.or(lower.listen),
            external: self.external.or(lower.external),
            clients: self.clients.or(lower.clients),
            chain: self.chain.or(lower.chain),
            contracts: self.contracts.or(lower.contracts),
        }
    }
}

/// Effective configuration of a delegate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Delegate {
    /// Data directory of the node.
    pub dir: PathBuf,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs at which others reach this node, when they differ.
    pub external: Vec<String>,
    /// Clients to act for.
    pub clients: Vec<NodeId>,
    /// Ledger of their payments.
    pub chain: String,
    /// Where its contracts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contracts: Option<PathBuf>,
}

impl Delegate {
    /// Fills what `layer` leaves open.
    ///
    /// # Errors
    /// No client or no ledger is named.
    pub fn new(layer: DelegateLayer) -> Result<Self> {
        let missing = |what: &str, remedy: &str| coded(ExitCode::Usage, what, remedy);
        let clients = layer.clients.filter(|clients| !clients.is_empty());
        Ok(Delegate {
            dir: dir_or_default(layer.dir, Role::Delegate)?,
            listen: layer.listen.unwrap_or_else(|| listen_on(4502)),
            external: layer.external.unwrap_or_default(),
            clients: clients.ok_or_else(|| {
                missing("a delegate acts for named gateways", "add --for NODE; cairn status of the gateway shows its node")
            })?,
            chain: layer.chain.ok_or_else(|| {
                missing("a delegate needs the ledger that is paid on", "add --chain URL, the one that the gateway has")
            })?,
            contracts: layer.contracts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delegate_says_for_whom_and_on_which_ledger() {
        let node: NodeId = cairn_types::NodeKey::from_secret([1; 32]).id();
        let whole = DelegateLayer {
            dir: Some("/d".into()),
            clients: Some(vec![node]),
            chain: Some("http://127.0.0.1:1".into()),
            ..DelegateLayer::default()
        };
        assert_eq!(Delegate::new(whole.clone()).expect("whole").clients, [node]);
        assert!(Delegate::new(DelegateLayer { clients: Some(Vec::new()), ..whole.clone() }).is_err());
        assert!(Delegate::new(DelegateLayer { chain: None, ..whole.clone() }).is_err());
        let file = DelegateLayer { chain: Some("http://file".into()), ..DelegateLayer::default() };
        let merged = DelegateLayer { chain: None, ..whole }.over(file);
        assert_eq!(Delegate::new(merged).expect("whole").chain, "http://file");
    }
}
