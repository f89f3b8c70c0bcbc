//! `cairn chain deploy`, and the file of addresses that it writes and daemons read.
//!
//! Never: a key on the command line, where every user of the machine can read it. Limits: a key file of [`KEY_FILE_LEN_MAX`] bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use cairn_chain::deployed::FILE_LEN_MAX;
use cairn_chain::{Deployed, DeployedError, Deployer, DeployerError, EndpointError};
use cairn_types::WalletKey;

use crate::args;
use crate::outcome::{ExitCode, Failure, coded, say, say_json};

/// Bytes of a key file.
pub const KEY_FILE_LEN_MAX: u64 = 1024;
/// Of a data directory or localnet that keeps such a file.
pub const FILE_NAME: &str = "contracts.json";

/// Runs the command.
pub async fn deploy(args: args::ChainDeploy) -> Result<()> {
    if args.out.exists() {
        return Err(coded(
            ExitCode::Usage,
            format!("{} is there already; it is not overwritten", args.out.display()),
            "name another file with --out: without this one nobody finds the contracts it names",
        ));
    }
    let deployer = Deployer::open(&args.rpc, read_key(&args.key_file)?).await.map_err(failed)?;
    let deployed = deployer.deploy(!args.no_faucet, args.confirmations).await.map_err(failed)?;
    std::fs::write(&args.out, deployed.to_bytes()).with_context(|| format!("cannot write {}", args.out.display()))?;
    if args.json {
        return say_json(&serde_json::to_value(deployed)?);
    }
    say(format_args!("chain        {}", deployed.chain_id));
    say(format_args!("first block  {}", deployed.first_block));
    for (name, address) in deployed.contracts.named() {
        say(format_args!("{name:12} {address}"));
    }
    let file = args.out.display();
    say(format_args!("\nwritten to {file}; give it to every daemon: --chain {} --contracts {file}", args.rpc));
    Ok(())
}

/// Reads a file of addresses.
pub fn read(path: &Path) -> Result<Deployed> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the contracts in {}", path.display()))?;
    Deployed::parse(&bytes).map_err(|error| {
        let remedy = "use the file that cairn chain deploy wrote, of the same version of cairn";
        coded(ExitCode::Usage, format!("{}: {error}", path.display()), remedy)
    })
}

/// Reads a private key: 64 hex digits, with or without 0x.
pub fn read_key(path: &Path) -> Result<WalletKey> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_FILE_LEN_MAX).read_to_string(&mut text))
        .with_context(|| format!("cannot read the key in {}", path.display()))?;
    let digits = text.trim().trim_start_matches("0x");
    let mut secret = [0; 32];
    let key = hex::decode_to_slice(digits, &mut secret).ok().and_then(|()| WalletKey::from_secret(&secret));
    key.ok_or_else(|| {
        let message = format!("{} holds no private key", path.display());
        coded(ExitCode::Usage, message, "write the key as 64 hex digits, as cairn wallet export --show-private-key prints one")
    })
}

/// A chain whose contracts are not ours, for people.
pub fn refused(error: DeployedError) -> anyhow::Error {
    let remedy = match &error {
        DeployedError::Endpoint(EndpointError::OtherChain { .. }) => {
            "give the file of this chain's contracts with --contracts (cairn chain deploy writes one), or correct --chain"
        }
        DeployedError::Endpoint(EndpointError::Url(_)) => "correct --chain",
        DeployedError::Endpoint(_) => "see that the node of --chain runs and can be reached",
        DeployedError::NoCode { .. } => {
            "deploy them with cairn chain deploy and give its file with --contracts, or correct --chain"
        }
        DeployedError::OtherCode { .. } | DeployedError::Apart(_) => {
            "use the version of cairn that deployed them, or deploy this version's: cairn chain deploy, then --contracts"
        }
        DeployedError::File(_) => "use the file that cairn chain deploy wrote",
    };
    let failure = Failure { code: ExitCode::Usage, message: "the ledger of --chain is not used".into(), remedy: remedy.into() };
    anyhow!(error).context(failure)
}

/// What [`Deployer`] could not do, for people.
pub fn failed(error: DeployerError) -> anyhow::Error {
    let (code, remedy) = match &error {
        DeployerError::Deployed(_) => match error {
            DeployerError::Deployed(error) => return refused(error),
            _ => unreachable!("matched above"),
        },
        DeployerError::Endpoint(_) => (ExitCode::Unavailable, "see that the chain's node runs and can be reached"),
        DeployerError::NoCoin { .. } => (ExitCode::Failure, "send coin to that address, or use another --key-file"),
        DeployerError::Reverted { .. } => (ExitCode::Failure, "see what the chain says of it; the key may have too few credits"),
        DeployerError::NotMined { .. } => (ExitCode::Unavailable, "ask again when the chain makes blocks"),
        DeployerError::Elsewhere(_) => (ExitCode::Failure, "use a key that nothing else uses meanwhile, and ask again"),
    };
    let message = error.to_string();
    coded(code, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::report;

    #[test]
    fn a_key_is_64_hex_digits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (text, good) in [
            ("11".repeat(32), true),
            (format!("0x{}\n", "11".repeat(32)), true),
            ("00".repeat(32), false),
            ("11".repeat(31), false),
            (String::new(), false),
            ("x".repeat(5000), false),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read_key(&path).is_ok(), good, "{text}");
        }
        assert!(read_key(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_file_of_addresses_is_found_again_and_a_wrong_one_has_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contracts.json");
        std::fs::write(&path, Deployed::at_genesis().to_bytes()).unwrap();
        assert_eq!(read(&path).unwrap(), Deployed::at_genesis());
        std::fs::write(&path, "{}").unwrap();
        assert!(report(&read(&path).unwrap_err()).contains("cairn chain deploy"));
    }
}
