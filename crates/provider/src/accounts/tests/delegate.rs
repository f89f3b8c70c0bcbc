//! Somebody acts for a client: may read, have committed to and pay under its mandate, and nothing else.

use cairn_market::voucher::{Mandate, SignedVoucher};
use cairn_proto::Delegation;
use cairn_types::UnixSecs;

use super::*;
use crate::testbed::{OTHER_CLIENT, eventually, seeded};

const DEPOSIT: u128 = 1 << 50;
const DAY_S: u64 = 86_400;

struct Acting {
    key: NodeKey,
    peer: Peer,
    client: NodeKey,
    deal: DealId,
    channel: ChannelId,
}

impl Acting {
    fn delegation(&self, until: UnixSecs) -> Delegation {
        Delegation { deal: self.deal, client: self.client.id(), delegate: self.key.id(), valid_until: until }
    }

    async fn present(&mut self, present: shard::Present) -> Answer<()> {
        match ask(&mut self.peer, request::Kind::Present(present)).await {
            response::Kind::Presented(_) => Ok(()),
            other => Err(code(other)),
        }
    }

    /// A voucher of the delegate's key, under a mandate of key `by`.
    fn voucher(&self, cumulative: u128, mandate: Mandate, by: u8) -> SignedVoucher {
        let signed =
            Voucher { channel: self.channel, cumulative: units(cumulative) }.sign(&CONTRACTS.channels_domain(), &wallet(9));
        SignedVoucher { mandate: Some(mandate.sign(&CONTRACTS.channels_domain(), &wallet(by))), ..signed }
    }

    fn mandate(&self, max: u128, until: UnixSecs) -> Mandate {
        let delegate = wallet(9).address();
        Mandate { channel: self.channel, delegate, cumulative_max: units(max), valid_until: until }
    }

    async fn pay(&mut self, signed: &SignedVoucher) -> Answer<Account> {
        match ask(&mut self.peer, request::Kind::Pay(cairn_proto::account::pay(self.deal, signed))).await {
            response::Kind::Account(wire) => Ok(Account::from_wire(&wire, self.channel).expect("well formed")),
            other => Err(code(other)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_reads_has_committed_and_pays_and_does_nothing_else() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let data = seeded(1, 100_000);
    client.put(&data).await.expect("agreed");
    let key = NodeKey::from_secret([0x55; 32]);
    let peer = connect(&serving.server, key.id());
    let (deal, channel) = (client.deal, client.channel);
    let mut acting = Acting { key, peer, client: bed.client.clone(), deal, channel };
    let until = bed.now().secs().plus_secs(DAY_S);
    let commit = |at: UnixMs| request::Kind::Commit(shard::Commit { deal_id: b(&deal.0), at_ms: at.0 });
    assert_eq!(code(ask(&mut acting.peer, commit(bed.now())).await), RefusalCode::UnknownDeal, "nobody yet");
    let forged = acting.delegation(until).sign(&acting.key);
    assert_eq!(acting.present(forged).await, Err(RefusalCode::WrongDelegation));
    let others = Delegation { delegate: OTHER_CLIENT, ..acting.delegation(until) }.sign(&bed.client);
    assert_eq!(acting.present(others).await, Err(RefusalCode::WrongDelegation));
    let over = acting.delegation(UnixSecs(bed.now().secs().0 - 1)).sign(&bed.client);
    assert_eq!(acting.present(over).await, Err(RefusalCode::WrongDelegation));
    let good = acting.delegation(until).sign(&bed.client);
    assert_eq!(acting.present(good.clone()).await, Ok(()));

    bed.pass(EPOCH_MS);
    let response::Kind::Commitment(wire) = ask(&mut acting.peer, commit(bed.now())).await else { panic!("no commitment") };
    let committed = Committed::from_wire(&wire, channel).expect("well formed");
    let owed = (committed.account.leaf_ms << 40) / 2_592_000_000;
    assert_eq!(get(&mut acting.peer, deal, shard_root(&data), 0, 65_536, true).await, data[..65_536]);
    // What only the client may.
    let list = shard::List { deal_id: b(&deal.0), after: Bytes::new(), max: 1 };
    assert_eq!(code(ask(&mut acting.peer, request::Kind::List(list)).await), RefusalCode::UnknownDeal);
    let delete = shard::Delete { deal_id: b(&deal.0), roots: vec![b(&shard_root(&data).0)], release: None, writer_epoch: 0 };
    assert_eq!(code(ask(&mut acting.peer, request::Kind::Delete(delete)).await), RefusalCode::UnknownDeal);
    // Vouchers: within a mandate of the channel's signer that lasts, and no others.
    let max = owed + 1000;
    let refused = Err(RefusalCode::WrongVoucher);
    let soon = bed.now().secs().plus_secs(60);
    for wrong in [
        acting.voucher(max + 1, acting.mandate(max, until), 4),
        acting.voucher(owed, acting.mandate(max, until), 3),
        acting.voucher(owed, acting.mandate(max, soon), 4),
        acting.voucher(owed, Mandate { channel: ChannelId([1; 32]), ..acting.mandate(max, until) }, 4),
        acting.voucher(owed, Mandate { delegate: wallet(8).address(), ..acting.mandate(max, until) }, 4),
        SignedVoucher { mandate: None, ..acting.voucher(owed, acting.mandate(max, until), 4) },
    ] {
        assert_eq!(acting.pay(&wrong).await, refused, "{wrong:?}");
    }
    let voucher = acting.voucher(owed, acting.mandate(max, until), 4);
    assert_eq!(acting.pay(&voucher).await.expect("within the mandate").voucher, Some(voucher));
    // The client sees it, and its own next one replaces it.
    assert_eq!(client.account(bed.now()).await.expect("agreed").voucher, Some(voucher));
    let Client { peer, deal, channel, terms, start, key } = client;
    drop((serving, acting, peer)); // with the streams the server ends
    let serving = bed.serve();
    let mut client = Client { peer: bed.connect(&serving), deal, channel, terms, start, key };
    assert_eq!(client.account(bed.now()).await.expect("agreed").voucher, Some(voucher), "kept with its mandate");
    // Redeemed by itself before the mandate is over, although it is little.
    bed.pass((DAY_S - 600) * 1000);
    let stop = tokio::sync::watch::channel(false);
    let (accounts, stopping) = (serving.accounts.clone(), stop.1.clone());
    let running = tokio::spawn(async move { accounts.run(stopping).await });
    let wallet = || bed.chain.balance_of(wallet(1).address());
    eventually("the voucher is redeemed", || wallet() == units(owed)).await;
    stop.0.send_replace(true);
    running.await.expect("no panic");
    client.pay(owed + 5).await.expect("its own");
    assert_eq!(client.account(bed.now()).await.expect("agreed").voucher.and_then(|signed| signed.mandate), None);
}
