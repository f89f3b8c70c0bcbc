//! The catalog of a gateway that does not run: access keys can be managed without a network.
//!
//! Never: opened while a gateway runs on it; the data directory's lock sees to that.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use cairn_client::{Client, Parts};
use cairn_gateway::catalog::Catalog;
use cairn_gateway::objects::api::{AccessKeyInfo, KeyScope, NewAccessKey, ObjectError};
use cairn_gateway::objects::{Objects, ObjectsConfig};
use cairn_proto::{Advert, BoxStream, Transport, TransportError};
use cairn_types::NodeId;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::args;
use crate::home::{self, Home, Role};
use crate::native::gateway_dir;
use crate::outcome::{ExitCode, coded};
use crate::socket::GATEWAY_SOCKET;
use crate::world::{SystemClock, SystemRng};

/// The data directory to open when no gateway runs on it; `None` when one does, or there is no such directory.
pub fn gateway_dir_at_rest(socket: &args::Socket) -> Result<Option<PathBuf>> {
    if socket.socket.is_some() {
        return Ok(None);
    }
    let dir = gateway_dir(socket)?;
    let running = UnixStream::connect(dir.join(GATEWAY_SOCKET)).is_ok();
    Ok((!running && home::is_initialised(&dir)).then_some(dir))
}

/// A node without a network.
struct NoNetwork(NodeId);

impl Transport for NoNetwork {
    fn open(&self, _peer: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
        std::future::ready(Err(TransportError::Closed)).boxed()
    }

    fn providers(&self) -> Vec<Advert> {
        Vec::new()
    }

    fn local(&self) -> NodeId {
        self.0
    }
}

/// An opened catalog at rest.
pub struct Keys {
    objects: Objects,
    _home: Home,
}

/// Opens the catalog in `dir`.
pub async fn open(dir: &Path) -> Result<Keys> {
    let home = Home::open(dir, Role::Gateway)?;
    let (path, node) = (dir.to_owned(), home.node_key().id());
    let catalog = tokio::task::spawn_blocking(move || Catalog::open(&path, node)).await.context("opening the catalog")??;
    let client = Client::new(Parts {
        transport: Arc::new(NoNetwork(node)),
        keys: home.data_keys(),
        rng: Arc::new(SystemRng),
        writer_epoch: catalog.writer_epoch(),
        config: cairn_client::Config::default(),
    });
    let config = ObjectsConfig { collect_every_ms: 0, checkpoint_every_ms: 0, ..ObjectsConfig::default() };
    let objects = Objects::open(catalog, client, config, Arc::new(SystemClock), Arc::new(SystemRng)).await?;
    Ok(Keys { objects, _home: home })
}

impl Keys {
    /// Makes a key.
    pub async fn create_key(self, label: &str, scope: KeyScope) -> Result<NewAccessKey> {
        let made = self.objects.create_key_for(label, scope).await;
        self.close(made).await
    }

    /// All keys.
    pub async fn list_keys(self) -> Result<Vec<AccessKeyInfo>> {
        let listed = self.objects.list_keys().await;
        self.close(listed).await
    }

    /// Makes a key useless.
    pub async fn revoke_key(self, access_key: &str) -> Result<()> {
        let revoked = self.objects.revoke_key(access_key).await;
        self.close(revoked).await
    }

    async fn close<T>(self, outcome: Result<T, ObjectError>) -> Result<T> {
        self.objects.stop().await;
        outcome.map_err(|error| match error {
            ObjectError::NoSuchAccessKey => coded(ExitCode::NotFound, error.to_string(), "cairn key list shows the keys"),
            error => error.into(),
        })
    }
}
