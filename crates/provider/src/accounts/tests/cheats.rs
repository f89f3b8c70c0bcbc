//! Clients that cheat or err, each refused by its own code, and nothing changed by it.

use cairn_types::Address;

use super::*;
use crate::testbed::{OTHER_CLIENT, seeded};

const DEPOSIT: u128 = 1 << 50;

#[tokio::test(flavor = "multi_thread")]
async fn without_terms_nothing_is_stored_and_what_was_there_before_goes_on() {
    let bed = PaidBed::new(1);
    let data = seeded(1, 70_000);
    {
        let server = Server::new(bed.bed.open().expect("good directories"), bed.bed.key.clone(), quick());
        let mut peer = connect(&server, bed.client.id());
        let deal = open_deal(&mut peer).await;
        put(&mut peer, store(deal, 70_000), &data, end(&data)).await;
        for kind in [request::Kind::GetOffer(shard::GetOffer {}), request::Kind::Commit(shard::Commit::default())] {
            assert_eq!(code(ask(&mut peer, kind).await), RefusalCode::BadRequest, "a free provider agrees on nothing");
        }
    }
    let serving = bed.serve();
    let mut peer = bed.connect(&serving);
    let deal = open_deal(&mut peer).await;
    assert_eq!(get(&mut peer, deal, shard_root(&data), 0, 70_000, false).await, data);
    let due: [request::Kind; 3] = [
        request::Kind::Commit(shard::Commit { deal_id: b(&deal.0), at_ms: 0 }),
        request::Kind::GetAccount(shard::GetAccount { deal_id: b(&deal.0), at_ms: 0 }),
        request::Kind::Pay(shard::Pay { deal_id: b(&deal.0), cumulative: b(&[0; 16]), signature: b(&[0; 65]), mandate: None }),
    ];
    for kind in due {
        assert_eq!(code(ask(&mut peer, kind).await), RefusalCode::AgreementDue);
    }
    let mut storing = bed.connect(&serving);
    assert_eq!(code(ask(&mut storing, request::Kind::Store(store(deal, 1))).await), RefusalCode::AgreementDue);
    // What lay there before is metered from the agreement on.
    bed.pass(1_000);
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    bed.pass(1_000);
    assert_eq!(client.account(bed.now()).await.expect("agreed").leaf_ms, u128::from(leaf_count(70_000)) * 1_000);
    let roots = [shard_root(&data)];
    assert_eq!(client.delete(&roots, None).await, Err(RefusalCode::WrongRelease), "now a release is due");
    let release = client.release(&roots, bed.now());
    assert_eq!(client.delete(&roots, Some(release)).await, Ok(1));
    assert_eq!(serving.server.store().status().shards, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn agreements_that_are_not_as_they_should_be_are_refused() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut peer = bed.connect(&serving);
    let deal = open_deal(&mut peer).await;
    let terms = offer(&mut peer, &bed).await.terms;
    let channel = bed.channel(1, DEPOSIT);
    let mut client = Client { peer, deal, channel, terms, start: bed.now(), key: bed.client.clone() };
    let good = client.agreement();
    let parties = |salt: u8| Parties {
        payer: wallet(3).address(),
        payee: wallet(1).address(),
        signer: wallet(4).address(),
        salt: [salt; 32],
    };
    let other_payee = bed.chain.open(Parties { payee: wallet(9).address(), ..parties(2) }, units(DEPOSIT));
    let no_signer = bed.chain.open(Parties { signer: Address::ZERO, ..parties(3) }, units(DEPOSIT));
    let poor = bed.chain.open(parties(4), units(1_000));
    let closing = bed.chain.open(parties(5), units(DEPOSIT));
    bed.chain.begin_close(closing);
    let cheaper = Terms { egress: EgressPrice::per_gib(units(1)), ..client.terms.clone() };
    let other_chain = Terms { chain_id: 1, ..client.terms.clone() };
    let other_node = Terms { node: OTHER_CLIENT, ..client.terms.clone() };
    let now = bed.now().0;
    let cases = [
        ("a channel that is not there", Agreement { channel: ChannelId([7; 32]), ..good.clone() }),
        ("a channel to somebody else", Agreement { channel: other_payee, ..good.clone() }),
        ("a channel without a signer", Agreement { channel: no_signer, ..good.clone() }),
        ("a channel with too little", Agreement { channel: poor, ..good.clone() }),
        ("a closing channel", Agreement { channel: closing, ..good.clone() }),
        ("a price of one's own", Agreement { terms: cheaper, ..good.clone() }),
        ("another chain", Agreement { terms: other_chain, ..good.clone() }),
        ("another provider", Agreement { terms: other_node, ..good.clone() }),
        ("a start far in the past", Agreement { start: UnixMs(now - 120_001), ..good.clone() }),
        ("a start far in the future", Agreement { start: UnixMs(now + 120_001), ..good.clone() }),
        ("another client", Agreement { client: NodeKey::from_secret([8; 32]).id(), ..good.clone() }),
    ];
    for (what, agreement) in cases {
        assert_eq!(client.agree(agreement).await.map(|_| ()), Err(RefusalCode::WrongAgreement), "{what}");
    }
    let unknown = Agreement { deal: DealId([7; 32]), ..good.clone() };
    assert_eq!(client.agree(unknown).await.map(|_| ()), Err(RefusalCode::UnknownDeal));
    // Somebody else with a good signature of his own over this client's deal.
    let key = NodeKey::from_secret([8; 32]);
    let theirs = Agreement { client: key.id(), ..good.clone() }.propose(&key);
    let mut other = connect(&serving.server, key.id());
    assert_eq!(code(ask(&mut other, request::Kind::Agree(theirs)).await), RefusalCode::UnknownDeal);
    let stolen = request::Kind::Agree(good.propose(&bed.client));
    assert_eq!(code(ask(&mut other, stolen).await), RefusalCode::WrongAgreement, "a proposal of another client");
    assert!(serving.accounts.list().expect("none").is_empty());
    client.agree(good.clone()).await.expect("good");
    // The same channel for a second deal.
    let open = shard::OpenDeal { nonce: b(&[2; 16]), space_len: MIB, writer_epoch: 0 };
    let response::Kind::Deal(second) = ask(&mut client.peer, request::Kind::OpenDeal(open)).await else { panic!("no deal") };
    let deal = DealId::from_slice(&second.deal_id).expect("32 bytes");
    assert_eq!(client.agree(Agreement { deal, ..good }).await.map(|_| ()), Err(RefusalCode::WrongAgreement));
    bed.chain.trouble(chain::Trouble::Unreachable);
    let fresh = Agreement { deal, channel: poor, ..client.agreement() };
    assert_eq!(client.agree(fresh).await.map(|_| ()), Err(RefusalCode::DiskError), "the provider's own trouble");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_counts_until_it_ends_and_no_longer() {
    let mut bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut peer = bed.connect(&serving);
    let deal = open_deal(&mut peer).await;
    let offer = offer(&mut peer, &bed).await;
    drop((serving, peer));
    bed.prices.storage = StoragePrice::per_gib_month(units(5));
    let serving = bed.serve();
    let channel = bed.channel(1, DEPOSIT);
    bed.pass((offer.valid_until.0 - bed.now().secs().0) * 1000 - 1_000);
    let peer = bed.connect(&serving);
    let mut client = Client { peer, deal, channel, terms: offer.terms, start: bed.now(), key: bed.client.clone() };
    let early = client.agreement();
    bed.pass(1_000);
    let late = Agreement { start: bed.now(), ..client.agreement() };
    assert_eq!(client.agree(late).await.map(|_| ()), Err(RefusalCode::WrongAgreement));
    bed.bed.clock.0.fetch_sub(1_000, std::sync::atomic::Ordering::SeqCst);
    client.agree(early).await.expect("the old price, in the old offer's life");
}

#[tokio::test(flavor = "multi_thread")]
async fn vouchers_count_once_for_their_channel_within_the_deposit() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, 1 << 24).await;
    client.pay(1_000).await.expect("the first");
    let voucher = Voucher { channel: client.channel, cumulative: units(2_000) };
    let domain = CONTRACTS.channels_domain();
    let signed = |voucher: Voucher, domain: &cairn_types::Domain, secret: u8| {
        request::Kind::Pay(cairn_proto::account::pay(client.deal, &voucher.sign(domain, &wallet(secret))))
    };
    let elsewhere = cairn_types::Domain::channels(1, CONTRACTS.channels);
    let other_contract = cairn_types::Domain::channels(CONTRACTS.chain_id, CONTRACTS.court);
    let deal_id = b(&client.deal.0);
    let cases = [
        ("the same again", request::Kind::Pay(client.voucher(1_000)), RefusalCode::WrongVoucher),
        ("a lower one", request::Kind::Pay(client.voucher(999)), RefusalCode::WrongVoucher),
        ("beyond the deposit", request::Kind::Pay(client.voucher((1 << 24) + 1)), RefusalCode::WrongVoucher),
        ("for another chain", signed(voucher, &elsewhere, 4), RefusalCode::WrongVoucher),
        ("for another contract", signed(voucher, &other_contract, 4), RefusalCode::WrongVoucher),
        ("by the payer", signed(voucher, &domain, 3), RefusalCode::WrongVoucher),
        ("by a stranger", signed(voucher, &domain, 9), RefusalCode::WrongVoucher),
        ("of another channel", signed(Voucher { channel: ChannelId([1; 32]), ..voucher }, &domain, 4), RefusalCode::WrongVoucher),
        (
            "of another length",
            request::Kind::Pay(shard::Pay {
                deal_id: deal_id.clone(),
                cumulative: b(&[0; 15]),
                signature: b(&[0; 65]),
                mandate: None,
            }),
            RefusalCode::BadRequest,
        ),
        (
            "of another deal",
            request::Kind::Pay(shard::Pay { deal_id: b(&[1; 32]), ..client.voucher(2_000) }),
            RefusalCode::UnknownDeal,
        ),
    ];
    for (what, kind, expected) in cases {
        assert_eq!(client.account_of(kind).await.map(|_| ()), Err(expected), "{what}");
    }
    let account = client.account(bed.now()).await.expect("agreed");
    assert_eq!(account.voucher.map(|signed| signed.voucher.cumulative), Some(units(1_000)), "nothing changed");
    bed.chain.top_up_from_outside(client.channel, units(1));
    bed.pass(super::super::LOOK_MS_MIN);
    client.pay((1 << 24) + 1).await.expect("topped up meanwhile");
    // Many at once: each counts or is stale, and the sum in the journal is the best one.
    let mut all = tokio::task::JoinSet::new();
    bed.chain.top_up_from_outside(client.channel, units(1 << 30));
    bed.pass(super::super::LOOK_MS_MIN);
    for cumulative in 0..40u128 {
        let (mut peer, pay) = (bed.connect(&serving), client.voucher((1 << 25) + cumulative * 7919 % 40));
        all.spawn(async move { ask(&mut peer, request::Kind::Pay(pay)).await });
    }
    all.join_all().await;
    let best = (1 << 25) + 39;
    assert_eq!(serving.accounts.list().expect("one")[0].sums.accrued, units(best));
    assert_eq!(serving.accounts.sums().expect("small").accrued, units(best));
    assert!(serving.accounts.is_conserved());
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_must_be_the_signers_over_exactly_these_roots_and_not_too_old() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let mut roots = Vec::new();
    for seed in 0..3 {
        roots.push(client.put(&seeded(seed, 9_000)).await.expect("paid").root);
    }
    roots.sort_unstable();
    let mut reversed = roots.clone();
    reversed.reverse();
    bed.pass(1_000_000);
    client.commit(bed.now()).await.expect("agreed");
    let now = bed.now();
    bed.pass(1_000);
    let good = client.release(&roots, bed.now());
    let tree = ReleaseTree::new(roots.iter().copied()).expect("three");
    let court = CONTRACTS.court_domain();
    let by = |channel: ChannelId, secret: u8| {
        let signed = tree.release(channel, bed.now().secs()).sign(&court, &wallet(secret));
        shard::Release { released_at_ms: bed.now().0, signature: b(signed.signature.as_bytes()) }
    };
    let cases = [
        ("none", roots.clone(), None),
        ("by the payer", roots.clone(), Some(by(client.channel, 3))),
        ("by somebody else", roots.clone(), Some(by(client.channel, 9))),
        ("for another channel", roots.clone(), Some(by(ChannelId([1; 32]), 4))),
        ("with a root missing", roots[..2].to_vec(), Some(good.clone())),
        ("with a root more", roots.clone(), Some(client.release(&roots[..2], bed.now()))),
        ("of another time", roots.clone(), Some(shard::Release { released_at_ms: bed.now().0 - 1_000, ..good.clone() })),
        ("not sorted", reversed, Some(good.clone())),
        ("one twice", vec![roots[0], roots[0]], Some(good.clone())),
        ("older than the commitment", roots.clone(), Some(client.release(&roots, UnixMs(now.0 - 1)))),
        ("from the future", roots.clone(), Some(client.release(&roots, UnixMs(bed.now().0 + 120_001)))),
        ("without a signature", roots.clone(), Some(shard::Release { signature: b(&[1; 64]), ..good.clone() })),
    ];
    for (what, roots, release) in cases {
        assert_eq!(client.delete(&roots, release).await, Err(RefusalCode::WrongRelease), "{what}");
    }
    assert_eq!(serving.server.store().status().shards, 3);
    assert_eq!(client.delete(&roots, Some(good.clone())).await, Ok(3));
    assert_eq!(client.delete(&roots, Some(good)).await, Ok(0), "again it adds nothing");
    let future = client.commit(UnixMs(bed.now().0 + 120_001)).await;
    assert_eq!(future.map(|_| ()), Err(RefusalCode::BadRequest), "a commitment for the future");
    let early = client.commit(UnixMs(5)).await.expect("as of the last change");
    assert_eq!(early.account.at, bed.now());
}
