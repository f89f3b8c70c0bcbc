//! One local network as a test sees it: started, hurt, mended and ended only through the binary and through signals.
//!
//! Never: reads the product's types; the ready line is the contract.
//! Limits: ends its own children only; a network that does not get ready in [`READY_SECONDS_MAX`] is a failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;

use crate::proc::{alive, kill, signal, wait_until};
use crate::s3::S3;
use crate::{cli, disk};

/// A network must be ready by then.
pub const READY_SECONDS_MAX: u64 = 100;
/// A network must have ended by then after SIGTERM; the binary promises ten seconds for each process.
pub const STOP_SECONDS_MAX: u64 = 20;

/// Space in use counts as settled when it has not changed for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

const COLLECT_EVERY: Duration = Duration::from_secs(5);
/// Deleting at a provider that was dead is tried again with growing pauses, so this is minutes.
const SPACE_BACK_IN: Duration = Duration::from_secs(300);

/// The line that `cairn localnet --json` prints when it is ready. Fields may be added, never removed.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// S3 endpoint, `http://127.0.0.1:port`.
    pub endpoint: String,
    /// S3 region.
    pub region: String,
    /// Access key that may do everything.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The gateway's process.
    pub gateway: Gateway,
    /// The provider processes, in order of their names.
    pub providers: Vec<Provider>,
    /// The process of the ledger, if the network has one.
    #[serde(default)]
    pub chain: Option<Chain>,
    /// Where the ledger answers JSON-RPC.
    #[serde(default)]
    pub chain_url: Option<String>,
}

/// The ledger's process.
#[derive(Debug, Clone, Deserialize)]
pub struct Chain {
    /// Process id.
    pub pid: u32,
}

/// The gateway's process.
#[derive(Debug, Clone, Deserialize)]
pub struct Gateway {
    /// Process id.
    pub pid: u32,
    /// Data directory; its log lies there.
    pub dir: PathBuf,
}

/// Space that shards take at all providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// As the providers account for it: bytes taken and reserved.
    pub counted_len: u64,
    /// Shards stored.
    pub shards: u64,
    /// Written bytes of the volume files on disk; punched holes are free.
    pub on_disk_len: u64,
}

impl Used {
    /// Whether nothing has been added to `before`, but for `slack_len` bytes.
    pub fn is_back_at(&self, before: &Used, slack_len: u64) -> bool {
        self.counted_len <= before.counted_len + slack_len && self.on_disk_len <= before.on_disk_len + slack_len
    }
}

/// One provider process.
#[derive(Debug, Clone, Deserialize)]
pub struct Provider {
    /// What `localnet restart` calls it.
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// libp2p PeerId.
    pub peer_id: String,
    /// Data directory.
    pub dir: PathBuf,
}

/// A running local network in a directory of its own.
pub struct Localnet {
    child: Child,
    dir: Option<TempDir>,
    ready: Ready,
}

