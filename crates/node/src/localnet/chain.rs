//! A localnet on a chain that is not its own: contracts are there, and every wallet has gas and credits.
//!
//! Never: coin or credits for a wallet that has some. Limits: [`GAS_COIN`] and [`CREDITS`] for each wallet and start.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cairn_chain::{Deployed, Deployer};
use cairn_types::Amount;

use crate::args;
use crate::home::{self, write_private};
use crate::ledger::deploy::{self, FILE_NAME};
use crate::outcome::{ExitCode, coded};

/// Coin that a wallet gets when it has less than a tenth of it: a tenth of a whole one, of 18 digits.
const GAS_COIN: u128 = 100_000_000_000_000_000;
/// Credits that a wallet gets where no faucet gives them; as many as a faucet's.
const CREDITS: Amount = Amount::from_credits(1000);

/// Sees to the contracts of the network in `dir`, and to its wallets.
pub async fn prepare(dir: &Path, args: &args::Localnet, homes: &[PathBuf], url: &str) -> Result<()> {
    let file = dir.join(FILE_NAME);
    let Some(key_file) = &args.key_file else {
        // Another start of a network that has all it needs; its daemons look at the contracts themselves.
        return deploy::read(&file).map(drop);
    };
    let deployer = Deployer::open(url, deploy::read_key(key_file)?).await.map_err(deploy::failed)?;
    let deployed = contracts(&file, args.contracts.as_deref(), &deployer).await?;
    for home in homes {
        let wallet = home::peek_wallet_key(home)?.address();
        if deployer.coin(wallet).await.map_err(deploy::failed)? < GAS_COIN / 10 {
            deployer.give_coin(wallet, GAS_COIN).await.map_err(deploy::failed)?;
        }
        let has_none =
            async || deployer.credits(&deployed.contracts, wallet).await.map(|credits| credits.is_zero()).map_err(deploy::failed);
        if deployed.contracts.faucet.is_none() && has_none().await? {
            deployer.give_credits(&deployed.contracts, wallet, CREDITS).await.map_err(deploy::failed)?;
        }
    }
    Ok(())
}

/// The network's contracts: those it has, those it is given, or new ones.
async fn contracts(file: &Path, given: Option<&Path>, deployer: &Deployer) -> Result<Deployed> {
    let known = if file.exists() { Some(deploy::read(file)?) } else { None };
    let given = given.map(deploy::read).transpose()?;
    let deployed = match (known, given) {
        (Some(known), Some(given)) if known != given => {
            let message = format!("the deals of this localnet are with the contracts in {}", file.display());
            return Err(coded(ExitCode::Usage, message, "leave --contracts out, or use another --dir"));
        }
        (Some(known), _) | (None, Some(known)) => {
            deployer.verify(&known).await.map_err(deploy::failed)?;
            known
        }
        (None, None) => deployer.deploy(true, 0).await.map_err(deploy::failed)?,
    };
    write_private(file, &deployed.to_bytes()).context("cannot keep the addresses of the contracts")?;
    Ok(deployed)
}
