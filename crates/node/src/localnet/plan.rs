//! What a localnet is made of, kept in `<dir>/localnet.json` so that a later start finds everything as it was.
//!
//! Never: an address other than loopback. Limits: 100 providers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use cairn_types::Redundancy;
use serde::{Deserialize, Serialize};

use crate::config::Court;
use crate::home::{Role, write_private};
use crate::ledger::deploy::FILE_NAME as CONTRACTS_FILE;
use crate::outcome::{ExitCode, coded, failure};
use crate::size::ByteLen;
use crate::socket::{CHAIN_SOCKET, GATEWAY_SOCKET, PEER_SOCKET, PROVIDER_SOCKET};
use crate::span::Span;

const VERSION: u32 = 1;
const FILE_NAME: &str = "localnet.json";
const PROVIDERS_DEFAULT: usize = 8;
const SPACE_DEFAULT: ByteLen = ByteLen(20 << 30);

/// One process of a localnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The ledger.
    Chain,
    /// The node that others ask first.
    Bootstrap,
    /// Provider by number, from 1.
    Provider(u16),
    /// The gateway.
    Gateway,
}

impl Name {
    /// The role of the node this process is; the ledger is no node of the network.
    pub fn role(self) -> Option<Role> {
        match self {
            Name::Chain => None,
            Name::Bootstrap => Some(Role::Peer),
            Name::Provider(_) => Some(Role::Provider),
            Name::Gateway => Some(Role::Gateway),
        }
    }

    /// The command that runs it.
    pub fn command(self) -> &'static str {
        self.role().map_or("chain", Role::name)
    }

    /// Its control socket.
    pub fn socket(self) -> &'static str {
        match self {
            Name::Chain => CHAIN_SOCKET,
            Name::Bootstrap => PEER_SOCKET,
            Name::Provider(_) => PROVIDER_SOCKET,
            Name::Gateway => GATEWAY_SOCKET,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Chain => f.write_str("chain"),
            Name::Bootstrap => f.write_str("bootstrap"),
            Name::Provider(number) => write!(f, "p{number}"),
            Name::Gateway => f.write_str("gateway"),
        }
    }
}

impl FromStr for Name {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_prefix('p').unwrap_or(text).parse::<u16>().ok().filter(|number| *number > 0);
        match (text, number) {
            ("chain", _) => Ok(Name::Chain),
            ("bootstrap", _) => Ok(Name::Bootstrap),
            ("gateway", _) => Ok(Name::Gateway),
            (_, Some(number)) => Ok(Name::Provider(number)),
            _ => Err(coded(
                ExitCode::Usage,
                format!("{text:?} is no process of a localnet"),
                "write 1, p1, gateway, bootstrap or chain",
            )),
        }
    }
}

/// The access key made at the first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Access key id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

/// What a localnet is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    version: u32,
    /// Keeps this network apart from others.
    pub network_id: String,
    /// Region of the S3 endpoint.
    pub region: String,
    /// Address of the S3 endpoint.
    pub s3_listen: SocketAddr,
    /// Space each provider rents out.
    pub space: ByteLen,
    /// Fixed redundancy, as text.
    pub redundancy: Option<String>,
    /// Whether there is a ledger, on which providers are audited and paid.
    #[serde(default)]
    paid: bool,
    /// The ledger's endpoint, if it is not one of the network's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
    /// Between two audits and payments.
    #[serde(default = "epoch_default")]
    epoch: Span,
    /// How long a provider may not answer before its shards are built anew.
    #[serde(default)]
    repair_after: Option<Span>,
    /// When the gateway goes to court.
    #[serde(default)]
    court: Option<Court>,
    /// Whether anybody may move the ledger's time on.
    #[serde(default)]
    test_clock: bool,
    /// Of the ledger; a plan of before there was one gets it at its next start.
    #[serde(default)]
    chain_port: u16,
    bootstrap_port: u16,
    gateway_port: u16,
    provider_ports: Vec<u16>,
    /// Of the dashboard; a plan of before there was one gets it at its next start.
    #[serde(default)]
    dashboard_port: u16,
    /// Made when the gateway first ran.
    pub key: Option<AccessKey>,
}