impl Localnet {
    /// Starts `providers` providers in a new temporary directory. With `CAIRN_E2E_FREE` in the environment there is no ledger, so that every
    /// test can be run without audits and payments too.
    pub fn start(providers: usize) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("cairn-e2e-").tempdir()?;
        Self::start_in(dir, providers)
    }

    /// As [`Localnet::start`], with more flags of `cairn localnet`.
    pub fn start_with(providers: usize, flags: &[&str]) -> Result<Self> {
        Self::begin(tempfile::Builder::new().prefix("cairn-e2e-").tempdir()?, providers, flags)
    }

    /// Starts a network in a directory that may hold an earlier one.
    pub fn start_in(dir: TempDir, providers: usize) -> Result<Self> {
        Self::begin(dir, providers, &[])
    }

    fn begin(dir: TempDir, providers: usize, flags: &[&str]) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(dir.path().join("localnet.stderr"))?;
        let mut child = Command::new(cairn()?)
            .args(["localnet", "--json", "--providers", &providers.to_string(), "--dir"])
            .arg(net_dir(&dir))
            .args(flags)
            .args(std::env::var_os("CAIRN_E2E_FREE").filter(|_| flags.is_empty()).map(|_| "--free"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start cairn localnet")?;
        match read_ready(&mut child) {
            Ok(ready) => {
                let net = Self { child, dir: Some(dir), ready };
                ensure!(net.ready.providers.len() == providers, "asked for {providers} providers: {:?}", net.ready);
                Ok(net)
            }
            Err(error) => {
                end(&mut child);
                let said = std::fs::read_to_string(dir.path().join("localnet.stderr")).unwrap_or_default();
                let tail: Vec<&str> = said.lines().rev().take(20).collect();
                Err(error.context(tail.into_iter().rev().collect::<Vec<_>>().join("\n")))
            }
        }
    }

    /// What the ready line said, with process ids as they are now.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The network's `--dir`.
    pub fn dir(&self) -> PathBuf {
        net_dir(self.temp())
    }

    /// Room for a test's own files, beside the network's directory.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.temp().path().join(name)
    }

    fn temp(&self) -> &TempDir {
        self.dir.as_ref().expect("the directory is taken only by stop, which consumes the network")
    }

    /// Flags by which a node outside of the network finds it and its ledger.
    pub fn how_to_join(&self) -> Result<Vec<String>> {
        let status = cli::json(self, &["localnet", "status"])?;
        let plan: serde_json::Value = serde_json::from_slice(&std::fs::read(self.dir().join("localnet.json"))?)?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).with_context(|| format!("no text: {value}"));
        let mut flags = vec![
            format!("--bootstrap={}", text(&status["bootstrap"]["address"])?),
            format!("--network-id={}", text(&plan["network_id"])?),
        ];
        flags.extend(self.ready.chain_url.as_ref().map(|url| format!("--chain={url}")));
        Ok(flags)
    }

    /// A client with the network's own keys.
    pub fn s3(&self) -> Result<S3> {
        let ready = &self.ready;
        S3::new(&ready.endpoint, &ready.region, &ready.access_key, &ready.secret_key)
    }

    /// `kill -9` of one provider.
    pub fn kill_provider(&self, index: usize) -> Result<()> {
        kill(self.ready.providers[index].pid)
    }

    /// `kill -9` of the gateway.
    pub fn kill_gateway(&self) -> Result<()> {
        kill(self.ready.gateway.pid)
    }

    /// `kill -9` of the ledger.
    pub fn kill_chain(&self) -> Result<()> {
        kill(self.ready.chain.as_ref().context("a network without a ledger")?.pid)
    }

    /// Starts a killed ledger again and waits until it serves at the same address.
    pub fn restart_chain(&mut self) -> Result<()> {
        let said = self.restart("chain")?;
        self.ready.chain = Some(Chain { pid: pid_in(&said["chain"])? });
        Ok(())
    }

    /// Where the ledger answers JSON-RPC.
    pub fn chain_url(&self) -> Result<&str> {
        self.ready.chain_url.as_deref().context("a network without a ledger")
    }

    /// Starts a killed provider again and waits until the gateway sees it.
    pub fn restart_provider(&mut self, index: usize) -> Result<()> {
        let name = self.ready.providers[index].name.clone();
        let said = self.restart(&name)?;
        self.ready.providers[index].pid = pid_in(&said["providers"][index])?;
        Ok(())
    }

    /// Starts a killed gateway again and waits until it serves at the same endpoint.
    pub fn restart_gateway(&mut self) -> Result<()> {
        let said = self.restart("gateway")?;
        self.ready.gateway.pid = pid_in(&said["gateway"])?;
        Ok(())
    }

    /// Space that shards take at all providers, which must all be running.
    pub fn used(&self) -> Result<Used> {
        let mut sum = Used { counted_len: 0, shards: 0, on_disk_len: 0 };
        for provider in &self.ready.providers {
            let status = cli::json_in(&provider.dir, &["status"])?;
            let number = |name: &str| status["store"][name].as_u64().with_context(|| format!("no {name} in {status}"));
            sum.counted_len += number("used_len")? + number("reserved_len")?;
            sum.shards += number("shards")?;
            sum.on_disk_len += disk::used_len(&provider.dir)?;
        }
        Ok(sum)
    }

    /// As [`Localnet::used`], once it has stopped changing.
    pub fn settled_used(&self) -> Result<Used> {
        let mut last = (self.used()?, Instant::now());
        wait_until("the space in use to settle", Duration::from_secs(60), || {
            let now = self.used()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
            Ok((last.1.elapsed() >= SETTLED_AFTER).then_some(now))
        })
    }

    /// Has the gateway collect now what nothing refers to, which it does by itself only once an hour.
    pub fn collect(&self) -> Result<()> {
        let mut socket = UnixStream::connect(self.ready.gateway.dir.join("gateway.sock")).context("the gateway's socket")?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        socket.write_all(b"POST /v1/collect HTTP/1.1\r\nhost: cairn\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        let mut said = String::new();
        socket.read_to_string(&mut said)?;
        ensure!(said.starts_with("HTTP/1.1 200"), "collect: {said}");
        Ok(())
    }

    /// Waits until the providers hold no more than `before`, collecting meanwhile; what is being deleted needs no collection.
    pub fn wait_for_space(&self, before: &Used, slack_len: u64) -> Result<()> {
        let mut collected = Instant::now() - COLLECT_EVERY;
        wait_until("the space of what nobody needs to come back", SPACE_BACK_IN, || {
            if collected.elapsed() >= COLLECT_EVERY {
                self.collect()?;
                collected = Instant::now();
            }
            Ok(self.used()?.is_back_at(before, slack_len).then_some(()))
        })
        .with_context(|| format!("{before:?} was used before, now {:?}", self.used()))
    }

    /// All that the gateway's process has logged so far.
    pub fn gateway_log(&self) -> String {
        text_of(&self.ready.gateway.dir.join("log"))
    }

    fn restart(&self, name: &str) -> Result<serde_json::Value> {
        cli::json_in(&self.dir(), &["localnet", "restart", name])
    }

    /// SIGTERM; demands that every process of the network ends in time. Gives the directory for another start.
    pub fn stop(mut self) -> Result<TempDir> {
        let mut pids: Vec<u32> = self.ready.providers.iter().map(|provider| provider.pid).collect();
        pids.push(self.ready.gateway.pid);
        signal(self.child.id(), Signal::TERM)?;
        let status = wait_until("the network to end after SIGTERM", Duration::from_secs(STOP_SECONDS_MAX), || {
            Ok(self.child.try_wait()?)
        })?;
        ensure!(status.success(), "cairn localnet ended with {status}");
        for pid in pids {
            ensure!(!alive(pid), "process {pid} outlived the network");
        }
        self.dir.take().context("the directory is taken only here")
    }
}

