//! Configuration of a delegate.

use std::path::PathBuf;

use anyhow::Result;
use cairn_types::NodeId;
use serde::Serialize;

use super::{DelegateLayer, dir_or_default, listen_on};
use crate::home::Role;
use crate::outcome::{ExitCode, coded};

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
