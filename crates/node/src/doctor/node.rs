//! Checks of a node: its data directory and the daemon that runs on it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Check;
use crate::home::{self, Role};
use crate::localnet::plan::Plan;
use crate::outcome::report;
use crate::socket::{Dialer, LOCALNET_SOCKET};

const CALL: Duration = Duration::from_secs(5);

/// Phrase, modes and role of a data directory.
pub fn data_dir(dir: &Path, role: Option<Role>) -> Vec<Check> {
    let name = format!("data directory {}", dir.display());
    if !home::is_initialised(dir) {
        return vec![Check::bad(name, "it has no phrase", format!("cairn init --dir {}", dir.display()))];
    }
    let mut checks = Vec::new();
    for path in [dir.to_owned(), dir.join("phrase"), dir.join("node.json")] {
        let mode = std::fs::metadata(&path).map_or(0, |found| found.mode() & 0o777);
        if mode & 0o077 != 0 {
            let tight = if path.is_dir() { "700" } else { "600" };
            let seen = format!("{} is open to other users (mode {mode:o})", path.display());
            checks.push(Check::bad(&name, seen, format!("chmod {tight} {}", path.display())));
        }
    }
    match home::read_phrase(&dir.join("phrase")) {
        Ok(_) => checks.push(Check::good(name, format!("initialised, role: {}", role.map_or("not chosen yet", Role::name)))),
        Err(error) => checks.push(Check::bad(
            name,
            report(&error),
            "restore the 12 words from paper: cairn init --phrase-stdin in a new --dir",
        )),
    }
    checks
}

/// The daemon behind a socket answers and is well.
pub async fn daemon(dialer: &Dialer) -> Vec<Check> {
    let name = format!("daemon at {}", dialer.path().display());
    let answer = match dialer.get("/v1/status", CALL).await {
        Ok(answer) => answer,
        Err(error) => return vec![Check::bad(name, report(&error), "start it again; its log says why it ended")],
    };
    let role = answer["role"].as_str().unwrap_or("daemon").to_owned();
    let mut checks = vec![Check::good(&name, format!("{role}, pid {}", answer["pid"]))];
    if role == "chain" {
        checks.push(match answer["block"].as_u64() {
            Some(block) => Check::good("ledger", format!("block {block} at {}", answer["url"].as_str().unwrap_or_default())),
            None => Check::bad("ledger", "its journal cannot be read", "look at its log; restore its directory from a copy"),
        });
        return checks;
    }
    let connected = answer["net"]["connected"].as_array().map_or(0, Vec::len);
    let name = format!("network of the {role}");
    checks.push(match connected {
        0 => Check::warning(name, "no peer is connected", "give a --bootstrap address that answers"),
        count => Check::good(name, format!("{count} peers connected")),
    });
    checks.extend(disks(&answer));
    if role == "gateway" {
        checks.push(redundancy(&answer));
    }
    checks
}

fn disks(answer: &Value) -> Vec<Check> {
    let all = answer["store"]["disks"].as_array().into_iter().flatten();
    all.map(|disk| {
        let name = format!("disk {}", disk["path"].as_str().unwrap_or_default());
        match (disk["read_only"].as_str(), disk["free_len"].as_u64()) {
            (Some(why), _) => Check::bad(name, format!("read-only: {why}"), "mend the disk; it is tested again every minute"),
            (None, Some(0)) => Check::warning(name, "full", "offer more space, or wait for deletions"),
            (None, _) => Check::good(name, "writable"),
        }
    })
    .collect()
}

fn redundancy(answer: &Value) -> Check {
    let all = answer["providers"].as_array();
    let usable = all.map_or(0, |all| all.iter().filter(|provider| provider["usable"] == true).count());
    match answer["tier"]["redundancy"].as_str() {
        Some(redundancy) => Check::good("providers", format!("{usable} usable, redundancy {redundancy}")),
        None => Check::bad(
            "providers",
            format!("{usable} usable: too few to store anything"),
            "wait until more are found, or bring up more",
        ),
    }
}

/// Every process of a localnet; `None` when `dir` is no localnet's.
pub async fn localnet(dir: &Path) -> Option<Vec<Check>> {
    let plan = match Plan::load(dir) {
        Ok(None) => return None,
        Ok(Some(plan)) => plan,
        Err(error) => return Some(vec![Check::bad("localnet", report(&error), "use another --dir")]),
    };
    let remedy = format!("cairn localnet --dir {}", dir.display());
    let answer = match Dialer::new(dir.join(LOCALNET_SOCKET), "").get("/v1/status", CALL).await {
        Ok(answer) => answer,
        Err(error) => return Some(vec![Check::bad("localnet", report(&error), remedy)]),
    };
    let mut checks = Vec::new();
    for name in plan.names() {
        let all = [&answer["chain"], &answer["bootstrap"], &answer["gateway"]]
            .into_iter()
            .chain(answer["providers"].as_array().into_iter().flatten());
        let process = all.into_iter().find(|process| process["name"] == name.to_string().as_str());
        match process.and_then(|process| process["pid"].as_u64()) {
            None => {
                let how = process.and_then(|process| process["ended"].as_str()).unwrap_or("not started");
                checks.push(Check::bad(name.to_string(), how, format!("cairn localnet restart {name} --dir {}", dir.display())));
            }
            Some(_) => {
                let home = crate::localnet::plan::home_of(dir, name);
                if let Some(role) = name.role() {
                    checks.extend(data_dir(&home, Some(role)));
                }
                for dialer in crate::status::daemons(&home) {
                    checks.extend(daemon(&dialer).await);
                }
            }
        }
    }
    Some(checks)
}
