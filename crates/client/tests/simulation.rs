//! Simulated epochs of paid deals on a bad network: every fifth message is lost, providers and client are killed and started again.
//! An honest provider is never found guilty of anything, and once the network is well again it is paid to the base unit.
//!
//! `CAIRN_SIM_EPOCHS` (40) epochs with `CAIRN_SIM_SEED` (1); `scripts/simulate` runs a thousand.

mod network;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_client::{AuditFilter, Client, Config, PayConfig, StoredBlob};
use cairn_market::channel::WINDOW_LEN;
use cairn_proto::shard::request;
use cairn_types::NodeId;
use network::Network;
use network::cheat::Cheat;
use network::deals::*;

const PROVIDERS: usize = 5;
const LOSS_PERCENT: u64 = 20;
/// How often an upload is begun before it is given up.
const UPLOADS_MAX: usize = 10;
/// Blobs that are kept; beyond, the oldest is deleted.
const KEPT_MAX: usize = 12;

/// A seeded source of choices.
struct Draw(Mutex<u64>);

impl Draw {
    fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().expect("no holder of this lock panics");
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = *state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

/// Loses requests, and answers to requests that were done.
struct Lossy(Arc<Draw>);

impl Cheat for Lossy {
    fn drops(&self, _: &request::Kind) -> bool {
        self.0.below(100) < LOSS_PERCENT
    }

    fn swallows(&self, _: &request::Kind) -> bool {
        self.0.below(100) < LOSS_PERCENT
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn impatient() -> Config {
    // An epoch is over in moments; whoever failed in one is asked again in the next, as after a real hour.
    let failed_rest = Duration::from_micros(10);
    Config { call_timeout: Duration::from_secs(5), stall_timeout: Duration::from_secs(5), failed_rest, ..config() }
}

fn payer(network: &Arc<Network>) -> Option<Client> {
    let rules = PayConfig { retry: Some(Duration::from_millis(1)), ..rules() };
    network.payer(impatient(), rules, "client").ok()
}

/// The network, the client, and what it stored.
struct World {
    network: Arc<Network>,
    client: Option<Client>,
    draw: Arc<Draw>,
    blobs: Vec<(StoredBlob, u64)>,
    grades: BTreeMap<String, u64>,
    counts: BTreeMap<&'static str, u64>,
    /// Bytes of unpaid reads that providers forgot when they were killed.
    forgotten: BTreeMap<NodeId, u64>,
}

impl World {
    fn client(&self) -> &Client {
        self.client.as_ref().expect("it is taken only while it restarts")
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn lose_messages(&self, index: usize, loses: bool) {
        let stand = loses.then(|| Arc::new(Lossy(self.draw.clone())) as Arc<dyn Cheat>);
        self.network.providers[index].set_cheat(stand);
        self.network.providers[index].break_streams();
    }

    async fn restart_client(&mut self) {
        drop(self.client.take());
        for _ in 0..400 {
            self.client = payer(&self.network);
            if self.client.is_some() {
                return self.count("restarts of the client");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the ledger stays locked");
    }

    fn restart_provider(&mut self) {
        let index = self.draw.below(PROVIDERS as u64) as usize;
        let provider = self.network.providers[index].clone();
        let read_len = || provider.first_account().map_or(0, |account| account.egress_len);
        let before_len = read_len();
        provider.kill();
        provider.start();
        let forgotten_len = before_len.checked_sub(read_len()).expect("nobody reads meanwhile");
        assert!(forgotten_len <= WINDOW_LEN / 4, "{forgotten_len} bytes of reads forgotten");
        *self.forgotten.entry(provider.key.id()).or_default() += forgotten_len;
        self.count("restarts of a provider");
    }

    /// Stores something, and deletes the oldest beyond what is kept.
    async fn store(&mut self) {
        let seed = self.draw.below(u64::MAX);
        let len = 1 + self.draw.below(600_000) as usize;
        for _ in 0..UPLOADS_MAX {
            if let Ok(stored) = put(self.client(), &sample(len, seed)).await {
                self.blobs.push((stored, seed));
                self.count("blobs stored");
                break;
            }
            self.count("uploads that failed");
        }
        if self.blobs.len() > KEPT_MAX {
            let (blob, _) = self.blobs.remove(0);
            let mut left = self.client().delete(&blob).await;
            for _ in 0..50 {
                if left.is_empty() {
                    break;
                }
                left = self.client().delete_places(left).await;
            }
            self.count("blobs deleted");
        }
    }

    async fn read(&mut self) {
        let Some((blob, seed)) = self.blobs.last().map(|(blob, seed)| (cairn_client::Manifest::clone(blob), *seed)) else {
            return;
        };
        let data = sample(blob.plain_len() as usize, seed);
        let mut reader = self.client().read(Arc::new(blob), 0..u64::MAX);
        let mut read = Vec::new();
        while let Some(piece) = reader.next().await {
            let Ok(piece) = piece else { return self.count("reads that failed") };
            read.extend_from_slice(&piece);
        }
        assert!(read == data[..], "wrong bytes were served");
        self.count("reads");
    }

    async fn audit_all(&mut self) {
        for deal in self.client().deals() {
            match self.client().audit_now(deal.provider).await {
                Ok(audit) => *self.grades.entry(audit.grade.to_string()).or_default() += 1,
                Err(_) => self.count("audits that could not be made"),
            }
        }
    }

    async fn epoch(&mut self) {
        if self.draw.below(20) == 0 {
            self.restart_client().await;
        }
        if self.draw.below(5) == 0 {
            self.restart_provider();
        }
        if self.draw.below(2) == 0 {
            self.store().await;
        }
        if self.draw.below(3) == 0 {
            self.read().await;
        }
        self.network.clock.advance(HOUR_MS);
        self.audit_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_providers_on_a_bad_network_are_never_guilty_and_are_paid_when_it_is_well() {
    let (epochs, seed) = (number("CAIRN_SIM_EPOCHS", 40), number("CAIRN_SIM_SEED", 1));
    let network = Network::paid(PROVIDERS, &prices);
    let draw = Arc::new(Draw(Mutex::new(seed)));
    let (grades, counts, forgotten) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut world = World { client: payer(&network), network, draw, blobs: Vec::new(), grades, counts, forgotten };
    world.store().await;
    (0..PROVIDERS).for_each(|index| world.lose_messages(index, true));
    for _ in 0..epochs {
        world.epoch().await;
        let guilty = ["corrupt", "gone", "diverged"].iter().find(|grade| world.grades.contains_key(**grade));
        assert!(guilty.is_none(), "seed {seed}: {:?} {:?}", world.grades, world.client().audits(&AuditFilter::default()));
    }
    eprintln!("seed {seed}, {epochs} epochs: {:?} {:?}, forgotten {:?}", world.grades, world.counts, world.forgotten.values());
    (0..PROVIDERS).for_each(|index| world.lose_messages(index, false));
    world.grades.clear();
    for _ in 0..2 {
        world.network.clock.advance(HOUR_MS);
        world.audit_all().await;
    }
    let passed = world.grades.get("passed").copied().unwrap_or_default();
    assert!(world.grades.len() == 1 && passed >= 2, "seed {seed}: after the loss {:?}", world.grades);
    assert_settled_but_for(&world.network, world.client(), |node| world.forgotten.get(&node).copied().unwrap_or(0));
    assert!(world.network.chain.is_conserved(), "seed {seed}: credits are not conserved");
    for (blob, seed) in &world.blobs {
        assert_reads(world.client(), blob, &sample(blob.plain_len() as usize, *seed)).await;
    }
}
