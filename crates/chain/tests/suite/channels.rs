//! Channels from the first deposit to the last remainder.

use cairn_chain::LedgerEvent;
use cairn_chain::bindings::Channels::ChannelsEvents;
use cairn_chain::ledger::ChannelState;
use cairn_market::voucher::{Close, Mandate, SignedVoucher, Voucher};
use cairn_types::{Amount, ChannelId, Domain, UnixSecs, WalletKey};

use crate::world::{Wallet, World, crd, id, key};

const GRACE_S: u64 = 24 * 3600;

crate::on_both!(a_channel_pays_what_its_vouchers_say, a_channel_closes_with_consent, many_vouchers_and_mandates);

fn domain(wallet: &Wallet) -> Domain {
    Domain::channels(wallet.chain.chain_id(), wallet.chain.contracts().channels)
}

fn voucher(wallet: &Wallet, channel: ChannelId, cumulative: Amount, signer: &WalletKey) -> SignedVoucher {
    Voucher { channel, cumulative }.sign(&domain(wallet), signer)
}

async fn a_channel_pays_what_its_vouchers_say(world: World) {
    let (client, provider, session) = (world.wallet("client").await, world.wallet("provider").await, key("session"));
    client.drip().await;
    let parties = (provider.address(), session.address(), [1; 32]);
    let (channel, _) = client.chain.open_channel(id("open"), parties, crd(100)).await.unwrap();
    client.done(id("open")).await;
    let record = client.chain.channel(channel).await.unwrap().unwrap();
    assert_eq!((record.payer, record.payee, record.signer), (client.address(), provider.address(), session.address()));
    assert_eq!((record.deposit, record.settled, record.state), (crd(100), Amount::ZERO, ChannelState::Open));

    client.chain.top_up(id("top-up"), channel, crd(50)).await.unwrap();
    client.done(id("top-up")).await;
    let first = voucher(&client, channel, crd(40), &session);
    provider.chain.redeem(id("redeem/40"), &first).await.unwrap();
    provider.done(id("redeem/40")).await;
    assert_eq!(provider.credits().await, crd(40));
    // The same voucher under another name: it is seen to be settled, and no transaction is sent.
    provider.chain.redeem(id("redeem/40 again"), &first).await.unwrap();
    let state = provider.end(id("redeem/40 again")).await;
    assert_eq!(state, cairn_chain::CommandState::Done { tx: None, block_number: 0 });
    provider.chain.redeem(id("forged"), &voucher(&client, channel, crd(90), &key("stranger"))).await.unwrap();
    provider.refused(id("forged"), "BadSignature").await;
    // More than the deposit is good for the deposit.
    provider.chain.redeem(id("redeem/1000"), &voucher(&client, channel, crd(1000), &session)).await.unwrap();
    provider.done(id("redeem/1000")).await;
    assert_eq!(provider.credits().await, crd(150));

    client.chain.request_close(id("close"), channel).await.unwrap();
    client.done(id("close")).await;
    client.chain.withdraw(id("early"), channel).await.unwrap();
    client.refused(id("early"), "TooEarly").await;
    world.pass(GRACE_S).await;
    client.chain.withdraw(id("withdraw"), channel).await.unwrap();
    client.done(id("withdraw")).await;
    let record = client.chain.channel(channel).await.unwrap().unwrap();
    assert_eq!((record.state, client.credits().await), (ChannelState::Closed, crd(850)));
    assert_eq!(client.chain.channel(ChannelId([9; 32])).await.unwrap(), None);

    let told = provider
        .events(|events| events.iter().any(|event| matches!(event, LedgerEvent::Channels(ChannelsEvents::Closed(_)))))
        .await;
    let names: Vec<_> =
        told.iter().filter_map(|event| if let LedgerEvent::Channels(event) = event { Some(event) } else { None }).collect();
    assert!(
        matches!(
            names.as_slice(),
            [
                ChannelsEvents::Opened(_),
                ChannelsEvents::ToppedUp(_),
                ChannelsEvents::Redeemed(_),
                ChannelsEvents::Redeemed(_),
                ChannelsEvents::CloseRequested(_),
                ChannelsEvents::Closed(_)
            ]
        ),
        "{names:?}"
    );
}

async fn a_channel_closes_with_consent(world: World) {
    let (client, provider) = (world.wallet("client").await, world.wallet("provider").await);
    client.drip().await;
    let parties = |salt| (provider.address(), key("session").address(), [salt; 32]);
    let (first, _) = client.chain.open_channel(id("open/1"), parties(1), crd(10)).await.unwrap();
    let (second, _) = client.chain.open_channel(id("open/2"), parties(2), crd(10)).await.unwrap();
    client.done(id("open/1")).await;
    client.done(id("open/2")).await; // its permit is signed after the first was mined, so its nonce fits
    let last = voucher(&client, first, crd(4), &client.key);
    let consent = Close { channel: first, cumulative: crd(4) }.sign(&domain(&client), &provider.key);
    client.chain.close_cooperative(id("close/1"), first, Some(&last), &consent).await.unwrap();
    client.done(id("close/1")).await;
    client.chain.request_close(id("close/2"), second).await.unwrap();
    client.done(id("close/2")).await;
    client.chain.cancel_close(id("cancel/2"), second).await.unwrap();
    client.done(id("cancel/2")).await;
    provider.chain.close_by_payee(id("refuse/2"), second, None).await.unwrap();
    provider.done(id("refuse/2")).await;
    assert_eq!((client.credits().await, provider.credits().await), (crd(996), crd(4)));
}

async fn many_vouchers_and_mandates(world: World) {
    let (client, provider, session, auditor) =
        (world.wallet("client").await, world.wallet("provider").await, key("session"), key("auditor"));
    client.drip().await;
    let mut channels = Vec::new();
    for salt in 0..3u8 {
        let name = format!("open/{salt}");
        let (channel, _) =
            client.chain.open_channel(id(&name), (provider.address(), session.address(), [salt; 32]), crd(10)).await.unwrap();
        client.done(id(&name)).await;
        channels.push(channel);
    }
    let mut vouchers: Vec<_> = channels.iter().map(|channel| voucher(&client, *channel, crd(3), &session)).collect();
    vouchers[1] = voucher(&client, channels[1], crd(3), &key("stranger"));
    provider.chain.redeem_many(id("many"), &vouchers).await.unwrap();
    provider.done(id("many")).await;
    assert_eq!(provider.credits().await, crd(6), "the bad one is passed over");
    let valid_until = UnixSecs(client.chain.block_time().await.unwrap().0 + 1000);
    let mandate = Mandate { channel: channels[1], delegate: auditor.address(), cumulative_max: crd(5), valid_until };
    let mandate = mandate.sign(&domain(&client), &session);
    let delegated = |credits| voucher(&client, channels[1], crd(credits), &auditor);
    provider.chain.redeem_mandated(id("6"), &delegated(6), &mandate).await.unwrap();
    provider.refused(id("6"), "MandateExceeded").await;
    provider.chain.redeem_mandated(id("5"), &delegated(5), &mandate).await.unwrap();
    provider.done(id("5")).await;
    assert_eq!(provider.credits().await, crd(11));
}
