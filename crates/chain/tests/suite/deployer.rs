//! Contracts that are put on a chain anew, with and without a faucet, and chains that are not what they should be.

use cairn_chain::{ChainConfig, Deployed, DeployedError, Deployer, DeployerError, EndpointError};
use cairn_types::Address;

use crate::world::{Wallet, World, crd, key};

crate::on_both!(contracts_are_deployed_anew_and_work, what_is_not_ours_is_refused);

async fn contracts_are_deployed_anew_and_work(world: World) {
    let deploying = key("deployer");
    world.fund(deploying.address()).await;
    let deployer = Deployer::open(&world.url, deploying).await.unwrap();
    let with_faucet = deployer.deploy(true, 0).await.unwrap();
    let without = deployer.deploy(false, 3).await.unwrap();
    assert_ne!(with_faucet.contracts, without.contracts);
    assert_eq!((without.contracts.faucet, without.confirmations, without.chain_id), (None, 3, deployer.chain_id()));
    assert!(without.first_block > with_faucet.first_block && with_faucet.first_block > 0);
    for deployed in [with_faucet, without, Deployed::at_genesis()] {
        deployer.verify(&deployed).await.unwrap();
    }

    // Where nobody gives credits away, whoever deployed makes them; whoever has some sends them.
    let (made, sent) = (key("made"), key("sent"));
    deployer.give_credits(&without.contracts, made.address(), crd(5)).await.unwrap();
    assert_eq!(deployer.credits(&without.contracts, made.address()).await, Ok(crd(5)));
    world.fund(made.address()).await;
    let other = Deployer::open(&world.url, made.clone()).await.unwrap();
    other.give_credits(&without.contracts, sent.address(), crd(2)).await.unwrap();
    assert_eq!(other.credits(&without.contracts, made.address()).await, Ok(crd(3)));
    assert!(matches!(
        other.give_credits(&without.contracts, sent.address(), crd(4)).await,
        Err(DeployerError::Endpoint(EndpointError::Refused { .. }))
    ));
    let before = deployer.coin(sent.address()).await.unwrap();
    deployer.give_coin(sent.address(), 7).await.unwrap();
    assert_eq!(deployer.coin(sent.address()).await, Ok(before + 7));

    // A wallet works with them as with those of genesis.
    let wallet_key = key("wallet of the new");
    world.fund(wallet_key.address()).await;
    let config = ChainConfig {
        poll: std::time::Duration::from_millis(50),
        ..ChainConfig::deployed(world.url.clone(), &with_faucet, wallet_key.clone(), world.dir.path().join("anew"))
    };
    let wallet = Wallet::open(config, wallet_key).await;
    wallet.chain.verify().await.unwrap();
    wallet.drip().await;
    assert_eq!(wallet.credits().await, crd(1000));
    wallet.close().await;
}

async fn what_is_not_ours_is_refused(world: World) {
    let deploying = key("deployer");
    world.fund(deploying.address()).await;
    let deployer = Deployer::open(&world.url, deploying).await.unwrap();
    let good = Deployed::at_genesis();
    let with = |change: fn(&mut cairn_chain::Contracts)| {
        let mut deployed = good;
        change(&mut deployed.contracts);
        deployed
    };
    for (wrong, name) in [
        (with(|at| at.court = Address([9; 20])), "there is no Court"),
        (with(|at| at.faucet = Some(at.token)), "is not the CreditToken"),
        (with(|at| std::mem::swap(&mut at.channels, &mut at.providers)), "is not the Channels"),
        (with(|at| at.token = at.channels), "is not the CreditToken"),
    ] {
        let error = deployer.verify(&wrong).await.unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
        let DeployerError::Deployed(error) = error else { panic!("{error}") };
        assert!(!error.is_passing(), "{error}");
    }
    deployer.verify(&with(|at| at.faucet = None)).await.unwrap(); // nobody has to use a faucet
    let other = Deployed::new(1, 0, 0, good.contracts);
    assert!(matches!(deployer.verify(&other).await, Err(DeployerError::Endpoint(EndpointError::OtherChain { expected: 1, .. }))));
    let away = DeployedError::Endpoint(EndpointError::Timeout("somewhere".into()));
    assert!(away.is_passing());
}
