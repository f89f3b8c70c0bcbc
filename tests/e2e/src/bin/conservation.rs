//! Random operations on a paid local network with kills in between; again and again every credit is looked for, on the chain and in both ledgers.
//!
//! What is checked: supply = what all holders have; every wallet = what it began with + redeemed + received − sent − deposited; what the contracts
//! hold = deposits − redeemed; a withdrawal asked for again is paid once; at last each provider has been promised what it has a claim to.
//! Never: a kill while credits are counted. Limits: `--ops` (10,000), `--seed` (printed; the same seed makes the same choices).
#![allow(clippy::print_stdout, reason = "a report for a person is what this program is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_e2e::cli::{lines_in, units};
use cairn_e2e::data::{self, Seeded};
use cairn_e2e::proc::wait_until;
use cairn_e2e::{Body, Localnet, S3, cli, rpc};
use serde_json::Value;

const PROVIDERS: usize = 8;
const BUCKET: &str = "conserved";
const KEYS: u64 = 40;
/// Operations between two counts.
const COUNT_EVERY: u64 = 250;
/// Daemons come to the same sums within this time, once nothing is done any more.
const QUIET: Duration = Duration::from_secs(120);

struct Options {
    ops: u64,
    seed: u64,
}

/// A withdrawal that was asked for.
#[derive(Clone)]
struct Sent {
    id: String,
    from: usize,
    to: usize,
    units: u128,
    answered: bool,
}

struct World {
    net: Localnet,
    s3: S3,
    draw: Seeded,
    /// Directories of the wallets: the providers', then the gateway's.
    dirs: Vec<PathBuf>,
    addresses: Vec<String>,
    begun: Vec<u128>,
    in_contracts: u128,
    stored: BTreeMap<String, (u64, u64)>,
    /// Keys whose last request had no answer.
    open: BTreeSet<String>,
    sent: Vec<Sent>,
    done: BTreeMap<&'static str, u64>,
}

fn main() -> Result<()> {
    let options = options(&std::env::args().skip(1).collect::<Vec<_>>())?;
    println!("conservation: --ops {} --seed {}", options.ops, options.seed);
    run(&options).with_context(|| format!("seed {}", options.seed))?;
    println!("conservation: {} operations, every credit accounted for", options.ops);
    Ok(())
}

fn run(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let mut world = World::start(options.seed)?;
    for op in 1..=options.ops {
        world.operation(op).with_context(|| format!("operation {op}"))?;
        if op % COUNT_EVERY == 0 || op == options.ops {
            world.settle_withdrawals()?;
            world.count().with_context(|| format!("after operation {op}"))?;
            println!("operation {op}, {} s: conserved; {:?}", begun.elapsed().as_secs(), world.done);
        }
    }
    world.claims_are_promised()?;
    world.net.stop()?;
    Ok(())
}

/// Every entry of a journal takes as much as it gives.
fn balanced(dir: &Path) -> Result<()> {
    for entry in lines_in(dir, &["ledger"])? {
        let of = |line: &Value, side: &str| line[side][1].as_str().map_or(Ok(0), str::parse::<u128>);
        let (mut debit, mut credit) = (0, 0);
        for line in entry["lines"].as_array().context("lines")? {
            debit += of(line, "Debit")?;
            credit += of(line, "Credit")?;
        }
        ensure!(debit == credit && debit > 0, "an entry of {} that does not balance: {entry}", dir.display());
    }
    Ok(())
}

fn sum_of(lines: &[Value], fields: &[&str]) -> Result<u128> {
    let all = lines.iter().flat_map(|line| fields.iter().map(move |field| units(line, field)));
    all.sum()
}

impl World {
    fn start(seed: u64) -> Result<World> {
        let net = Localnet::start_with(PROVIDERS, &["--epoch=5s"])?;
        let s3 = net.s3()?;
        s3.create_bucket(BUCKET)?;
        let mut dirs: Vec<PathBuf> = net.ready().providers.iter().map(|provider| provider.dir.clone()).collect();
        dirs.push(net.ready().gateway.dir.clone());
        let mut world = World {
            net,
            s3,
            draw: Seeded::new(seed),
            dirs,
            addresses: Vec::new(),
            begun: Vec::new(),
            in_contracts: 0,
            stored: BTreeMap::new(),
            open: BTreeSet::new(),
            sent: Vec::new(),
            done: BTreeMap::new(),
        };
        for dir in &world.dirs {
            let wallet = cli::json_in(dir, &["wallet", "balance"])?;
            world.addresses.push(wallet["address"].as_str().context("an address")?.to_lowercase());
        }
        let (deposits, redeemed) = (world.deposits()?, world.redeemed()?);
        let paid_out: u128 = redeemed.iter().sum();
        world.begun = world.balances()?;
        for (begun, redeemed) in world.begun.iter_mut().zip(&redeemed) {
            *begun -= redeemed;
        }
        *world.begun.last_mut().context("the gateway's wallet")? += deposits;
        world.in_contracts = world.contracts_hold()? - (deposits - paid_out);
        world.count()?;
        Ok(world)
    }

