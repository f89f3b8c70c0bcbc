//! The token as any Ethereum tool sees it: JSON-RPC against the network's chain.
//!
//! Never: the product's own sums. Limits: amounts below 2^128, as all of Cairn's are.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Localnet, cli};

/// `Transfer(address,address,uint256)`.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const TOTAL_SUPPLY: &str = "0x18160ddd";
const BALANCE_OF: &str = "0x70a08231";

fn call(url: &str, method: &str, params: &Value) -> Result<Value> {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).build();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut answer = config.new_agent().post(url).header("content-type", "application/json").send(body)?;
    let said: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    ensure!(said["error"].is_null(), "{method}: {}", said["error"]);
    Ok(said["result"].clone())
}

/// Moves the ledger's time on; it must have a clock for tests.
///
/// # Errors
/// The chain does not answer, or has no such clock.
pub fn pass(net: &Localnet, seconds: u64) -> Result<()> {
    call(net.chain_url()?, "evm_increaseTime", &json!([seconds]))?;
    call(net.chain_url()?, "evm_mine", &json!([]))?;
    Ok(())
}

/// The credit token of a network.
pub struct Token {
    url: String,
    address: String,
}

impl Token {
    /// The token that the network's gateway is paid with.
    ///
    /// # Errors
    /// The network is a free one, or its gateway or chain does not answer.
    pub fn find(net: &Localnet) -> Result<Token> {
        let wallet = cli::json_in(&net.ready().gateway.dir, &["wallet", "balance"])?;
        let address = wallet["token"].as_str().context("the wallet names no token")?.to_owned();
        Ok(Token { url: net.chain_url()?.to_owned(), address })
    }

    fn call(&self, method: &str, params: &Value) -> Result<Value> {
        call(&self.url, method, params)
    }

    fn number(&self, data: &str) -> Result<u128> {
        let said = self.call("eth_call", &json!([{"to": self.address, "data": data}, "latest"]))?;
        let hex = said.as_str().and_then(|text| text.strip_prefix("0x")).context("a word")?;
        u128::from_str_radix(hex.trim_start_matches('0'), 16).or_else(|_| Ok(0))
    }

    /// Credits that exist, in base units.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn total_supply(&self) -> Result<u128> {
        self.number(TOTAL_SUPPLY)
    }

    /// Credits of an account, in base units.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn balance_of(&self, holder: &str) -> Result<u128> {
        self.number(&format!("{BALANCE_OF}{:0>64}", holder.trim_start_matches("0x")))
    }

    /// All that ever got credits, in lower case.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn holders(&self) -> Result<BTreeSet<String>> {
        let filter = json!([{"address": self.address, "topics": [TRANSFER], "fromBlock": "0x0", "toBlock": "latest"}]);
        let logs = self.call("eth_getLogs", &filter)?;
        let to = |log: &Value| Some(format!("0x{}", log["topics"][2].as_str()?.get(26..)?.to_lowercase()));
        Ok(logs.as_array().context("logs")?.iter().filter_map(to).collect())
    }
}
