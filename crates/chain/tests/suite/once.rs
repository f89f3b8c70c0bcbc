//! Exactly once: crashes between any two steps, a database that is lost or put back, transactions by somebody else (D12, D15).

use std::path::Path;
use std::time::Duration;

use cairn_chain::ledger::ChainConfig;
use cairn_chain::{CommandState, EndpointConfig};
use cairn_types::Address;
use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy};
use crate::world::{Wallet, World, crd, id, key, open, settle_done};

const PAYEE: Address = Address([0x77; 20]);

crate::on_both!(
    a_crash_around_the_broadcast_sends_once,
    a_lost_database_sends_nothing_twice,
    a_database_put_back_refuses_until_it_has_caught_up,
    somebody_elses_transaction_in_between
);

fn config(world: &World, url: &str) -> ChainConfig {
    let endpoint = EndpointConfig {
        try_time: Duration::from_millis(500),
        tries_max: 1,
        failures_max: 1000,
        ..EndpointConfig::new(url, world.endpoint.chain_id())
    };
    let mut config = ChainConfig { endpoint, ..world.config("ann", &key("ann")) };
    config.sender.resend_ms = 100;
    config
}

async fn wallet_with_credits(world: &World) {
    world.fund(key("ann").address()).await;
    let wallet = Wallet::open(config(world, &world.url), key("ann")).await;
    wallet.drip().await;
    wallet.close().await;
}

async fn paid(world: &World) -> u64 {
    let wallet = Wallet::open(world.config("reader", &key("reader")), key("reader")).await;
    let credits = wallet.chain.credits(PAYEE).await.unwrap();
    wallet.close().await;
    (credits.base_units() / crd(1).base_units()) as u64
}

async fn nonce(world: &World) -> Value {
    world.ask("eth_getTransactionCount", json!([key("ann").address().to_string(), "latest"])).await
}

async fn a_crash_around_the_broadcast_sends_once(world: World) {
    wallet_with_credits(&world).await;
    let proxy = Proxy::to(&world.url).await;
    let faults = [
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Hang,
        Fault::Status(503),
        Fault::Garbage,
        Fault::Say(json!(format!("0x{}", "11".repeat(32)))),
    ];
    for (count, fault) in (1u64..).zip(faults) {
        let (name, amount) = (format!("pay/{count}"), crd(1));
        {
            let (chain, mut worker) = open(config(&world, &proxy.url)).await;
            chain.transfer(id(&name), PAYEE, amount).await.unwrap();
            proxy.fault("eth_sendRawTransaction", fault);
            worker.round().await;
            // Here the process dies: signed and on disk, perhaps sent, perhaps mined, and nobody noted it.
        }
        proxy.behave();
        let (chain, mut worker) = open(config(&world, &proxy.url)).await;
        chain.transfer(id(&name), PAYEE, amount).await.unwrap();
        settle_done(&chain, &mut worker, id(&name)).await;
        assert_eq!((paid(&world).await, nonce(&world).await), (count, json!(format!("{:#x}", count + 1))), "{name}");
    }
}

async fn a_lost_database_sends_nothing_twice(world: World) {
    wallet_with_credits(&world).await;
    let wallet = Wallet::open(config(&world, &world.url), key("ann")).await;
    for name in ["one", "two", "three"] {
        wallet.chain.transfer(id(name), PAYEE, crd(1)).await.unwrap();
        wallet.done(id(name)).await;
    }
    wallet.close().await;
    std::fs::remove_dir_all(world.dir.path().join("ann")).unwrap();
    let wallet = Wallet::open(config(&world, &world.url), key("ann")).await;
    for name in ["two", "four", "one"] {
        wallet.chain.transfer(id(name), PAYEE, crd(1)).await.unwrap();
        wallet.done(id(name)).await;
    }
    assert_eq!(paid(&world).await, 4);
    assert!(
        matches!(wallet.chain.command(id("three")).await.unwrap(), Some(CommandState::Done { tx: Some(_), .. })),
        "the chain knows it"
    );
    wallet.close().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

async fn a_database_put_back_refuses_until_it_has_caught_up(world: World) {
    wallet_with_credits(&world).await;
    let (now, yesterday) = (world.dir.path().join("ann"), world.dir.path().join("yesterday"));
    let (chain, worker) = open(config(&world, &world.url)).await;
    chain.transfer(id("planned"), PAYEE, crd(1)).await.unwrap();
    drop((chain, worker));
    copy(&now, &yesterday);
    let wallet = Wallet::open(config(&world, &world.url), key("ann")).await;
    wallet.done(id("planned")).await;
    wallet.chain.transfer(id("later"), PAYEE, crd(1)).await.unwrap();
    wallet.done(id("later")).await;
    wallet.close().await;
    assert_eq!(paid(&world).await, 2);

    std::fs::remove_dir_all(&now).unwrap();
    copy(&yesterday, &now);
    let proxy = Proxy::to(&world.url).await;
    let (chain, mut worker) = open(config(&world, &proxy.url)).await;
    assert_eq!(chain.command(id("planned")).await.unwrap(), Some(CommandState::Planned), "as yesterday");
    chain.transfer(id("new"), PAYEE, crd(1)).await.unwrap();
    proxy.fault("eth_getTransactionReceipt", Fault::Status(503)); // what happened since cannot be found out
    worker.round().await;
    assert!(chain.health().read_only());
    assert_eq!(proxy.asked("eth_sendRawTransaction"), 0, "nothing is spent before it has caught up");
    proxy.behave();
    for name in ["planned", "new"] {
        settle_done(&chain, &mut worker, id(name)).await;
    }
    chain.transfer(id("later"), PAYEE, crd(1)).await.unwrap();
    settle_done(&chain, &mut worker, id("later")).await;
    assert_eq!(paid(&world).await, 3, "planned, later, new; each once");
}

async fn somebody_elses_transaction_in_between(world: World) {
    wallet_with_credits(&world).await;
    let proxy = Proxy::to(&world.url).await;
    let (chain, mut worker) = open(config(&world, &proxy.url)).await;
    chain.transfer(id("ours"), PAYEE, crd(1)).await.unwrap();
    proxy.fault("eth_sendRawTransaction", Fault::Say(json!(format!("0x{}", "11".repeat(32))))); // taken and dropped
    worker.round().await;
    assert!(matches!(chain.command(id("ours")).await.unwrap(), Some(CommandState::Sent { nonce: 1, .. })));
    // The same wallet in another program uses the nonce.
    let raw = crate::rpc::transfer_raw(&key("ann"), 1, PAYEE, 5, 10_000_000_000);
    let theirs = world.ask("eth_sendRawTransaction", json!([raw])).await;
    world.receipt(&theirs).await;
    proxy.behave();
    settle_done(&chain, &mut worker, id("ours")).await;
    assert_eq!((paid(&world).await, nonce(&world).await), (1, json!("0x3")));
}
