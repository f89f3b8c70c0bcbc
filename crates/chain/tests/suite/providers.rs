//! Providers from registration to their last stake.

use cairn_chain::ledger::Registration;
use cairn_types::{Amount, UnixSecs};

use crate::world::{World, crd, id, key};

const UNBONDING_S: u64 = 14 * 24 * 3600;

crate::on_both!(a_provider_registers_and_leaves);

async fn a_provider_registers_and_leaves(world: World) {
    let owner = world.wallet("owner").await;
    assert_eq!(owner.chain.provider(owner.address()).await.unwrap(), None);
    owner.drip().await;
    let signer = key("signer").address();
    let registration =
        Registration { node_key: [7; 32], signer, offer_hash: [8; 32], collateral: crd(100), node_signature: [9; 64] };
    owner.chain.register(id("register"), registration).await.unwrap();
    owner.done(id("register")).await;
    owner.chain.add_collateral(id("more"), crd(20)).await.unwrap();
    owner.done(id("more")).await;
    owner.chain.set_offer(id("offer"), [5; 32]).await.unwrap();
    owner.done(id("offer")).await;
    let record = owner.chain.provider(owner.address()).await.unwrap().unwrap();
    assert_eq!((record.node_key, record.signer, record.offer_hash), ([7; 32], signer, [5; 32]));
    assert_eq!((record.collateral, record.unbonding, owner.credits().await), (crd(120), Amount::ZERO, crd(880)));
    let now = owner.chain.block_time().await.unwrap();
    assert!(owner.chain.signer_valid(owner.address(), signer, now).await.unwrap());
    assert!(!owner.chain.signer_valid(owner.address(), signer, UnixSecs(record.registered_at.0 - 1)).await.unwrap());

    owner.chain.begin_unbond(id("unbond"), crd(120)).await.unwrap();
    owner.done(id("unbond")).await;
    owner.chain.finish_unbond(id("early")).await.unwrap();
    owner.refused(id("early"), "TooEarly").await;
    world.pass(UNBONDING_S).await;
    owner.chain.finish_unbond(id("finish")).await.unwrap();
    owner.done(id("finish")).await;
    assert_eq!(owner.credits().await, crd(1000));
}