impl Drop for Localnet {
    fn drop(&mut self) {
        end(&mut self.child);
        for pid in self
            .ready
            .providers
            .iter()
            .map(|provider| provider.pid)
            .chain([self.ready.gateway.pid])
            .chain(self.ready.chain.as_ref().map(|chain| chain.pid))
        {
            if alive(pid) {
                let _ = signal(pid, Signal::KILL);
            }
        }
        let keep = std::thread::panicking() || std::env::var_os("CAIRN_E2E_KEEP").is_some();
        if keep && let Some(dir) = self.dir.take() {
            eprintln!("the network's directory is kept: {}", dir.keep().display());
        }
    }
}

/// The binary under test: `CAIRN_BIN`, or `cairn` beside the test's own build.
pub fn cairn() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CAIRN_BIN") {
        return Ok(path.into());
    }
    // …/release/deps/test-hash or …/release/cairn-crash-cycles
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(3).map(|dir| dir.join("cairn")).find(|path| path.is_file());
    found.with_context(|| format!("no cairn near {}; run `cargo build --release` first, or set CAIRN_BIN", own.display()))
}

fn net_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("net")
}

fn end(child: &mut Child) {
    if signal(child.id(), Signal::TERM).is_ok() {
        let _ = wait_until("localnet to end", Duration::from_secs(STOP_SECONDS_MAX), || Ok(child.try_wait()?));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn read_ready(child: &mut Child) -> Result<Ready> {
    let stdout = child.stdout.take().context("stdout is piped")?;
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        let _ = send.send(lines.next());
        // The pipe must stay open and drained for as long as the network may write to it.
        lines.for_each(drop);
    });
    let line = match receive.recv_timeout(Duration::from_secs(READY_SECONDS_MAX)) {
        Ok(Some(line)) => line?,
        Ok(None) => bail!("cairn localnet ended before it was ready"),
        Err(_) => bail!("cairn localnet was not ready after {READY_SECONDS_MAX} s"),
    };
    serde_json::from_str(&line).with_context(|| format!("the ready line is not what was agreed: {line}"))
}

fn pid_in(process: &serde_json::Value) -> Result<u32> {
    let pid = process["pid"].as_u64().with_context(|| format!("no pid in {process}"))?;
    Ok(u32::try_from(pid)?)
}

/// The text of a file, empty if there is none.
pub fn text_of(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
