//! Logs on standard error, as text or as JSON lines; panics are logged too.
//!
//! Never: logs on standard output.

use std::panic::PanicHookInfo;

use anyhow::{Result, anyhow};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

use cairn_gateway::s3::LOG_DIRECTIVE as S3_LIBRARY_SILENT;

use crate::args::Common;
use crate::outcome::{ExitCode, coded};

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `level` is used where neither flag nor environment says anything.
///
/// # Errors
/// The filter cannot be understood.
pub fn start(common: &Common, level: &str) -> Result<()> {
    let wanted = common.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()));
    let wanted = wanted.unwrap_or_else(|| level.to_owned());
    // First, so that what was asked for overrides it.
    let filter = EnvFilter::try_new(format!("{S3_LIBRARY_SILENT},{wanted}")).map_err(|error| {
        coded(ExitCode::Usage, format!("log filter {wanted:?}: {error}"), "write a level such as info or warn,cairn_net=debug")
    })?;
    let subscriber = Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match common.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("cannot start logging: {error}"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let backtrace = std::backtrace::Backtrace::force_capture();
    tracing::error!(%message, %location, %thread, %backtrace, "panic: this is a bug in cairn, please report it");
}
