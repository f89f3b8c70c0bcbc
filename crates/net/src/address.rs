//! Addresses: which multiaddrs are dialled, kept and told to others.
//!
//! Never: believe an address list of a peer beyond [`PEER_ADDRESSES_MAX`] entries.

use std::net::IpAddr;

use cairn_types::NodeId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::PEER_ADDRESSES_MAX;
use crate::error::NetError;

const TEXT_LEN_MAX: usize = cairn_proto::advert::ADDRESS_LEN_MAX;

/// The libp2p name of a node.
pub(crate) fn peer_of(node: NodeId) -> PeerId {
    PeerId::from_bytes(&node.to_peer_id_bytes()).expect("an identity multihash of 36 bytes is a peer id")
}

/// The node behind a libp2p name; `None` for keys that are not ed25519.
pub(crate) fn node_of(peer: &PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes())
}

/// Reads a configured address and refuses QUIC in a private network.
pub(crate) fn parse(text: &str, private: bool) -> Result<Multiaddr, NetError> {
    let bad = |reason: &str| NetError::BadAddress { text: text.chars().take(200).collect(), reason: reason.to_owned() };
    let address: Multiaddr = text.parse().map_err(|error: libp2p::multiaddr::Error| bad(&error.to_string()))?;
    match transport_of(&address) {
        Some(Kind::Tcp) => Ok(address),
        Some(Kind::Quic) if private => Err(NetError::QuicWithKey { address: text.to_owned() }),
        Some(Kind::Quic) => Ok(address),
        None => Err(bad("neither /ip…/tcp/… nor /ip…/udp/…/quic-v1")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Quic,
}

/// Which transport carries an address; `None` when none of ours does.
pub(crate) fn transport_of(address: &Multiaddr) -> Option<Kind> {
    let mut parts = address.iter();
    let host = parts.next()?;
    if !matches!(host, Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) {
        return None;
    }
    let kind = match (parts.next()?, parts.next()) {
        (Protocol::Tcp(_), None | Some(Protocol::P2p(_))) => return parts.next().is_none().then_some(Kind::Tcp),
        (Protocol::Udp(_), Some(Protocol::QuicV1)) => Kind::Quic,
        _ => return None,
    };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(kind),
        _ => None,
    }
}

/// Splits the `/p2p/…` end from an address.
pub(crate) fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.pop() {
        Some(Protocol::P2p(peer)) => (address, Some(peer)),
        Some(last) => (address.with(last), None),
        None => (address, None),
    }
}

/// The part of an address that may be dialled: a numeric, definite host, a port, one of our transports; without `/p2p`.
pub(crate) fn dialable(address: &Multiaddr, private: bool) -> Option<Multiaddr> {
    let (address, _) = split_peer(address.clone());
    match transport_of(&address)? {
        Kind::Tcp => {}
        Kind::Quic if private => return None,
        Kind::Quic => {}
    }
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })?;
    let ip = ip_of(&address)?;
    let multicast = ip.is_multicast() || ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    (port != 0 && !ip.is_unspecified() && !multicast && address.to_string().len() <= TEXT_LEN_MAX).then_some(address)
}

/// The dialable ones of a peer's claimed addresses, each once, at most [`PEER_ADDRESSES_MAX`].
pub(crate) fn dialable_all<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>, private: bool) -> Vec<Multiaddr> {
    let mut kept: Vec<Multiaddr> = Vec::new();
    // Looking at four times as many as are kept bounds the work that a peer can cause.
    for address in addresses.into_iter().take(4 * PEER_ADDRESSES_MAX) {
        if let Some(address) = dialable(address, private)
            && !kept.contains(&address)
        {
            kept.push(address);
        }
        if kept.len() == PEER_ADDRESSES_MAX {
            break;
        }
    }
    kept
}

