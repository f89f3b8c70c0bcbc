//! Anvil only: reorganisations, dropped and replaced transactions, as a public chain has them (D9, D12).

use std::time::Duration;

use cairn_chain::CommandState;
use cairn_chain::ledger::ChainConfig;
use cairn_types::Address;
use serde_json::json;

use crate::world::{PATIENCE, World, crd, id, key, open, settle_done};

const PAYEE: Address = Address([0x77; 20]);

fn config(world: &World, confirmations: u64) -> ChainConfig {
    let mut config = world.config("ann", &key("ann"));
    (config.sender.confirmations, config.sender.resend_ms) = (confirmations, 50);
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reorganisations_are_rolled_back_and_commands_happen_once() {
    let Some(world) = World::anvil().await else { return };
    world.fund(key("ann").address()).await;
    let (chain, mut worker) = open(config(&world, 0)).await;
    chain.drip(id("drip"), chain.wallet()).await.unwrap();
    settle_done(&chain, &mut worker, id("drip")).await;
    for (count, depth) in (1..).zip([1u64, 2, 7, 33, 64]) {
        // The last block holds a payment; it and those before it are replaced by empty ones.
        world.ask("anvil_mine", json!([format!("{:#x}", 70)])).await;
        worker.round().await;
        let before = chain.notices(0, 1000).await.unwrap();
        let name = format!("pay/{depth}");
        chain.transfer(id(&name), PAYEE, crd(1)).await.unwrap();
        settle_done(&chain, &mut worker, id(&name)).await;
        worker.round().await; // told
        let told = chain.notices(0, 1000).await.unwrap();
        assert_eq!(told.len(), before.len() + 1, "depth {depth}: {:?}", chain.health());
        world.ask("anvil_mine", json!([format!("{:#x}", depth - 1)])).await;
        worker.round().await;
        world.ask("anvil_reorg", json!([depth, []])).await;
        worker.round().await;
        let after = chain.notices(0, 1000).await.unwrap();
        let back = &after[told.len()];
        assert!(!back.happened && back.event == told[told.len() - 1].event, "depth {depth}: {back:?}");
        // The wallet's own transaction was taken back too; it is sent again, the same.
        let paid = tokio::time::timeout(PATIENCE, async {
            while chain.credits(PAYEE).await.unwrap() < crd(count) {
                worker.round().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        paid.await.unwrap_or_else(|_| panic!("depth {depth}: {:?}", chain.health()));
        settle_done(&chain, &mut worker, id(&name)).await;
        worker.round().await;
        let again = chain.notices(0, 1000).await.unwrap();
        assert!(again.last().is_some_and(|notice| notice.happened && notice.event == back.event), "depth {depth}: {again:?}");
        assert_eq!(chain.credits(PAYEE).await.unwrap(), crd(count), "depth {depth}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reorganisation_takes_back_is_sent_again_before_it_is_deep() {
    let Some(world) = World::anvil().await else { return };
    world.fund(key("ann").address()).await;
    let (chain, mut worker) = open(config(&world, 3)).await;
    chain.drip(id("drip"), chain.wallet()).await.unwrap();
    worker.round().await;
    assert!(matches!(chain.command(id("drip")).await.unwrap(), Some(CommandState::Sent { .. })), "mined, not deep");
    world.ask("anvil_reorg", json!([1, []])).await;
    let ended = tokio::time::timeout(PATIENCE, async {
        while !chain.command(id("drip")).await.unwrap().unwrap().is_final() {
            tokio::time::sleep(Duration::from_millis(60)).await;
            worker.round().await;
            world.ask("anvil_mine", json!(["0x1"])).await;
        }
    });
    ended.await.unwrap_or_else(|_| panic!("{:?}", chain.health()));
    assert_eq!(chain.credits(chain.wallet()).await.unwrap(), crd(1000));
    worker.round().await;
    assert_eq!(chain.notices(0, 100).await.unwrap().len(), 1, "told once, when it was deep");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_or_underpaid_transaction_is_replaced() {
    let Some(world) = World::anvil().await else { return };
    world.fund(key("ann").address()).await;
    let (chain, mut worker) = open(config(&world, 0)).await;
    chain.drip(id("drip"), chain.wallet()).await.unwrap();
    settle_done(&chain, &mut worker, id("drip")).await;
    world.ask("evm_setAutomine", json!([false])).await;
    chain.transfer(id("pay"), PAYEE, crd(1)).await.unwrap();
    worker.round().await;
    let Some(CommandState::Sent { tx: first, nonce: 1 }) = chain.command(id("pay")).await.unwrap() else { panic!("not sent") };
    world.ask("anvil_dropTransaction", json!([format!("0x{}", hex::encode(first))])).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    worker.round().await;
    let Some(CommandState::Sent { tx: second, nonce: 1 }) = chain.command(id("pay")).await.unwrap() else { panic!("lost") };
    assert_ne!(first, second, "with higher fees");
    // Both attempts come back; one nonce, one payment.
    world.ask("evm_mine", json!([])).await;
    world.ask("evm_setAutomine", json!([true])).await;
    settle_done(&chain, &mut worker, id("pay")).await;
    assert_eq!(chain.credits(PAYEE).await.unwrap(), crd(1));
}
