//! A node that lies, is stale, refuses, hangs, is another chain, or has dear gas: a typed reason, read-only, nothing lost (D10, D11).

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_chain::endpoint::ANSWER_LEN_MAX;
use cairn_chain::follower::FollowError;
use cairn_chain::ledger::{ChainConfig, Health};
use cairn_chain::sender::{Pause, SendError, SenderConfig};
use cairn_chain::{CommandState, EndpointConfig, EndpointError};
use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy};
use crate::world::{Wallet, World, crd, id, key, open, settle_done};

crate::on_both!(
    a_bad_node_has_a_typed_reason_and_loses_nothing,
    another_chain_is_never_served,
    a_stale_node_takes_nothing_back,
    dear_gas_and_an_empty_wallet_stop_the_sender
);

fn through(world: &World, proxy: &Proxy, name: &str) -> ChainConfig {
    let config = world.config(name, &key(name));
    let endpoint = EndpointConfig {
        try_time: Duration::from_millis(300),
        tries_max: 2,
        pause: Duration::from_millis(5),
        failures_max: 1000,
        ..EndpointConfig::new(proxy.url.clone(), world.endpoint.chain_id())
    };
    ChainConfig { endpoint, ..config }
}

fn troubles(health: &Health) -> (Option<EndpointError>, Option<EndpointError>) {
    let follow = health.follow_trouble.clone().map(|trouble| match trouble {
        FollowError::Endpoint(error) => error,
        other => panic!("{other}"),
    });
    let send = health.send_trouble.clone().map(|trouble| match trouble {
        SendError::Endpoint(error) => error,
        other => panic!("{other}"),
    });
    (follow, send)
}

async fn a_bad_node_has_a_typed_reason_and_loses_nothing(world: World) {
    world.fund(key("ann").address()).await;
    let proxy = Proxy::to(&world.url).await;
    let (chain, mut worker) = open(through(&world, &proxy, "ann")).await;
    chain.drip(id("drip"), chain.wallet()).await.unwrap();
    type Expected = fn(&EndpointError) -> bool;
    let cases: [(&str, Fault, Expected); 7] = [
        ("hang", Fault::Hang, |error| matches!(error, EndpointError::Timeout(_))),
        ("429", Fault::Status(429), |error| matches!(error, EndpointError::RateLimited(_))),
        ("503", Fault::Status(503), |error| *error == EndpointError::Status(503)),
        ("garbage", Fault::Garbage, |error| matches!(error, EndpointError::Wrong { .. })),
        (
            "endless",
            Fault::Endless,
            |error| matches!(error, EndpointError::Wrong { reason, .. } if reason.contains(&ANSWER_LEN_MAX.to_string())),
        ),
        ("cut", Fault::CutBefore, |error| matches!(error, EndpointError::Unreachable { .. })),
        ("another shape", Fault::Say(json!({"number": []})), |error| matches!(error, EndpointError::Wrong { .. })),
    ];
    for (name, fault, expected) in cases {
        proxy.fault("eth_", fault);
        let begun = Instant::now();
        worker.round().await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}: a round ends");
        let health = chain.health();
        let (follow, send) = troubles(&health);
        assert!(
            health.read_only() && follow.is_some_and(|error| expected(&error)) && send.is_some_and(|error| expected(&error)),
            "{name}: {health:?}"
        );
        assert_eq!(chain.command(id("drip")).await.unwrap(), Some(CommandState::Planned), "{name}");
        proxy.behave();
    }
    // Lies that do not fit together: a block of another number, a receipt of another transaction.
    let other = |field: &'static str, value: Value| {
        Fault::Change(Arc::new(move |mut answer: Value| {
            if answer.get(field).is_some() {
                answer[field] = value.clone();
            }
            answer
        }))
    };
    proxy.fault("eth_getBlockByNumber", other("number", json!("0x7777")));
    worker.round().await;
    assert!(matches!(troubles(&chain.health()).0, Some(EndpointError::Wrong { .. })), "{:?}", chain.health());
    proxy.behave();
    settle_done(&chain, &mut worker, id("drip")).await;
    assert!(!chain.health().read_only(), "{:?}", chain.health());
    assert_eq!(chain.credits(chain.wallet()).await.unwrap(), crd(1000));
}

