//! Credits: the faucet, transfers, and what is told of them.

use cairn_chain::{CommandState, Contracts, LedgerEvent};
use cairn_types::{Address, Amount};
use serde_json::json;

use crate::world::{World, crd, id};

crate::on_both!(contracts_are_at_their_addresses, credits_move_once_and_are_told, a_refused_command_says_why);

async fn contracts_are_at_their_addresses(world: World) {
    let at = Contracts::at_genesis();
    for (name, address) in [
        ("token", at.token),
        ("faucet", at.faucet.unwrap()),
        ("channels", at.channels),
        ("providers", at.providers),
        ("court", at.court),
    ] {
        let code = world.ask("eth_getCode", json!([address.to_string(), "latest"])).await;
        assert!(code.as_str().unwrap().len() > 1000, "{name}: {code}");
    }
}

async fn credits_move_once_and_are_told(world: World) {
    let (ann, bob) = (world.wallet("ann").await, world.wallet("bob").await);
    ann.drip().await;
    assert_eq!(ann.credits().await, crd(1000));
    for _ in 0..3 {
        ann.chain.transfer(id("rent"), bob.address(), crd(30)).await.unwrap();
    }
    ann.done(id("rent")).await;
    ann.chain.transfer(id("rent"), bob.address(), crd(30)).await.unwrap();
    assert_eq!((ann.credits().await, bob.credits().await), (crd(970), crd(30)));
    let told = bob.events(|events| !events.is_empty()).await;
    let expected = LedgerEvent::Credits { from: ann.address(), to: bob.address(), amount: crd(30) };
    assert_eq!(told, [expected], "only what touches the wallet");
    let told = ann.events(|events| events.len() >= 2).await;
    let minted = LedgerEvent::Credits { from: Address::ZERO, to: ann.address(), amount: crd(1000) };
    assert_eq!((told.len(), &told[0]), (2, &minted));
    assert!(!ann.chain.health().read_only(), "{:?}", ann.chain.health());
    // A reader that has heard goes on after it; what every reader has heard can go.
    let first = ann.chain.notices(0, 1).await.unwrap();
    assert_eq!(ann.chain.notices(first[0].seq, 10).await.unwrap().len(), 1);
    ann.chain.forget_notices(first[0].seq).await.unwrap();
    assert_eq!(ann.chain.notices(0, 10).await.unwrap().len(), 1);
    assert!(ann.chain.notices(1000, 10).await.is_err(), "a reader that knows more than the ledger");
}

async fn a_refused_command_says_why(world: World) {
    let ann = world.wallet("ann").await;
    ann.chain.transfer(id("rent"), Address([9; 20]), Amount::from_base_units(1)).await.unwrap();
    ann.refused(id("rent"), "ERC20InsufficientBalance").await;
    assert_eq!(ann.chain.command(id("other")).await.unwrap(), None);
    // The same name again, now that there are credits.
    ann.drip().await;
    let state = ann.chain.transfer(id("rent"), Address([9; 20]), Amount::from_base_units(1)).await.unwrap();
    assert_eq!(state, CommandState::Planned);
    ann.done(id("rent")).await;
    ann.chain.drip(id("again"), ann.address()).await.unwrap();
    ann.refused(id("again"), "TooSoon").await;
}
