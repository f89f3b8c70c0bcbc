//! Random lives against the naive model, with restarts in between; and bytes that nobody should send.

use futures::io::{AsyncReadExt, AsyncWriteExt};
use proptest::prelude::*;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;
use crate::testbed::seeded;

const LENS: [usize; 6] = [1, 1_024, 9_000, 16_385, 40_000, 70_000];

#[derive(Debug, Clone)]
enum Op {
    Put(usize),
    Delete(Vec<usize>, u64),
    Read(usize),
    Pass(u64),
    Commit,
    Pay,
    Agree,
    Redeem,
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..LENS.len()).prop_map(Op::Put),
        3 => (prop::collection::vec(0..LENS.len(), 1..4), 0u64..200).prop_map(|(which, ago)| Op::Delete(which, ago)),
        4 => (0..LENS.len()).prop_map(Op::Read),
        4 => (1u64..40_000).prop_map(Op::Pass),
        3 => Just(Op::Commit),
        3 => Just(Op::Pay),
        1 => Just(Op::Agree),
        1 => Just(Op::Redeem),
        2 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..40)
}

/// A client with its own count of everything.
struct Life {
    bed: PaidBed,
    serving: Option<Serving>,
    client: Option<Client>,
    naive: Naive,
    carried: u128,
    paid: u128,
    /// No release or commitment is before this.
    settled_at: UnixMs,
}

impl Life {
    async fn new() -> Life {
        let bed = PaidBed::new(2);
        let serving = bed.serve();
        let client = bed.agreed(&serving, 1 << 100).await;
        let settled_at = bed.now();
        let (naive, carried, paid) = (Naive::default(), 0, 0);
        Life { bed, serving: Some(serving), client: Some(client), naive, carried, paid, settled_at }
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("always but while it is opened again")
    }

    fn accounts(&self) -> &Accounts {
        &self.serving.as_ref().expect("always but while it is opened again").accounts
    }

    fn owed(&self) -> u128 {
        self.carried + self.naive.owed(self.bed.now())
    }

    async fn pay(&mut self) {
        let owed = self.owed();
        if owed > self.paid {
            self.client().pay(owed).await.expect("owed and more than before");
            self.paid = owed;
        }
    }

    async fn run(&mut self, op: Op) {
        let now = self.bed.now();
        match op {
            Op::Put(which) => self.put(&seeded(which as u64, LENS[which])).await,
            Op::Delete(which, ago) => {
                let mut roots: Vec<ShardRoot> = which.iter().map(|seed| shard_root(&seeded(*seed as u64, LENS[*seed]))).collect();
                roots.sort_unstable();
                roots.dedup();
                let at = UnixMs(now.0 - ago).max(self.settled_at);
                let release = self.client().release(&roots, at);
                let removed = self.client().delete(&roots, Some(release)).await;
                assert_eq!(removed, Ok(roots.iter().filter(|root| self.naive.went(root, at)).count() as u32));
            }
            Op::Read(which) => {
                self.pay().await;
                let data = seeded(which as u64, LENS[which]);
                if self.naive.here.contains_key(&shard_root(&data)) {
                    assert_eq!(self.client().get(&data).await, data);
                    self.naive.read_len += data.len() as u64;
                }
            }
            Op::Pass(ms) => self.bed.pass(ms),
            Op::Commit => {
                let committed = self.client().commit(now).await.expect("agreed");
                assert_eq!(committed.signed.commitment.inventory_root, self.naive.inventory().root());
                assert_eq!(committed.totals, self.naive.inventory().totals());
                assert_eq!((committed.account.at, committed.account.leaf_ms), (now, self.naive.leaf_ms(now)));
                self.settled_at = now;
            }
            Op::Pay => self.pay().await,
            Op::Agree => self.agree().await,
            Op::Redeem => drop(self.accounts().redeem_now().await.expect("a good chain")),
            Op::Reopen => self.reopen().await,
        }
        let now = self.bed.now();
        let account = self.client().account(now).await.expect("agreed");
        assert_eq!(account.leaf_ms, self.naive.leaf_ms(now));
        assert_eq!(account.egress_len, self.naive.read_len);
        let sums = self.accounts().sums().expect("small");
        assert_eq!(sums.accrued.plus(sums.redeemed), Some(units(self.paid)));
        assert_eq!(sums.potential, units(self.owed().saturating_sub(self.paid)));
        assert_eq!(sums.redeemed, self.bed.chain.balance_of(wallet(1).address()));
    }

