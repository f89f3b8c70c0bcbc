//! The court: a provider that is silent loses stake, one that answers gets the bond.

use cairn_chain::LedgerEvent;
use cairn_chain::bindings::Court::{CourtEvents, respondCall};
use cairn_chain::bindings::{Commitment, Counts, Entry};
use cairn_chain::ledger::{DisputeState, Registration};
use cairn_types::eip712::{self, keccak256, word_u64, word_u128};
use cairn_types::{ChannelId, Domain, EvmSignature, WalletKey};
use sha2::{Digest, Sha256};

use crate::world::{Wallet, World, crd, id, key};

const JOIN_S: u64 = 6 * 3600;
const COOLDOWN_S: u64 = 24 * 3600;
const COMMITMENT_TYPE: &str =
    "Commitment(bytes32 channelId,bytes32 inventoryRoot,uint64 leafCount,uint64 issuedAt,uint64 validUntil,uint128 atRisk)";
const LEAF: &[u8] = b"one leaf";

crate::on_both!(silence_is_slashed_and_an_answer_is_not);

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

/// An inventory of one shard of one leaf: root of the inventory, root of the shard.
fn inventory() -> ([u8; 32], [u8; 32]) {
    let shard = cairn_types::merkle::shard_root(LEAF).0;
    let (one, len) = (1u64.to_be_bytes(), (LEAF.len() as u64).to_be_bytes());
    let entry = hash(&[&[0x10], &shard, &one, &len]);
    (hash(&[&[0x12], &one, &one, &len, &entry]), shard)
}

async fn committed(client: &Wallet, channel: ChannelId, signer: &WalletKey) -> (Commitment, EvmSignature) {
    let (root, _) = inventory();
    let issued = client.chain.block_time().await.unwrap().0;
    let commitment = Commitment {
        channelId: channel.0.into(),
        inventoryRoot: root.into(),
        leafCount: 1,
        issuedAt: issued,
        validUntil: issued + 72 * 3600,
        atRisk: crd(40).base_units(),
    };
    let words = [channel.0, root, word_u64(1), word_u64(issued), word_u64(issued + 72 * 3600), word_u128(crd(40).base_units())];
    let domain = Domain::court(client.chain.chain_id(), client.chain.contracts().court);
    let signature = signer.sign_digest(&eip712::digest(&domain, &keccak256(COMMITMENT_TYPE), &words));
    (commitment, signature)
}

async fn silence_is_slashed_and_an_answer_is_not(world: World) {
    let (client, provider, signer) = (world.wallet("client").await, world.wallet("provider").await, key("signer"));
    client.drip().await;
    provider.drip().await;
    let registration = Registration {
        node_key: [7; 32],
        signer: signer.address(),
        offer_hash: [8; 32],
        collateral: crd(100),
        node_signature: [9; 64],
    };
    provider.chain.register(id("register"), registration).await.unwrap();
    provider.done(id("register")).await;
    let (channel, _) =
        client.chain.open_channel(id("open"), (provider.address(), client.address(), [1; 32]), crd(20)).await.unwrap();
    client.done(id("open")).await;

    // First dispute: the provider joins, the client reveals, every draw is answered.
    let secret = [3; 32];
    let secret_hash = eip712::hash_words(&[secret, channel.0]);
    let (commitment, signature) = committed(&client, channel, &signer).await;
    client.chain.challenge(id("challenge/0"), commitment, &signature, secret_hash).await.unwrap();
    client.done(id("challenge/0")).await;
    let dispute = eip712::hash_words(&[channel.0, word_u64(0)]);
    let record = client.chain.dispute(dispute).await.unwrap().unwrap();
    assert_eq!((record.state, record.locked, record.challenger), (DisputeState::Challenged, crd(40), client.address()));
    provider.chain.join(id("join/0"), dispute, [4; 32]).await.unwrap();
    provider.done(id("join/0")).await;
    client.chain.reveal(id("reveal/0"), dispute, secret).await.unwrap();
    client.done(id("reveal/0")).await;
    let (_, shard) = inventory();
    for draw in 0..5u8 {
        assert_eq!(provider.chain.drawn(dispute, draw).await.unwrap(), 0);
        let answer = respondCall {
            id: dispute.into(),
            i: draw,
            entry: Entry { shardRoot: shard.into(), leafCount: 1, byteLen: LEAF.len() as u64 },
            path: vec![],
            counts: Counts { entryCount: 1, byteSum: LEAF.len() as u64 },
            leaf: LEAF.into(),
            shardPath: vec![],
        };
        let name = format!("respond/{draw}");
        provider.chain.respond(id(&name), answer).await.unwrap();
        provider.done(id(&name)).await;
    }
    assert_eq!(client.chain.dispute(dispute).await.unwrap().unwrap().state, DisputeState::Dismissed);
    assert_eq!(provider.credits().await, crd(910), "the bond is the provider's");

    // Second dispute: silence.
    world.pass(COOLDOWN_S).await;
    let (commitment, signature) = committed(&client, channel, &signer).await;
    client.chain.challenge(id("challenge/1"), commitment, &signature, secret_hash).await.unwrap();
    client.done(id("challenge/1")).await;
    let dispute = eip712::hash_words(&[channel.0, word_u64(1)]);
    client.chain.timeout(id("early"), dispute).await.unwrap();
    client.refused(id("early"), "TooEarly").await;
    world.pass(JOIN_S).await;
    client.chain.timeout(id("timeout"), dispute).await.unwrap();
    client.done(id("timeout")).await;
    assert_eq!(client.chain.dispute(dispute).await.unwrap().unwrap().state, DisputeState::Upheld);
    assert_eq!(provider.chain.provider(provider.address()).await.unwrap().unwrap().collateral, crd(60));
    let upheld = |event: &LedgerEvent| matches!(event, LedgerEvent::Court(CourtEvents::Upheld(_)));
    provider.events(|events| events.iter().any(upheld)).await;
}