async fn another_chain_is_never_served(world: World) {
    world.fund(key("ann").address()).await;
    let proxy = Proxy::to(&world.url).await;
    let (chain, mut worker) = open(through(&world, &proxy, "ann")).await;
    worker.round().await;
    assert!(!chain.health().read_only());
    chain.drip(id("drip"), chain.wallet()).await.unwrap();
    proxy.fault("eth_chainId", Fault::Say(json!("0x1")));
    worker.round().await;
    let expected = EndpointError::OtherChain { expected: world.endpoint.chain_id(), found: 1 };
    assert_eq!(troubles(&chain.health()), (Some(expected.clone()), Some(expected)));
    // The right id, another beginning: a chain made anew.
    proxy.behave();
    let anew = Fault::Change(Arc::new(|mut block: Value| {
        block["hash"] = json!(format!("0x{}", "11".repeat(32)));
        block
    }));
    proxy.fault("eth_getBlockByNumber", anew);
    worker.round().await;
    let (follow, send) = troubles(&chain.health());
    assert!(
        matches!((&follow, &send), (Some(EndpointError::OtherGenesis { .. }), Some(EndpointError::OtherGenesis { .. }))),
        "{follow:?} {send:?}"
    );
    assert_eq!(proxy.asked("eth_sendRawTransaction"), 0);
}

async fn a_stale_node_takes_nothing_back(world: World) {
    world.fund(key("ann").address()).await;
    let proxy = Proxy::to(&world.url).await;
    let wallet = Wallet::open(through(&world, &proxy, "ann"), key("ann")).await;
    wallet.drip().await;
    wallet.events(|events| events.len() == 1).await;
    wallet.close().await;
    let (chain, mut worker) = open(through(&world, &proxy, "ann")).await;
    let told = chain.notices(0, 100).await.unwrap();
    proxy.fault("eth_blockNumber", Fault::Say(json!("0x1")));
    // Everything after block 1 is not there yet.
    let young = |block: &Value| block["number"].as_str().is_some_and(|number| number.len() == 3 && number <= "0x1");
    proxy.fault("eth_getBlockByNumber", Fault::Change(Arc::new(move |block| if young(&block) { block } else { Value::Null })));
    worker.round().await;
    let health = chain.health();
    assert!(health.behind.is_some() && health.read_only(), "{health:?}");
    assert_eq!(health.pause, Some(Pause::WentBack { known: 1, found: 0 }));
    assert_eq!(chain.notices(0, 100).await.unwrap(), told);
    proxy.behave();
    worker.round().await;
    assert!(!chain.health().read_only(), "{:?}", chain.health());
}

async fn dear_gas_and_an_empty_wallet_stop_the_sender(world: World) {
    world.fund(key("ann").address()).await;
    let proxy = Proxy::to(&world.url).await;
    let (chain, mut worker) = open(through(&world, &proxy, "ann")).await;
    chain.drip(id("drip"), chain.wallet()).await.unwrap();
    let dear = Fault::Change(Arc::new(|mut block: Value| {
        if block.get("baseFeePerGas").is_some() {
            block["baseFeePerGas"] = json!("0xe8d4a51000"); // a thousand gwei
        }
        block
    }));
    proxy.fault("eth_getBlockByNumber", dear);
    worker.round().await;
    let fee_max = SenderConfig::default().fee_max;
    assert!(
        matches!(chain.health().pause, Some(Pause::FeeTooHigh { fee, fee_max: cap }) if fee >= 1_000_000_000_000 && cap == fee_max),
        "{:?}",
        chain.health()
    );
    proxy.behave();
    proxy.fault("eth_getBalance", Fault::Say(json!("0x7")));
    drop((chain, worker));
    let mut config = through(&world, &proxy, "ann");
    config.sender.balance_min = 1000;
    let (chain, mut worker) = open(config).await;
    worker.round().await;
    assert!(
        matches!(chain.health().pause, Some(Pause::LowBalance { balance: 7, needed }) if needed >= 1000),
        "{:?}",
        chain.health()
    );
    assert_eq!(proxy.asked("eth_sendRawTransaction"), 0, "nothing was signed");
    proxy.behave();
    settle_done(&chain, &mut worker, id("drip")).await;
}
