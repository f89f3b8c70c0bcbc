//! The command line of delegates.

use cairn_types::{Address, NodeId};
use clap::{Args, Subcommand};

use super::WalletCall;
use crate::config::{Credits, DelegateLayer, NetworkLayer};
use crate::span::Span;

/// `cairn delegate`
#[derive(Debug, Clone, Args)]
pub struct Delegate {
    /// What to do.
    #[command(subcommand)]
    pub command: DelegateCommand,
}

/// Run one, or say who it is.
#[derive(Debug, Clone, Subcommand)]
pub enum DelegateCommand {
    /// Act for gateways that are silent: audit their providers and pay them, under the gateways' mandates
    Run(Box<RunDelegate>),
    /// Show by what name a gateway grants this delegate its mandates
    Id(WalletCall),
    /// On a gateway: let a delegate audit and pay while this gateway is silent
    Grant(DelegateGrant),
    /// On a gateway: whom it granted what, and how they were told. On a delegate: for whom it acts, and whether it does now
    List(WalletCall),
    /// On a gateway: tell a delegate nothing more; what it was granted ends by itself
    Revoke(DelegateRevoke),
}

/// `cairn delegate run`
#[derive(Debug, Clone, Args)]
pub struct RunDelegate {
    /// Own settings.
    #[command(flatten)]
    pub delegate: DelegateLayer,
    /// Network.
    #[command(flatten)]
    pub network: NetworkLayer,
}

/// A delegate by name: its node, and the address of the key whose vouchers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelegateName {
    /// The node.
    pub node: NodeId,
    /// The address.
    pub address: Address,
}

impl std::fmt::Display for DelegateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.node, self.address)
    }
}

impl std::str::FromStr for DelegateName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(node, address)| Some((node.parse().ok()?, address.parse().ok()?)));
        let (node, address) =
            parts.ok_or_else(|| format!("{text:?} is no delegate; `cairn delegate id` there prints its name"))?;
        Ok(DelegateName { node, address })
    }
}

/// `cairn delegate grant`
#[derive(Debug, Clone, Args)]
pub struct DelegateGrant {
    /// The delegate, as `cairn delegate id` prints it there
    pub delegate: DelegateName,
    /// How long it may act without a word of this gateway, 2h at least
    #[arg(long = "for", value_name = "SPAN", default_value = "7d")]
    pub span: Span,
    /// Credits that it may promise in that time, to all providers together
    #[arg(long, value_name = "CREDITS")]
    pub cap: Credits,
    /// Which gateway.
    #[command(flatten)]
    pub call: WalletCall,
}

/// `cairn delegate revoke`
#[derive(Debug, Clone, Args)]
pub struct DelegateRevoke {
    /// The delegate's node
    pub delegate: NodeId,
    /// Which gateway.
    #[command(flatten)]
    pub call: WalletCall,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delegate_has_one_name() {
        let node = cairn_types::NodeKey::from_secret([1; 32]).id();
        let name = DelegateName { node, address: Address([2; 20]) };
        assert_eq!(name.to_string().parse(), Ok(name));
        for wrong in ["", "/", &node.to_string(), &format!("{node}/"), &format!("{node}/0x12"), &format!("x/{}", name.address)] {
            assert!(wrong.parse::<DelegateName>().is_err(), "{wrong}");
        }
    }
}
