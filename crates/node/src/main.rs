//! The binary `cairn`: reads the command line, wires the roles to the network, and says how things ended.
//!
//! Never: logic of a role. Limits: see each command.

mod answer;
mod args;
mod collect;
mod config;
mod dashboard;
mod doctor;
mod first;
mod health;
mod home;
mod init;
mod key;
mod ledger;
mod localnet;
mod native;
mod outcome;
mod recover;
mod role;
mod size;
mod socket;
mod span;
mod status;
mod stop;
mod telemetry;
mod text;
mod when;
mod world;

use std::time::Duration;

use anyhow::{Context, Result};
use args::{Cairn, Command, DelegateCommand};
use clap::Parser;
use config::File;
use config::{Dashboard, Gateway, Network, Peer, Provider};

/// Blocking jobs of the runtime itself; the store and the catalog bound their own below this.
const BLOCKING_THREADS_MAX: usize = 64;
/// A job that still blocks a thread after the daemon has stopped is left behind after this.
const RUNTIME_STOP: Duration = Duration::from_millis(200);

fn main() {
    let cairn = Cairn::parse();
    let code = match start(cairn) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {}", outcome::report(&error));
            outcome::exit_code(&error) as i32
        }
    };
    std::process::exit(code);
}

fn start(cairn: Cairn) -> Result<()> {
    let level = match &cairn.command {
        Some(Command::Provider(_) | Command::Gateway(_) | Command::Peer(_) | Command::Chain(_) | Command::Localnet(_)) => "info",
        Some(Command::Delegate(args)) if matches!(args.command, DelegateCommand::Run(_)) => "info",
        _ => "warn",
    };
    telemetry::start(&cairn.common, level)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = cairn.common.worker_threads {
        builder.worker_threads(threads.get());
    }
    let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build().context("cannot start the runtime")?;
    let done = runtime.block_on(run(cairn));
    runtime.shutdown_timeout(RUNTIME_STOP);
    done
}

async fn run(cairn: Cairn) -> Result<()> {
    let Cairn { common, command } = cairn;
    let Some(command) = command else { return first::first() };
    match command {
        Command::Init(args) => init::init(args),
        Command::Config(args) => init::config(args, &common),
        Command::Completions(args) => first::completions(&args),
        Command::Man(args) => first::man(&args),
        Command::Provider(args) => {
            let file = File::read(common.config.as_deref())?;
            let network = Network::from(args.network.over(file.network));
            let dashboard = Dashboard::new(args.dashboard.over(file.dashboard), config::PROVIDER_PORT);
            role::provider::run(Provider::new(args.provider.over(file.provider))?, network, dashboard, common.stop_at_stdin_end)
                .await
        }
        Command::Gateway(args) => {
            let file = File::read(common.config.as_deref())?;
            let network = Network::from(args.network.over(file.network));
            let dashboard = Dashboard::new(args.dashboard.over(file.dashboard), config::GATEWAY_PORT);
            role::gateway::run(Gateway::new(args.gateway.over(file.gateway))?, network, dashboard, common.stop_at_stdin_end).await
        }
        Command::Peer(args) => {
            let file = File::read(common.config.as_deref())?;
            let network = Network::from(args.network.over(file.network));
            role::peer::run(Peer::new(args.peer.over(file.peer))?, network, common.stop_at_stdin_end).await
        }
        Command::Delegate(args) => ledger::delegating::delegate(args, &common).await,
        Command::Chain(args) => {
            let file = File::read(common.config.as_deref())?;
            match args.command {
                Some(args::ChainCommand::Deploy(args)) => ledger::deploy::deploy(args).await,
                None => role::chain::run(config::Chain::new(args.run.chain.over(file.chain))?, common.stop_at_stdin_end).await,
            }
        }
        Command::Localnet(args) => localnet::localnet(args, &common).await,
        Command::Put(args) => native::put(args).await,
        Command::Get(args) => native::get(args).await,
        Command::Ls(args) => native::ls(args).await,
        Command::Rm(args) => native::rm(args).await,
        Command::Stat(args) => native::stat(args).await,
        Command::Mb(args) => native::mb(args).await,
        Command::Share(args) => native::share(args).await,
        Command::Bucket(args) => native::bucket(args).await,
        Command::Recover(args) => recover::recover(args, &common).await,
        Command::Checkpoint(socket) => recover::checkpoint(socket).await,
        Command::Collect(args) => collect::collect(args).await,
        Command::Health(args) => health::health(args).await,
        Command::Earnings(args) => ledger::show::earnings(args).await,
        Command::Deals(args) => ledger::show::deals(args).await,
        Command::Audits(args) => ledger::show::audits(args).await,
        Command::Disputes(args) => ledger::show::disputes(args).await,
        Command::Ledger(args) => ledger::show::journal(args).await,
        Command::Wallet(args) => ledger::wallet::wallet(args).await,
        Command::Key(args) => key::key(args).await,
        Command::Dashboard(args) => dashboard::show(&args),
        Command::Doctor(args) => doctor::doctor(args, &common).await,
        Command::Status(args) => status::status(args).await,
    }
}
