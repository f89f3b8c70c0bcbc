//! Objects: buckets, keys, bytes, multipart uploads and access keys, over the catalog and the client.
//!
//! Never: an answer before the bytes are durable on the network, the record durable in a pack, and the catalog synced.
//! Limits: [`limits`].

pub mod api;
mod bucket;
mod budget;
mod check;
pub mod checkpoint;
mod checksum;
mod complete;
pub mod condition;
mod control;
mod copy;
mod core;
mod delete;
pub mod error;
mod hashing;
mod keys;
pub mod lease;
pub mod lifecycle;
pub mod limits;
pub(crate) mod listing;
mod listing_versions;
mod multipart;
pub mod pack;
mod packer;
mod parts;
mod places;
mod put;
mod read;
mod receive;
pub mod recover;
mod reenter;
mod refs;
mod repack;
pub mod repair;
mod settings;
mod trash;
mod upload_api;
mod versions;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use cairn_client::Client;
use cairn_types::{Clock, Rng};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use error::{BodyError, ObjectError};
pub use read::ObjectReader;
pub use settings::Bucket;

use crate::catalog::{Catalog, OpenError};
use api::ObjectsStats;
use core::{Core, Network};
use packer::PackerConfig;

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct ObjectsConfig {
    /// Bodies up to this many bytes share packs; at most [`pack::DATA_LEN_MAX`].
    pub pack_max: usize,
    /// A pack is closed when it has this many bytes…
    pub pack_len: usize,
    /// …or this many milliseconds after its first entry, while another pack is being stored.
    pub pack_window_ms: u64,
    /// Packs stored at once.
    pub packs_in_flight: usize,
    /// Blobs deleted from providers at once.
    pub trash_in_flight: usize,
    /// Milliseconds between two collections of shards nothing refers to; zero: only when asked.
    pub collect_every_ms: u64,
    /// Milliseconds between two looks at all segments, with repair of those that lost too many shards; zero: only when asked.
    pub repair_every_ms: u64,
    /// Milliseconds between two checkpoints of all objects, while there are changes; zero: only when asked. Buckets, keys and settings
    /// follow each change within seconds.
    pub checkpoint_every_ms: u64,
    /// Milliseconds of a day of lifecycle rules: 86,400,000 but for tests.
    pub day_ms: u64,
    /// Packs of which less than this many percent are in use are written anew; zero: never.
    pub repack_below_percent: u8,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        ObjectsConfig {
            pack_max: 64 * 1024,
            pack_len: 1 << 20,
            pack_window_ms: 3,
            packs_in_flight: 4,
            trash_in_flight: 8,
            collect_every_ms: 3_600_000,
            repair_every_ms: 300_000,
            checkpoint_every_ms: 600_000,
            day_ms: crate::rules::lifecycle::DAY_MS,
            repack_below_percent: 25,
        }
    }
}

/// The object store. Cheap to clone; dropping the last clone stops the background tasks (see also [`Objects::stop`]).
#[derive(Clone)]
pub struct Objects {
    core: Arc<Core>,
    background: Arc<Background>,
}

/// Tasks that end with the store.
struct Background {
    tasks: TaskTracker,
    stop: CancellationToken,
    _guard: Mutex<Option<DropGuard>>,
}

impl Objects {
    /// Starts the object store. The catalog is opened first, because the client needs its [`Catalog::writer_epoch`].
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when the access keys cannot be read.
    pub async fn open(
        catalog: Catalog,
        client: Client,
        config: ObjectsConfig,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Objects, OpenError> {
        let config = ObjectsConfig { pack_max: config.pack_max.min(pack::DATA_LEN_MAX), ..config };
        let secrets = keys::load(catalog.db())
            .map_err(|error| OpenError::Damaged { path: catalog.path().to_owned(), reason: error.to_string() })?;
        let network = Arc::new(Network {
            client,
            catalog,
            clock,
            rng,
            leases: Arc::default(),
            trash: Notify::new(),
            trash_turn: Semaphore::new(1),
            repair_turn: Semaphore::new(1),
            sequence: AtomicU64::new(0),
            packs: Default::default(),
            checkpoint_turn: Default::default(),
        });
        let (packer, entries) = packer::channel();
        let stop = CancellationToken::new();
        let background =
            Background { tasks: TaskTracker::new(), _guard: Mutex::new(Some(stop.clone().drop_guard())), stop: stop.clone() };
        let hashers = std::thread::available_parallelism().map_or(2, usize::from) * 2;
        let core = Arc::new(Core {
            network: network.clone(),
            packer,
            config: config.clone(),
            hashing: Arc::new(Semaphore::new(hashers)),
            keys: RwLock::new(secrets),
            buckets: settings::Cache::default(),
            tasks: TaskTracker::new(),
            stopping: AtomicBool::new(false),
        });
        let packing = PackerConfig {
            pack_len: config.pack_len.max(1),
            window: Duration::from_millis(config.pack_window_ms),
            packs_in_flight: config.packs_in_flight.max(1),
        };
        let (tasks, background_network) = (&background.tasks, network.clone());
        tasks.spawn(packer::run(network.clone(), packing, entries));
        tasks.spawn(trash::run_trash(network.clone(), config.trash_in_flight, stop.clone()));
        tasks.spawn(trash::run_sweeper(network.clone(), stop.clone()));
        tasks.spawn(repair::claim(network.clone(), stop.clone()));
        if config.repair_every_ms > 0 {
            tasks.spawn(repair::run(network.clone(), Duration::from_millis(config.repair_every_ms), stop.clone()));
        }
        if config.collect_every_ms > 0 {
            tasks.spawn(trash::run_collector(network, Duration::from_millis(config.collect_every_ms), stop.clone()));
        }
        if config.checkpoint_every_ms > 0 {
            let every = Duration::from_millis(config.checkpoint_every_ms);
            tasks.spawn(checkpoint::run(background_network, every, stop.clone()));
        }
        if config.repack_below_percent > 0 {
            tasks.spawn(repack::run(Arc::downgrade(&core), config.repack_below_percent, stop.clone()));
        }
        let background = Arc::new(background);
        background.tasks.spawn(lifecycle::run(Arc::downgrade(&core), Arc::downgrade(&background), stop));
        Ok(Objects { core, background })
    }

    /// The present moment, by the store's clock.
    pub fn now(&self) -> cairn_types::UnixMs {
        self.core.network.now()
    }

    /// What the store holds, as of the last commit.
    pub fn stats(&self) -> ObjectsStats {
        let catalog = &self.core.network.catalog;
        let (counters, commits) = (catalog.counters(), catalog.commit_stats());
        ObjectsStats {
            buckets: counters.buckets,
            objects: counters.objects,
            object_bytes: counters.object_bytes,
            uploads: counters.uploads,
            blobs: counters.blobs,
            blob_bytes: counters.blob_bytes,
            packs: counters.packs,
            pack_waste_bytes: counters.pack_waste,
            trash: counters.trash,
            commits: commits.commits,
            changes: commits.changes,
        }
    }

    /// Refuses new work, lets commits that are under way finish, stops the background tasks but the packer, which ends with the
    /// last clone.
    pub async fn stop(&self) {
        self.core.stopping.store(true, Ordering::Release);
        self.core.tasks.close();
        self.core.tasks.wait().await;
        if self.core.config.checkpoint_every_ms > 0 {
            checkpoint::last_settings(&self.core.network).await;
        }
        self.background.stop.cancel();
        drop(self.background._guard.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
