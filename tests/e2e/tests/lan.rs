//! A local network without any bootstrap address: nodes find each other by mDNS alone.
//!
//! Two hosts joined by one cable: network namespaces of a user namespace of the test's own, so nothing leaves it and no root is needed.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_e2e::localnet::cairn;
use cairn_e2e::proc::wait_until;
use cairn_e2e::{cli, data};

/// Joins the hosts, then runs the nodes named on standard input, one line each: host, name, arguments. They end with standard input.
const HOSTS: &str = r#"
mount -t tmpfs none /run
ip netns add a
ip netns add b
ip link add veth0 netns a type veth peer name veth0 netns b
for host in a b; do ip -n $host link set lo up; ip -n $host link set veth0 up multicast on; done
ip -n a addr add 10.77.0.1/24 dev veth0
ip -n b addr add 10.77.0.2/24 dev veth0
run() {
  host=$1 name=$2
  shift 2
  nsenter --net=/run/netns/$host "$CAIRN" "$@" --mdns --stop-at-stdin-end --dir "$BASE/$name" <&3 >>"$BASE/$name.log" 2>&1 &
}
exec 3<&0
"#;

struct Lan(Child);

impl Lan {
    fn start(base: &Path) -> Result<Lan> {
        let mut script = String::from(HOSTS);
        for (index, host) in ["a", "a", "b", "b"].into_iter().enumerate() {
            let (space, port) = (base.join(format!("space{index}")), 4501 + index);
            std::fs::create_dir(&space)?;
            script += &format!(
                "run {host} p{index} provider --space {}=1GiB --listen /ip4/0.0.0.0/tcp/{port}\n",
                space.to_str().context("UTF-8")?
            );
        }
        script += "run b gateway gateway --listen /ip4/0.0.0.0/tcp/0 --s3-listen 127.0.0.1:0\nwait\n";
        let mut shell = Command::new("unshare");
        shell.args(["--map-root-user", "--net", "--mount", "sh", "-eu", "-c", &script]);
        shell
            .env("CAIRN", cairn()?)
            .env("BASE", base)
            .stdin(Stdio::piped())
            .stderr(std::fs::File::create(base.join("hosts.log"))?);
        Ok(Lan(shell.spawn().context("start unshare (util-linux)")?))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // The nodes read the same pipe and stop at its end; the shell waits for them.
        drop(self.0.stdin.take().map(|mut stdin| stdin.flush()));
        let _ = self.0.wait();
    }
}

fn logs(base: &Path) -> String {
    let tail = |name: &str| {
        let text = std::fs::read_to_string(base.join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(6).collect();
        format!("{name}:\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    };
    ["hosts.log", "gateway.log", "p0.log", "p2.log"].map(tail).concat()
}

#[test]
fn nodes_on_one_lan_find_each_other_without_a_bootstrap_address() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("cairn-lan-").tempdir()?;
    let base = dir.path();
    for (role, name) in [("provider", "p0"), ("provider", "p1"), ("provider", "p2"), ("provider", "p3"), ("gateway", "gateway")] {
        cli::json_in(&base.join(name), &["init", "--role", role])?;
    }
    let lan = Lan::start(base)?;
    let gateway = base.join("gateway");
    let met = wait_until("all four providers to be found", Duration::from_secs(60), || {
        let status = cli::json_in(&gateway, &["status"])?;
        let usable = status["providers"].as_array().context("no providers")?.iter().filter(|provider| provider["usable"] == true);
        Ok((usable.count() == 4).then_some(()))
    });
    met.with_context(|| logs(base))?;
    let (source, back) = (base.join("source"), base.join("back"));
    data::write_file(&source, 1, 3_000_000)?;
    cli::text_in(&gateway, &["mb", "lan"])?;
    cli::text_in(&gateway, &["put", source.to_str().context("UTF-8")?, "lan/file"])?;
    cli::text_in(&gateway, &["get", "lan/file", back.to_str().context("UTF-8")?])?;
    ensure!(std::fs::read(&source)? == std::fs::read(&back)?, "the file came back different");
    drop(lan);
    Ok(())
}