    fn note(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn operation(&mut self, op: u64) -> Result<()> {
        match self.draw.below(100) {
            0 => self.kill(),
            1..=4 => self.redeem(),
            5..=8 => self.withdraw(op),
            9..=10 => self.withdraw_again(),
            11..=55 => self.put(),
            56..=70 => self.delete(),
            _ => self.get(),
        }
    }

    /// Kills a daemon with -9 and starts it again, sometimes after some more operations failed without it.
    fn kill(&mut self) -> Result<()> {
        let victim = self.draw.below(PROVIDERS as u64 + 3) as usize;
        let blind = self.draw.below(4);
        match victim {
            index if index < PROVIDERS => self.net.kill_provider(index)?,
            index if index == PROVIDERS => self.net.kill_chain()?,
            _ => self.net.kill_gateway()?,
        }
        for _ in 0..blind {
            match self.draw.below(3) {
                0 => self.put()?,
                1 => self.get()?,
                _ => self.redeem()?,
            }
        }
        match victim {
            index if index < PROVIDERS => self.net.restart_provider(index)?,
            index if index == PROVIDERS => self.net.restart_chain()?,
            _ => self.net.restart_gateway()?,
        }
        self.note("kills");
        Ok(())
    }

    fn key(&mut self) -> String {
        format!("{:03}", self.draw.below(KEYS))
    }

    fn put(&mut self) -> Result<()> {
        let (key, seed) = (self.key(), self.draw.draw());
        let len = match self.draw.below(60) {
            0 => 1_000_000 + self.draw.below(6_000_000),
            _ => self.draw.below(20_000),
        };
        match self.s3.put_stream(BUCKET, &key, seed, len).map(|answer| answer.status) {
            Ok(200) => {
                self.open.remove(&key);
                self.stored.insert(key, (seed, len));
                self.note("puts");
            }
            Ok(_) => self.note("puts refused"),
            Err(_) => self.leave_open(key),
        }
        Ok(())
    }

    fn leave_open(&mut self, key: String) {
        self.stored.remove(&key);
        self.open.insert(key);
        self.note("requests without an answer");
    }

    fn delete(&mut self) -> Result<()> {
        let key = self.key();
        match self.s3.send("DELETE", BUCKET, &key, &[], &[], Body::Empty).map(|answer| answer.status) {
            Ok(204) => {
                self.open.remove(&key);
                self.stored.remove(&key);
                self.note("deletes");
            }
            Ok(_) => self.note("deletes refused"),
            Err(_) => self.leave_open(key),
        }
        Ok(())
    }

    fn get(&mut self) -> Result<()> {
        let key = self.key();
        let Some((seed, len)) = self.stored.get(&key).copied() else { return Ok(()) };
        let Ok(answer) = self.s3.send("GET", BUCKET, &key, &[], &[], Body::Empty) else { return Ok(()) };
        match answer.status {
            200 => {
                if let Ok(bytes) = answer.bytes() {
                    ensure!(bytes == data::bytes(seed, len as usize), "{key} came back different");
                    self.note("gets");
                }
            }
            404 => bail!("{key} was acknowledged and is gone"),
            _ => self.note("gets refused"),
        }
        Ok(())
    }

    fn redeem(&mut self) -> Result<()> {
        let index = self.draw.below(PROVIDERS as u64) as usize;
        match cli::json_in(&self.dirs[index], &["earnings", "--redeem"]) {
            Ok(_) => self.note("redemptions"),
            Err(_) => self.note("redemptions refused"),
        }
        Ok(())
    }

    fn withdraw(&mut self, op: u64) -> Result<()> {
        let wallets = self.dirs.len() as u64;
        let (from, to) = (self.draw.below(wallets) as usize, self.draw.below(wallets) as usize);
        let units = u128::from(self.draw.below(2_000_000_000)) * 1_000_000 + u128::from(self.draw.below(7));
        let sent = Sent { id: format!("op-{op}"), from, to, units: units + 1, answered: false };
        self.sent.push(sent);
        self.ask(self.sent.len() - 1);
        Ok(())
    }

    /// Asks for an old withdrawal under its id again: it must not be paid again.
    fn withdraw_again(&mut self) -> Result<()> {
        if !self.sent.is_empty() {
            let at = self.draw.below(self.sent.len() as u64) as usize;
            self.ask(at);
            self.note("withdrawals asked again");
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) {
        let Sent { id, from, to, units, .. } = self.sent[at].clone();
        let credits = format!("{}.{:018}", units / 10u128.pow(18), units % 10u128.pow(18));
        let to = self.addresses[to].clone();
        if cli::text_in(&self.dirs[from], &["wallet", "withdraw", &to, &credits, "--id", &id]).is_ok() {
            self.sent[at].answered = true;
            self.note("withdrawals");
        }
    }

    /// Withdrawals without an answer are asked for until they have one.
    fn settle_withdrawals(&mut self) -> Result<()> {
        for at in 0..self.sent.len() {
            let deadline = Instant::now() + QUIET;
            while !self.sent[at].answered {
                ensure!(Instant::now() < deadline, "withdrawal {} has no answer", self.sent[at].id);
                self.ask(at);
            }
        }
        Ok(())
    }

    fn deposits(&self) -> Result<u128> {
        sum_of(&lines_in(&self.net.dir(), &["deals"])?, &["deposit"])
    }

    fn redeemed(&self) -> Result<Vec<u128>> {
        lines_in(&self.net.dir(), &["earnings"])?.iter().map(|line| units(line, "redeemed")).collect()
    }

    fn balances(&self) -> Result<Vec<u128>> {
        let chain = rpc::Token::find(&self.net)?;
        self.addresses.iter().map(|address| chain.balance_of(address)).collect()
    }

    /// What those hold that are not our wallets.
    fn contracts_hold(&self) -> Result<u128> {
        let chain = rpc::Token::find(&self.net)?;
        let others = chain.holders()?.into_iter().filter(|holder| !self.addresses.contains(holder));
        others.map(|holder| chain.balance_of(&holder)).sum()
    }

    /// Looks for every credit.
    fn count(&mut self) -> Result<()> {
        let mut last = String::new();
        let counted = wait_until("every credit to be accounted for", QUIET, || match self.counted() {
            Ok(()) => Ok(Some(())),
            Err(error) => {
                last = format!("{error:#}");
                Ok(None)
            }
        });
        counted.with_context(|| last)
    }

    fn counted(&self) -> Result<()> {
        let chain = rpc::Token::find(&self.net)?;
        let (deposits, redeemed, wallets) = (self.deposits()?, self.redeemed()?, self.balances()?);
        let gateway = wallets.len() - 1;
        for (index, have) in wallets.iter().enumerate() {
            let moved =
                |at: fn(&Sent) -> usize| self.sent.iter().filter(|sent| at(sent) == index).map(|sent| sent.units).sum::<u128>();
            let (received, gone) = (moved(|sent| sent.to), moved(|sent| sent.from));
            let earned = if index == gateway { 0 } else { redeemed[index] };
            let paid_in = if index == gateway { deposits } else { 0 };
            let should = self.begun[index] + received + earned - gone - paid_in;
            ensure!(*have == should, "wallet {index} has {have} and should have {should}");
        }
        let contracts = self.contracts_hold()?;
        let should = self.in_contracts + deposits - redeemed.iter().sum::<u128>();
        ensure!(contracts == should, "the contracts hold {contracts} and should hold {should}");
        let supply = chain.total_supply()?;
        ensure!(supply == contracts + wallets.iter().sum::<u128>(), "the supply is {supply}");
        for line in lines_in(&self.net.dir(), &["earnings"])? {
            ensure!(line["conserved"] == true, "a provider's books do not balance: {line}");
        }
        self.dirs.iter().try_for_each(|dir| balanced(dir))
    }

    /// With nothing going on, each provider has been promised exactly what it has a claim to, and redeems exactly that.
    fn claims_are_promised(&self) -> Result<()> {
        wait_until("both sides to come to the same sums", QUIET, || {
            let owed = lines_in(&self.net.dir(), &["deals"])?;
            let earned = lines_in(&self.net.dir(), &["earnings"])?;
            let mut same = owed.len() == PROVIDERS;
            for (provider, line) in self.net.ready().providers.iter().zip(&earned) {
                let Some(deal) = owed.iter().find(|deal| deal["provider"] == provider.peer_id.as_str()) else { return Ok(None) };
                same &= units(line, "accrued")? + units(line, "redeemed")? == units(deal, "promised")?;
            }
            Ok(same.then_some(()))
        })
    }
}

fn options(args: &[String]) -> Result<Options> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let mut options = Options { ops: 10_000, seed: now };
    for pair in args.chunks(2) {
        match pair {
            [name, text] if name == "--ops" => options.ops = text.parse().context("--ops takes a number")?,
            [name, text] if name == "--seed" => options.seed = text.parse().context("--seed takes a number")?,
            _ => bail!("usage: scripts/conservation [--ops COUNT] [--seed NUMBER]"),
        }
    }
    Ok(options)
}
