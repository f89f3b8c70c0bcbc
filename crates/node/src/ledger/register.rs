//! Registration of a provider: its wallet's collateral, bound to the node's key and the machine's signer.
//!
//! Never: collateral taken out; that is the operator's word. Limits: one transaction for each thing that differs.

use anyhow::{Result, anyhow};
use cairn_chain::CommandId;
use cairn_chain::ledger::Registration as OnChain;
use cairn_market::register::Registration;
use cairn_market::{Settlement, Terms};
use cairn_types::{Amount, NodeKey};

use super::Ledger;
use crate::outcome::{ExitCode, Failure, failure};

/// Registers the provider of `terms`, or brings its registration up to date.
///
/// # Errors
/// The ledger cannot be reached, the wallet holds too little, or it is registered for another node.
pub async fn ensure(ledger: &Ledger, node: &NodeKey, terms: &Terms, collateral: Amount) -> Result<()> {
    let chain = ledger.chain();
    let registration =
        Registration { chain_id: terms.chain_id, providers: terms.providers, owner: terms.owner, signer: terms.signer };
    let node_signature = registration.sign(node);
    let Some(found) = chain.provider(terms.owner).await? else {
        fund(ledger, collateral).await?;
        let command = CommandId::of(&format!("register/{}/{}/{}", terms.owner, node.id(), chain.block_time().await?.0));
        let wanted =
            OnChain { node_key: node.id().0, signer: terms.signer, offer_hash: terms.hash(), collateral, node_signature };
        chain.register(command, wanted).await?;
        ledger.done(command).await.map_err(|error| unregistered(&error))?;
        tracing::info!(owner = %terms.owner, %collateral, "registered as a provider");
        return Ok(());
    };
    if found.node_key != node.id().0 {
        return Err(failure(
            format!("the wallet {} is registered for another node", terms.owner),
            "one wallet has one provider: use the data directory of that node, or a phrase of its own for this one",
        ));
    }
    let now = chain.block_time().await?.0;
    if found.signer != terms.signer {
        let command = CommandId::of(&format!("signer/{}/{now}", terms.signer));
        chain.set_signer(command, terms.signer, node_signature).await?;
        ledger.done(command).await.map_err(|error| unregistered(&error))?;
    }
    if found.offer_hash != terms.hash() {
        let command = CommandId::of(&format!("offer/{}/{now}", hex::encode(terms.hash())));
        chain.set_offer(command, terms.hash()).await?;
        ledger.done(command).await.map_err(|error| unregistered(&error))?;
    }
    if let Some(missing) = collateral.minus(found.collateral).filter(|missing| !missing.is_zero()) {
        fund(ledger, missing).await?;
        let command = CommandId::of(&format!("collateral/{}/{collateral}/{now}", terms.owner));
        chain.add_collateral(command, missing).await?;
        ledger.done(command).await.map_err(|error| unregistered(&error))?;
        tracing::info!(added = %missing, "collateral added");
    }
    Ok(())
}

/// Sees that the wallet holds `need`: a private ledger's faucet gives, on any other the operator must.
pub async fn fund(ledger: &Ledger, need: Amount) -> Result<()> {
    let wallet = ledger.wallet();
    let have = ledger.chain().credits(wallet).await?;
    if have >= need {
        return Ok(());
    }
    let have = if ledger.chain().contracts().faucet.is_some() { ledger.drip().await.unwrap_or(have) } else { have };
    if have >= need {
        return Ok(());
    }
    Err(failure(format!("{need} are needed, the wallet {wallet} holds {have}"), "send credits to that address, then start again"))
}

fn unregistered(error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}").context(Failure {
        code: ExitCode::Failure,
        message: "cannot register as a provider".into(),
        remedy: "see what the ledger says; without --chain the provider is free and needs no registration".into(),
    })
}
