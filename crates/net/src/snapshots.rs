//! Snapshots of the engine's state: reachable providers, status, and the address book on disk.
//!
//! Never: a reader that waits for the engine, or a file written on its task.
//! Limits: as many entries as the tables they are taken from.

use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::Advert;
use cairn_types::NodeId;
use libp2p::Multiaddr;
use tokio::sync::watch;

use crate::book;
use crate::engine::{Command, Engine};
use crate::status::{NetStatus, PeerStatus, ProviderReach};

/// Snapshots for everybody else.
pub(crate) struct Outlets {
    pub(crate) providers: watch::Sender<Arc<Vec<Advert>>>,
    pub(crate) status: watch::Sender<Arc<NetStatus>>,
    pub(crate) own_advert: watch::Sender<Option<Bytes>>,
}

impl Engine {
    /// Writes the address book on a thread that may block; `None` when there is none to write.
    pub(crate) fn save_book(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let path = self.settings.address_book.clone()?;
        self.book_changed = false;
        let kept = self.peers.iter().filter(|(node, peer)| peer.seen_at.0 > 0 || self.adverts.get(*node).is_some());
        let entries: Vec<book::Entry> = kept
            .filter(|(_, peer)| !peer.addresses.is_empty())
            .map(|(node, peer)| book::Entry {
                node,
                addresses: peer.addresses.clone(),
                seen_at_ms: peer.seen_at,
                provider: self.adverts.get(node).is_some(),
            })
            .collect();
        let commands = self.exchange.commands.clone();
        Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = book::save(&path, entries) {
                tracing::warn!(path = %path.display(), %error, "address book not saved");
            }
            if let Some(commands) = commands.upgrade() {
                // Full or closed means the engine is stopping, and it waits for this task then.
                let _ = commands.try_send(Command::BookSaved);
            }
        }))
    }

    /// Publishes the providers that are believed to be reachable.
    pub(crate) fn publish_providers(&mut self) {
        self.providers_changed = false;
        self.status_changed = true;
        let reachable = |node: NodeId| self.peers.get(node).is_none_or(|peer| peer.failure.is_none());
        let providers: Vec<Advert> = self.adverts.iter().filter(|advert| reachable(advert.node)).cloned().collect();
        self.outlets.providers.send_replace(Arc::new(providers));
    }

    /// Publishes the status.
    pub(crate) fn publish(&mut self) {
        self.status_changed = false;
        let connected = self.peers.iter().filter(|(_, peer)| peer.connected()).map(|(node, peer)| PeerStatus {
            node,
            address: peer.address_in_use().map(Multiaddr::to_string).unwrap_or_default(),
            connections: peer.connections.len(),
            rtt_us: peer.rtt.map(|rtt| rtt.as_micros().min(u128::from(u64::MAX)) as u64),
            agent: peer.agent.clone(),
        });
        let providers = self.adverts.iter().map(|advert| {
            let failure = self.peers.get(advert.node).and_then(|peer| peer.failure.as_ref());
            ProviderReach {
                node: advert.node,
                reachable: failure.is_none(),
                reason: failure.map(|failure| failure.reason.clone()),
            }
        });
        let mut status = NetStatus {
            node: self.settings.node,
            listen: self.swarm.listeners().map(Multiaddr::to_string).collect(),
            advertised: self.swarm.external_addresses().map(Multiaddr::to_string).collect(),
            private: self.settings.private,
            connected: connected.collect(),
            providers: providers.collect(),
            dht_peers: 0,
        };
        status.connected.sort_by_key(|peer| peer.node);
        status.providers.sort_by_key(|provider| provider.node);
        status.dht_peers = self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        self.outlets.status.send_replace(Arc::new(status));
    }
}