/// What this node tells others: the configured external addresses, else what it listens on, without loopback unless it
/// listens on nothing else.
pub(crate) fn advertised(listen: &[Multiaddr], external: &[Multiaddr]) -> Vec<Multiaddr> {
    let chosen: Vec<&Multiaddr> = if !external.is_empty() {
        external.iter().collect()
    } else if listen.iter().any(|address| !is_loopback(address)) {
        listen.iter().filter(|address| !is_loopback(address)).collect()
    } else {
        listen.iter().collect()
    };
    let mut told: Vec<Multiaddr> = chosen.into_iter().map(|address| split_peer(address.clone()).0).collect();
    told.sort_by_key(|address| transport_of(address) != Some(Kind::Tcp));
    told.dedup();
    told.truncate(PEER_ADDRESSES_MAX);
    told
}

fn is_loopback(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_loopback())
}

/// The numeric host of an address.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// The same address with a numeric host instead of a name.
pub(crate) fn with_ip(address: &Multiaddr, ip: IpAddr) -> Multiaddr {
    let host: Protocol<'static> = match ip {
        IpAddr::V4(ip) => Protocol::Ip4(ip),
        IpAddr::V6(ip) => Protocol::Ip6(ip),
    };
    std::iter::once(host).chain(address.iter().skip(1).map(|part| part.acquire())).collect()
}

/// The host name of an address, when it has one instead of a number.
pub(crate) fn host_name(address: &Multiaddr) -> Option<String> {
    match address.iter().next()? {
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Some(name.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    #[test]
    fn only_definite_addresses_of_our_transports_are_dialled() {
        let peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        let cases = [
            ("/ip4/127.0.0.1/tcp/4001", true, true),
            ("/ip4/127.0.0.1/udp/4001/quic-v1", true, false),
            ("/ip6/::1/tcp/4001", true, true),
            ("/ip4/0.0.0.0/tcp/4001", false, false),
            ("/ip4/127.0.0.1/tcp/0", false, false),
            ("/ip4/224.0.0.1/tcp/4001", false, false),
            ("/dns4/example.org/tcp/4001", false, false),
            ("/ip4/127.0.0.1/udp/4001", false, false),
            ("/ip4/127.0.0.1/tcp/4001/ws", false, false),
            ("/ip4/127.0.0.1", false, false),
            ("/memory/7", false, false),
        ];
        for (text, public, private) in cases {
            for end in [String::new(), format!("/p2p/{peer}")] {
                let address = addr(&format!("{text}{end}"));
                assert_eq!(dialable(&address, false).is_some(), public, "{address}");
                assert_eq!(dialable(&address, true).is_some(), private, "{address} in a private network");
            }
        }
    }

    #[test]
    fn a_peer_cannot_make_us_keep_many_addresses() {
        let claimed: Vec<Multiaddr> = (1..60_000u16).map(|port| addr(&format!("/ip4/1.2.3.4/tcp/{port}"))).collect();
        assert_eq!(dialable_all(&claimed, false).len(), PEER_ADDRESSES_MAX);
        let same = vec![addr("/ip4/1.2.3.4/tcp/1"); 100];
        assert_eq!(dialable_all(&same, false).len(), 1);
    }

    #[test]
    fn loopback_is_told_only_when_there_is_nothing_else() {
        let (local, lan, outside) = ("/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1");
        let all = |texts: &[&str]| texts.iter().map(|text| addr(text)).collect::<Vec<_>>();
        assert_eq!(advertised(&all(&[local]), &[]), all(&[local]));
        assert_eq!(advertised(&all(&[local, lan]), &[]), all(&[lan]));
        assert_eq!(advertised(&all(&[local, lan]), &all(&[outside])), all(&[outside]));
    }

    #[test]
    fn names_are_replaced_by_numbers() {
        let named = addr("/dns4/example.org/udp/1/quic-v1");
        assert_eq!(host_name(&named).as_deref(), Some("example.org"));
        assert_eq!(with_ip(&named, IpAddr::from([1, 2, 3, 4])), addr("/ip4/1.2.3.4/udp/1/quic-v1"));
    }

    #[test]
    fn nodes_and_peer_ids_are_the_same_thing() {
        let node = cairn_types::NodeKey::from_secret([5; 32]).id();
        assert_eq!(node_of(&peer_of(node)), Some(node));
        assert_eq!(peer_of(node).to_string(), node.to_string());
    }
}
