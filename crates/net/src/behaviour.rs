//! The libp2p behaviours of a node, in the order in which the swarm asks them: limits first.
//!
//! Never: a record that was not checked enters the DHT store (inserts are filtered and put by hand).
//! Limits: [`RECORDS_MAX`], [`PACKET_LEN_MAX`], [`QUERY`].

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use cairn_types::limits::ADVERT_LEN_MAX;
use libp2p::connection_limits;
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, identify, kad, mdns, ping};

use crate::config::{NETWORK_ID_LEN_MAX, NetConfig};
use crate::error::NetError;
use crate::streams::{Inbound, Links, Streams};

const RECORDS_MAX: usize = 10_000;
const PACKET_LEN_MAX: usize = 16 * 1024;
const QUERY: Duration = Duration::from_secs(20);
const RECORD_LIFE_MAX: Duration = Duration::from_millis(cairn_proto::advert::VALID_MS_MAX);
const K: NonZeroUsize = NonZeroUsize::new(20).expect("20 is not 0");
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_DEADLINE: Duration = Duration::from_secs(10);

/// What the swarm runs.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) streams: Streams,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
}

/// The name of the DHT protocol, which keeps networks apart.
pub(crate) fn kad_protocol(network_id: &str) -> Result<StreamProtocol, NetError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if network_id.is_empty() || network_id.len() > NETWORK_ID_LEN_MAX || !network_id.chars().all(plain) {
        return Err(NetError::BadNetworkId(network_id.chars().take(100).collect()));
    }
    StreamProtocol::try_from_owned(format!("/cairn/{network_id}/kad/1"))
        .map_err(|_| NetError::BadNetworkId(network_id.to_owned()))
}

/// How a node of this network names itself to others; a peer that says otherwise is of another network.
pub(crate) fn identify_protocol(kad: &StreamProtocol) -> String {
    format!("cairn/1 {kad}")
}

impl Behaviour {
    pub(crate) fn new(config: &NetConfig, key: &Keypair, links: Arc<Links>) -> Result<(Behaviour, Inbound), NetError> {
        let node = key.public().to_peer_id();
        let (streams, inbound) = Streams::new(links, &config.limits, config.provider || config.answers);
        let identify = identify::Config::new(identify_protocol(&kad_protocol(&config.network_id)?), key.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true)
            // What we tell others is decided in one place (`publish`), and addresses of peers are kept in `peers`.
            .with_hide_listen_addrs(true)
            .with_cache_size(0);
        let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), node)).transpose();
        let behaviour = Behaviour {
            limits: connection_limits::Behaviour::new(limits(config)),
            streams,
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_DEADLINE)),
            kad: kademlia(config, key)?,
            mdns: mdns.map_err(NetError::Mdns)?.into(),
        };
        Ok((behaviour, inbound))
    }
}

fn limits(config: &NetConfig) -> connection_limits::ConnectionLimits {
    let limits = &config.limits;
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_in))
        .with_max_pending_outgoing(Some(limits.pending_out))
        .with_max_established_incoming(Some(limits.total_in))
        .with_max_established_outgoing(Some(limits.total_out))
        .with_max_established_per_peer(Some(limits.per_peer))
}

fn kademlia(config: &NetConfig, key: &Keypair) -> Result<kad::Behaviour<MemoryStore>, NetError> {
    let node = key.public().to_peer_id();
    let mut kad = kad::Config::new(kad_protocol(&config.network_id)?);
    kad.set_kbucket_size(K)
        .set_replication_factor(K)
        .set_query_timeout(QUERY)
        .set_max_packet_size(PACKET_LEN_MAX)
        .set_record_ttl(Some(RECORD_LIFE_MAX))
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_caching(kad::Caching::Disabled)
        // Providers renew their own records and walks keep the table fresh; the library's own rounds come in bursts.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(None);
    let store = MemoryStoreConfig {
        max_records: RECORDS_MAX,
        max_value_bytes: ADVERT_LEN_MAX,
        max_providers_per_key: 1,
        max_provided_keys: 1,
    };
    let mut kademlia = kad::Behaviour::with_config(node, MemoryStore::with_config(node, store), kad);
    let server = config.provider || config.dht_server;
    kademlia.set_mode(Some(if server { kad::Mode::Server } else { kad::Mode::Client }));
    Ok(kademlia)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_id_cannot_change_the_shape_of_the_protocol_name() {
        for id in ["main", "office-3", "a.b_c"] {
            assert_eq!(kad_protocol(id).expect("a plain id").as_ref(), format!("/cairn/{id}/kad/1"));
        }
        for id in ["", "a/b", "a b", "é", &"x".repeat(NETWORK_ID_LEN_MAX + 1)] {
            assert!(matches!(kad_protocol(id), Err(NetError::BadNetworkId(_))), "{id}");
        }
    }
}