/// What the command line asks for; what it leaves open is as before.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Number of providers.
    pub providers: Option<u16>,
    /// Space of each.
    pub space: Option<ByteLen>,
    /// Fixed redundancy.
    pub redundancy: Option<Redundancy>,
    /// Address of the S3 endpoint.
    pub s3_listen: Option<SocketAddr>,
    /// Whether there is a ledger.
    pub paid: Option<bool>,
    /// The ledger's endpoint, if it is not to be one of the network's own.
    pub chain: Option<String>,
    /// Between two audits and payments.
    pub epoch: Option<Span>,
    /// How long a provider may not answer before its shards are built anew.
    pub repair_after: Option<Span>,
    /// When the gateway goes to court.
    pub court: Option<Court>,
    /// Whether anybody may move the ledger's time on.
    pub test_clock: bool,
}

impl Plan {
    /// The plan of `dir`: the one stored there with what is wanted changed, or a new one.
    ///
    /// # Errors
    /// The stored plan is damaged or has more providers than wanted; an S3 address is not loopback; no free port.
    pub fn take_up(dir: &Path, wanted: &Wanted, network_id: impl FnOnce() -> String) -> Result<Plan> {
        if let Some(address) = wanted.s3_listen.filter(|address| !address.ip().is_loopback()) {
            let remedy = "a localnet stays on this machine: use 127.0.0.1; run cairn gateway for more";
            return Err(coded(ExitCode::Usage, format!("{address} is not a loopback address"), remedy));
        }
        let mut plan = match Plan::load(dir)? {
            Some(plan) => plan,
            None => Plan::draw(wanted, network_id())?,
        };
        plan.change(wanted)?;
        plan.save(dir)?;
        Ok(plan)
    }

