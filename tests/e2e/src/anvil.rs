//! A chain that is not ours: anvil, and JSON-RPC to whatever chain a network is on.
//!
//! Never: a network without anvil taken for a test that passed. Limits: one chain for a test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The first of anvil's well-known keys, which has coin on every chain that anvil makes.
const DEV_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// A running anvil; ends when dropped.
pub struct Anvil {
    child: Child,
    /// Its endpoint.
    pub url: String,
}

impl Anvil {
    /// Starts the program that `CAIRN_ANVIL` names. None only if `CAIRN_NO_ANVIL=1` says that it is not tested.
    pub fn start() -> Result<Option<Anvil>> {
        let Ok(program) = std::env::var("CAIRN_ANVIL") else {
            ensure!(
                std::env::var("CAIRN_NO_ANVIL").is_ok_and(|value| value == "1"),
                "CAIRN_ANVIL must name anvil (npm install @foundry-rs/anvil), or CAIRN_NO_ANVIL=1 must say that it is not tested"
            );
            eprintln!("NOT TESTED on anvil: CAIRN_NO_ANVIL=1");
            return Ok(None);
        };
        let mut child = Command::new(&program)
            .args(["--port", "0", "--hardfork", "cancun", "--accounts", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let listening = lines.find_map(|line| line.ok()?.strip_prefix("Listening on ").map(str::to_owned));
        std::thread::spawn(move || lines.for_each(drop)); // or its pipe fills up
        let Some(listening) = listening else {
            let _ = child.kill();
            bail!("{program} ended before it listened: {:?}", child.wait());
        };
        Ok(Some(Anvil { child, url: format!("http://{listening}") }))
    }

    /// Writes the key of a wallet with coin into `dir`.
    pub fn key_file(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("dev-key");
        std::fs::write(&path, DEV_KEY)?;
        Ok(path)
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // npm's wrapper passes SIGTERM on to the program and ends with it; SIGKILL would leave that one behind.
        let _ = crate::proc::signal(self.child.id(), rustix::process::Signal::TERM);
        let ended = crate::proc::wait_until("anvil to end", Duration::from_secs(5), || Ok(self.child.try_wait()?));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks a chain's node.
pub fn ask(url: &str, method: &str, params: &Value) -> Result<Value> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(Duration::from_secs(20))).build();
    let mut answer = ureq::Agent::from(config).post(url).header("content-type", "application/json").send(body.as_str())?;
    let text = answer.body_mut().read_to_string()?;
    let value: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(value["error"].is_null(), "{method}: {text}");
    Ok(value["result"].clone())
}
