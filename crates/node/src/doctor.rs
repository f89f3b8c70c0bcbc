//! `cairn doctor`: checks this machine and this node, and says how to mend what is wrong.
//!
//! Never: change anything but a test file that it deletes again. Limits: a few seconds per unreachable address.

mod machine;
mod node;

use anyhow::Result;
use serde::Serialize;

use crate::args::{self, Common};
use crate::config::{Delegate, File, Gateway, Network, Peer, Provider};
use crate::home::{self, Role};
use crate::outcome::{failure, say, say_json};
use crate::status::{daemons, default_dirs};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, but should be better.
    Warning,
    /// Does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; empty when all is good.
    pub remedy: String,
}

impl Check {
    fn good(name: impl Into<String>, seen: impl Into<String>) -> Check {
        Check { name: name.into(), verdict: Verdict::Good, seen: seen.into(), remedy: String::new() }
    }

    fn warning(name: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name: name.into(), verdict: Verdict::Warning, seen: seen.into(), remedy: remedy.into() }
    }

    fn bad(name: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name: name.into(), verdict: Verdict::Bad, seen: seen.into(), remedy: remedy.into() }
    }
}

/// Runs the command.
pub async fn doctor(args: args::Doctor, common: &Common) -> Result<()> {
    let file = File::read(common.config.as_deref())?;
    let network = Network::from(args.network.over(file.network.clone()));
    let dirs = match &args.dir {
        Some(dir) => vec![dir.clone()],
        None => default_dirs()?,
    };
    let mut checks = vec![machine::open_files(), machine::clock(&dirs)];
    for dir in &dirs {
        checks.extend(directory(dir, &file).await);
    }
    checks.extend(machine::bootstrap(&network.bootstrap).await);
    tell(&checks, args.json)?;
    match checks.iter().filter(|check| check.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        1 => Err(failure("one check failed", "see its remedy above")),
        count => Err(failure(format!("{count} checks failed"), "see their remedies above")),
    }
}

async fn directory(dir: &std::path::Path, file: &File) -> Vec<Check> {
    if let Some(checks) = node::localnet(dir).await {
        return checks;
    }
    let role = home::peek_role(dir);
    let mut checks = node::data_dir(dir, role);
    if !home::is_initialised(dir) {
        return checks;
    }
    checks.push(machine::writable(&format!("{} can be written", dir.display()), dir));
    let running = daemons(dir);
    let mut answered = false;
    for dialer in &running {
        let seen = node::daemon(dialer).await;
        answered |= seen.iter().any(|check| check.verdict != Verdict::Bad);
        checks.extend(seen);
    }
    if answered {
        return checks; // its ports are its own, and it tests its disks itself
    }
    if running.is_empty() {
        checks.push(Check::good(format!("daemon of {}", dir.display()), "none runs"));
    }
    let listen = match role {
        Some(Role::Provider) => Provider::new(file.provider.clone()).map(|config| (config.listen, config.space)),
        Some(Role::Gateway) => Gateway::new(file.gateway.clone()).map(|config| {
            checks.push(machine::socket_address("S3 endpoint", &config.s3_listen));
            (config.listen, Vec::new())
        }),
        Some(Role::Peer) => Peer::new(file.peer.clone()).map(|config| (config.listen, Vec::new())),
        Some(Role::Delegate) => Delegate::new(file.delegate.clone()).map(|config| (config.listen, Vec::new())),
        None => Ok((Vec::new(), Vec::new())),
    };
    if let Ok((listen, space)) = listen {
        checks.extend(listen.iter().map(|address| machine::listen(address)));
        checks.extend(space.iter().map(machine::space));
    }
    checks
}

fn tell(checks: &[Check], json: bool) -> Result<()> {
    if json {
        let good = checks.iter().all(|check| check.verdict != Verdict::Bad);
        return say_json(&serde_json::json!({"good": good, "checks": checks}));
    }
    for check in checks {
        let mark = match check.verdict {
            Verdict::Good => "ok  ",
            Verdict::Warning => "warn",
            Verdict::Bad => "BAD ",
        };
        say(format_args!("{mark} {}: {}", check.name, check.seen));
        if !check.remedy.is_empty() {
            say(format_args!("     remedy: {}", check.remedy));
        }
    }
    Ok(())
}