    /// Reads the plan of `dir`, if there is one.
    pub fn load(dir: &Path) -> Result<Option<Plan>> {
        let path = dir.join(FILE_NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let plan: Plan = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        if plan.version != VERSION {
            let message = format!("{} has version {}, this program knows {VERSION}", path.display(), plan.version);
            return Err(failure(message, "use the version of cairn that wrote it, or another --dir"));
        }
        Ok(Some(plan))
    }

    /// Writes the plan for the next start.
    pub fn save(&self, dir: &Path) -> Result<()> {
        write_private(&dir.join(FILE_NAME), &serde_json::to_vec_pretty(self)?)
    }

    fn draw(wanted: &Wanted, network_id: String) -> Result<Plan> {
        let providers = wanted.providers.map_or(PROVIDERS_DEFAULT, usize::from);
        let mut ports = free_ports(providers + 5)?;
        let mut next = || ports.pop().expect("as many as were asked for");
        Ok(Plan {
            version: VERSION,
            network_id,
            region: "us-east-1".into(),
            s3_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), next()),
            space: SPACE_DEFAULT,
            redundancy: None,
            paid: wanted.paid.unwrap_or(true),
            chain: wanted.chain.clone(),
            epoch: epoch_default(),
            repair_after: None,
            court: None,
            test_clock: false,
            chain_port: next(),
            bootstrap_port: next(),
            gateway_port: next(),
            dashboard_port: next(),
            provider_ports: ports,
            key: None,
        })
    }

    fn change(&mut self, wanted: &Wanted) -> Result<()> {
        if self.chain_port == 0 {
            self.chain_port = free_ports(1)?[0];
        }
        if self.dashboard_port == 0 {
            self.dashboard_port = free_ports(1)?[0];
        }
        let have = self.provider_ports.len();
        if let Some(count) = wanted.providers.map(usize::from) {
            if count < have {
                let message = format!("this localnet has {have} providers, which may hold shards; it cannot shrink to {count}");
                return Err(failure(message, "leave --providers out, or use another --dir"));
            }
            self.provider_ports.extend(free_ports(count - have)?);
        }
        match wanted.s3_listen {
            // Port 0 means: any, then always the same.
            Some(address) if address.port() != 0 => self.s3_listen = address,
            Some(address) => self.s3_listen.set_ip(address.ip()),
            None => {}
        }
        if let Some(chain) = &wanted.chain {
            if self.paid && self.chain.as_ref() != Some(chain) {
                let message = format!("the deals of this localnet are on {}", self.chain_url());
                return Err(failure(message, "leave --chain out, or use another --dir"));
            }
            self.chain = Some(chain.clone());
        }
        self.paid = wanted.paid.unwrap_or(self.paid);
        self.epoch = wanted.epoch.unwrap_or(self.epoch);
        self.repair_after = wanted.repair_after.or(self.repair_after);
        self.court = wanted.court.or(self.court);
        self.test_clock |= wanted.test_clock;
        self.space = wanted.space.unwrap_or(self.space);
        self.redundancy = wanted.redundancy.map(|redundancy| redundancy.to_string()).or_else(|| self.redundancy.take());
        Ok(())
    }

    /// All processes, in the order in which they are started.
    pub fn names(&self) -> Vec<Name> {
        let chain = self.has_own_chain().then_some(Name::Chain);
        chain.into_iter().chain([Name::Bootstrap]).chain(self.providers()).chain([Name::Gateway]).collect()
    }

    /// The providers.
    pub fn providers(&self) -> impl Iterator<Item = Name> {
        (1..=self.provider_ports.len()).map(|number| Name::Provider(u16::try_from(number).expect("at most 100 providers")))
    }

    /// Whether there is a ledger.
    pub fn is_paid(&self) -> bool {
        self.paid
    }

    /// Whether there is a ledger that is a process of this network.
    pub fn has_own_chain(&self) -> bool {
        self.paid && self.chain.is_none()
    }

    /// Whether there is a ledger that is not.
    pub fn is_on_other_chain(&self) -> bool {
        self.paid && self.chain.is_some()
    }

    /// Where the dashboard of the whole network listens.
    pub fn dashboard_listen(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.dashboard_port)
    }

    /// The ledger's endpoint.
    pub fn chain_url(&self) -> String {
        self.chain.clone().unwrap_or_else(|| format!("http://127.0.0.1:{}", self.chain_port))
    }

    /// What a process listens on: a multiaddr, of the ledger a socket address; `None` for a provider that does not exist.
    pub fn listen(&self, name: Name) -> Option<String> {
        let port = match name {
            Name::Chain => return Some(format!("127.0.0.1:{}", self.chain_port)),
            Name::Bootstrap => self.bootstrap_port,
            Name::Gateway => self.gateway_port,
            Name::Provider(number) => *self.provider_ports.get(usize::from(number).checked_sub(1)?)?,
        };
        Some(format!("/ip4/127.0.0.1/tcp/{port}"))
    }

    /// Arguments of a process, after the name of the program.
    pub fn arguments(&self, dir: &Path, name: Name, bootstrap: &str) -> Result<Vec<String>> {
        let listen = self.listen(name).ok_or_else(|| {
            let message = format!("there is no {name}: this localnet has {} providers", self.provider_ports.len());
            coded(ExitCode::NotFound, message, "cairn localnet status shows what there is")
        })?;
        let home = home_of(dir, name);
        let utf8 = |path: &Path| path.to_str().map(str::to_owned).context("the directory's name must be UTF-8");
        let mut args: Vec<String> = vec![name.command().into(), "--dir".into(), utf8(&home)?];
        let mut add = |flag: &str, value: &str| args.push(format!("{flag}={value}"));
        add("--listen", &listen);
        if name != Name::Chain {
            add("--network-id", &self.network_id);
        }
        if self.is_paid() && matches!(name, Name::Provider(_) | Name::Gateway) {
            add("--chain", &self.chain_url());
            if self.is_on_other_chain() {
                add("--contracts", &utf8(&dir.join(CONTRACTS_FILE))?);
            }
        }
        if matches!(name, Name::Provider(_) | Name::Gateway) {
            // The network has one for all of them.
            add("--dashboard-listen", "none");
        }
        match name {
            Name::Chain if self.test_clock => args.push("--test-clock".into()),
            Name::Chain | Name::Bootstrap => {}
            Name::Provider(_) => {
                add("--bootstrap", bootstrap);
                add("--space", &format!("{}={}", utf8(&home.join("space"))?, self.space));
                add("--region", "localnet");
                if self.is_paid() {
                    add("--epoch", &self.epoch.to_string());
                }
            }
            Name::Gateway => {
                add("--bootstrap", bootstrap);
                add("--s3-listen", &self.s3_listen.to_string());
                add("--region", &self.region);
                if let Some(redundancy) = &self.redundancy {
                    add("--redundancy", redundancy);
                }
                if let Some(span) = self.repair_after {
                    add("--repair-after", &span.to_string());
                }
                if let Some(court) = self.court.filter(|_| self.is_paid()) {
                    add("--court", court.name());
                }
            }
        }
        Ok(args)
    }
}

fn epoch_default() -> Span {
    crate::config::EPOCH_DEFAULT
}

/// Data directory of a process.
pub fn home_of(dir: &Path, name: Name) -> PathBuf {
    dir.join(name.to_string())
}

/// Ports nobody listens on now, all different: held together until all are known.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()
        .context("cannot find free ports on 127.0.0.1")?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