    async fn put(&mut self, data: &[u8]) {
        let stored = match self.client().put(data).await {
            Err(RefusalCode::PaymentDue) => {
                let peer = self.bed.connect(self.serving.as_ref().expect("open"));
                self.client().peer = peer;
                let now = self.bed.now();
                self.client().commit(now).await.expect("agreed");
                self.settled_at = now;
                self.pay().await;
                self.client().put(data).await
            }
            stored => stored,
        };
        let receipt = stored.expect("paid");
        self.naive.came(receipt.root, receipt.len, receipt.stored_at);
        let start = receipt.stored_at.max(self.client().start);
        assert_eq!(self.naive.here[&receipt.root].1, start.0, "as old as it was");
    }

    async fn agree(&mut self) {
        self.pay().await;
        let (start, carried) = (self.bed.now(), self.owed());
        let agreement = Agreement { start, carried: units(carried), ..self.client().agreement() };
        self.client().agree(agreement).await.expect("paid up");
        self.client().start = start;
        let here = self.naive.here.iter().map(|(root, (len, _))| (*root, (*len, start.0))).collect();
        self.naive = Naive { here, ..Naive::default() };
        self.carried = carried;
    }

    async fn reopen(&mut self) {
        let Client { deal, channel, terms, start, key, peer } = self.client.take().expect("there");
        drop((self.serving.take(), peer));
        let serving = self.bed.serve();
        let peer = self.bed.connect(&serving);
        self.client = Some(Client { peer, deal, channel, terms, start, key });
        self.serving = Some(serving);
        let now = self.bed.now();
        let read_len = self.client().account(now).await.expect("agreed").egress_len;
        assert!(self.naive.read_len - read_len < 256 * 1024, "{read_len} of {} are remembered", self.naive.read_len);
        self.naive.read_len = read_len;
    }
}

#[test]
fn random_lives_equal_the_naive_count_and_conserve_every_credit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    });
    let run = runner.run(&ops(), |ops| {
        runtime.block_on(async {
            let mut life = Life::new().await;
            for op in ops {
                life.run(op).await;
            }
            assert!(life.bed.chain.is_conserved() && life.accounts().is_conserved());
        });
        Ok(())
    });
    run.expect("no case fails");
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![Just(32usize), Just(16), Just(65), 0usize..70]
        .prop_flat_map(|len| prop::collection::vec(any::<u8>(), len))
        .prop_map(Bytes::from);
    let request = (0u8..7, any::<bool>(), field.clone(), field.clone(), field, any::<u64>()).prop_map(
        |(kind, mine, one, two, three, x)| {
            let deal_id = if mine { b(&[0xdd; 32]) } else { one.clone() };
            let release = Some(shard::Release { released_at_ms: x, signature: three.clone() });
            let kind = match kind {
                0 => request::Kind::GetOffer(shard::GetOffer {}),
                1 => request::Kind::Agree(shard::Agree { agreement: one, client_signature: two }),
                2 => request::Kind::Commit(shard::Commit { deal_id, at_ms: x }),
                3 => request::Kind::Pay(shard::Pay { deal_id, cumulative: two, signature: three, mandate: None }),
                4 => request::Kind::GetAccount(shard::GetAccount { deal_id, at_ms: x }),
                5 => request::Kind::Delete(shard::Delete { deal_id, roots: vec![two.clone(), two], release, writer_epoch: 0 }),
                _ => request::Kind::Delete(shard::Delete { deal_id, roots: vec![], release, writer_epoch: x }),
            };
            prost::Message::encode_to_vec(&shard::Request { kind: Some(kind) })
        },
    );
    prop::collection::vec(request, 0..8).prop_map(|messages| {
        let frame = |message: Vec<u8>| [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        messages.into_iter().flat_map(frame).collect()
    })
}

#[test]
fn whatever_a_peer_sends_about_money_the_server_goes_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let bed = PaidBed::new(1);
    let serving = runtime.block_on(async { bed.serve() });
    let mut client = runtime.block_on(bed.agreed(&serving, 1 << 60));
    let data = seeded(1, 50_000);
    runtime.block_on(client.put(&data)).expect("paid");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let run = runner.run(&hostile(), |bytes| {
        let id = bytes.windows(32).position(|at| at == [0xdd; 32]);
        let mut bytes = bytes;
        if let Some(at) = id {
            bytes[at..at + 32].copy_from_slice(&client.deal.0);
        }
        runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let serving = tokio::spawn({
                let (server, peer) = (serving.server.clone(), bed.client.id());
                async move { server.serve_stream(peer, Box::new(theirs.compat())).await }
            });
            let mut ours = ours.compat();
            let _ = ours.write_all(&bytes).await;
            let _ = ours.close().await;
            let _ = ours.read_to_end(&mut Vec::new()).await;
            serving.await.expect("the server does not panic");
        });
        Ok(())
    });
    run.expect("no case fails");
    runtime.block_on(async {
        assert_eq!(client.get(&data).await, data);
        assert_eq!(client.account(bed.now()).await.expect("agreed").voucher, None);
        client.pay(50_000).await.expect("still taken");
    });
}
