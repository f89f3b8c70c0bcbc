//! Section `[dashboard]`: where the dashboard listens, the names it goes by, and the other nodes that it shows.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::layer::over;
use crate::dashboard::nodes::Other;
use crate::dashboard::webhooks::Hook;
use crate::text::text_in_serde;

/// Default port of a gateway's dashboard.
pub const GATEWAY_PORT: u16 = 8334;
/// Default port of a provider's dashboard.
pub const PROVIDER_PORT: u16 = 8335;

/// An address, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Listen(None)),
            text => text
                .parse()
                .map(|address| Listen(Some(address)))
                .map_err(|_| format!("{text:?} is no address; write IP:PORT, such as 127.0.0.1:{GATEWAY_PORT}, or none")),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("none"),
        }
    }
}

text_in_serde!(Listen);

/// What a file, or the flags and environment, say of the dashboard.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DashboardLayer {
    /// Address of the dashboard, or none [default: 127.0.0.1, port 8334 for a gateway and 8335 for a provider]
    #[arg(id = "dashboard_listen", long = "dashboard-listen", env = "CAIRN_DASHBOARD_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<Listen>,
    /// Names, with their ports if not 80 or 443, by which a proxy with TLS reaches the dashboard, separated by commas
    #[arg(
        id = "dashboard_host",
        long = "dashboard-host",
        env = "CAIRN_DASHBOARD_HOST",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub host: Option<Vec<String>>,
    /// Other nodes that the dashboard shows: data directories of this machine, or sockets; may be repeated
    #[arg(
        id = "dashboard_node",
        long = "dashboard-node",
        env = "CAIRN_DASHBOARD_NODE",
        value_delimiter = ',',
        value_name = "NAME=DIR"
    )]
    pub node: Option<Vec<Other>>,
    /// Addresses that are told of alerts by a POST of JSON; may be repeated
    #[arg(
        id = "dashboard_webhook",
        long = "dashboard-webhook",
        env = "CAIRN_DASHBOARD_WEBHOOK",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub webhook: Option<Vec<Hook>>,
}

impl DashboardLayer {
    /// This layer over `lower`.
    pub fn over(self, lower: Self) -> Self {
        over!(self, lower; listen, host, node, webhook)
    }
}

/// Effective configuration of the dashboard.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dashboard {
    /// Where it listens.
    pub listen: Listen,
    /// Whether nobody asked for that address.
    #[serde(skip)]
    pub is_default: bool,
    /// Names by which a proxy reaches it.
    pub host: Vec<String>,
    /// Other nodes.
    pub node: Vec<Other>,
    /// Who is told of alerts.
    pub webhook: Vec<Hook>,
}

impl Dashboard {
    /// Fills what `layer` leaves open.
    pub fn new(layer: DashboardLayer, port: u16) -> Dashboard {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Dashboard {
            is_default: layer.listen.is_none(),
            listen: layer.listen.unwrap_or(Listen(Some(default))),
            host: layer.host.unwrap_or_default(),
            node: layer.node.unwrap_or_default(),
            webhook: layer.webhook.unwrap_or_default(),
        }
    }

    /// Of a dashboard at an address that is not the user's to choose.
    pub fn at(address: SocketAddr) -> Dashboard {
        Dashboard { listen: Listen(Some(address)), is_default: false, host: Vec::new(), node: Vec::new(), webhook: Vec::new() }
    }

    /// Where it listens; `None` when it is switched off.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_none() {
        for (text, good) in
            [("none", true), ("127.0.0.1:1", true), ("[::1]:0", true), ("localhost:1", false), ("127.0.0.1", false), ("", false)]
        {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()).ok().as_deref(), good.then_some(text), "{text}");
        }
    }

    #[test]
    fn other_nodes_have_plain_names() {
        for (text, good) in [
            ("a=/x", true),
            ("a-1.b_c=/x=y", true),
            ("=/x", false),
            ("a=", false),
            ("a", false),
            ("a/b=/x", false),
            ("<b>=/x", false),
        ] {
            assert_eq!(text.parse::<Other>().map(|other| other.to_string()).ok().as_deref(), good.then_some(text), "{text}");
        }
    }
}
