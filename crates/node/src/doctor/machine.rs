//! Checks of the machine: limits, clock, disks, ports, reachability.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, getrlimit};
use tokio::net::TcpStream;

use super::Check;
use crate::config::Space;
use crate::size::rounded;
use crate::when;

const OPEN_FILES_MIN: u64 = 1024;
const OPEN_FILES_WANTED: u64 = 16_384;
/// 2025-01-01: before any release of this program.
const EARLIEST_MS: u64 = 1_735_689_600_000;
const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(120);
const REACH: Duration = Duration::from_secs(3);
const SYNC_SLOW: Duration = Duration::from_millis(250);
/// File systems by their magic number (statfs(2)) and what is wrong with them for this purpose.
const UNFIT_FILE_SYSTEMS: [(u64, &str, &str); 5] = [
    (0x6969, "NFS", "its locks and syncs do not survive a server's crash"),
    (0xff53_4d42, "CIFS", "its syncs are not durable"),
    (0xfe53_4d42, "SMB2", "its syncs are not durable"),
    (0x0102_1994, "tmpfs", "its content is lost at the next boot"),
    (0x6573_5546, "FUSE", "whether its syncs are durable depends on the program behind it"),
];

/// `ulimit -n`.
pub fn open_files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    // Daemons raise the soft limit themselves; the hard one is what counts.
    let (name, most) = ("open files", limit.maximum.unwrap_or(u64::MAX));
    let seen = format!("{} now, {} at most", shown(limit.current), shown(limit.maximum));
    let remedy = "raise it: LimitNOFILE=65536 in the systemd unit, or nofile in /etc/security/limits.conf";
    match most {
        0..OPEN_FILES_MIN => Check::bad(name, seen, remedy),
        OPEN_FILES_MIN..OPEN_FILES_WANTED => Check::warning(name, seen, remedy),
        _ => Check::good(name, seen),
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// The clock is after this program's time and not before what was already written.
pub fn clock(dirs: &[PathBuf]) -> Check {
    let now = SystemTime::now();
    let now_ms =
        now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let remedy = "set the clock and keep it right: timedatectl set-ntp true. Adverts and signatures with wrong times are refused";
    if now_ms < EARLIEST_MS {
        return Check::bad("clock", format!("it is {}", when::utc(now_ms)), remedy);
    }
    let newest = dirs
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(|entries| entries.flatten())
        .filter_map(|entry| entry.metadata().ok()?.modified().ok().map(|modified| (modified, entry.path())))
        .max();
    match newest {
        Some((modified, path)) if modified > now + CLOCK_BEHIND_MAX => {
            let ahead = modified.duration_since(now).unwrap_or_default().as_secs();
            Check::bad(
                "clock",
                format!("{} was written {ahead} s in the future of {}", path.display(), when::utc(now_ms)),
                remedy,
            )
        }
        _ => Check::good("clock", when::utc(now_ms)),
    }
}

/// Writes and syncs a test file, and looks at the file system and its free space.
pub fn writable(name: &str, dir: &Path) -> Check {
    let path = dir.join(format!(".cairn-doctor-{}", std::process::id()));
    let begun = Instant::now();
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&[0u8; 4096])?;
        file.sync_all()
    };
    let written = write();
    let took = begun.elapsed();
    let _ = std::fs::remove_file(&path);
    if let Err(error) = written {
        return Check::bad(
            name,
            format!("a test file could not be written: {error}"),
            "mend the disk, its mount or the directory's owner",
        );
    }
    let Ok(found) = rustix::fs::statvfs(dir) else {
        return Check::warning(name, "the file system does not say how full it is", "look at it with df");
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let kind = rustix::fs::statfs(dir).map_or(0, |found| found.f_type as u64 & 0xffff_ffff);
    let seen = format!("synced in {} ms, {} free", took.as_millis(), rounded(free));
    if let Some((_, kind, why)) = UNFIT_FILE_SYSTEMS.iter().find(|(magic, ..)| *magic == kind) {
        return Check::warning(name, format!("{seen}, on {kind}: {why}"), "use a directory on a local disk");
    }
    if free < 1 << 30 {
        return Check::warning(name, seen, "make room: less than 1 GiB is left");
    }
    if took > SYNC_SLOW {
        return Check::warning(name, seen, "the disk is slow to sync; uploads wait for it");
    }
    Check::good(name, seen)
}

/// A directory that is rented out.
pub fn space(space: &Space) -> Check {
    let name = format!("space {space}");
    if !space.path.exists() {
        let remedy = "mount the disk or make the directory; a provider makes it only at its first start";
        return Check::warning(name, "the directory does not exist", remedy);
    }
    let check = writable(&name, &space.path);
    let total = rustix::fs::statvfs(&space.path).map_or(0, |found| found.f_blocks.saturating_mul(found.f_frsize));
    if total < space.len.0 {
        return Check::warning(
            name,
            format!("the disk has {} in all", rounded(total)),
            "offer less: what does not fit is refused to clients",
        );
    }
    check
}

/// A socket address can be bound.
pub fn socket_address(name: &str, address: &str) -> Check {
    let name = format!("{name} {address}");
    match address.to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
        Ok(found) if !found.is_empty() => bindable(name, TcpListener::bind(&found[..]).map(drop)),
        Ok(_) => Check::bad(name, "no address", "write HOST:PORT"),
        Err(error) => Check::bad(name, error.to_string(), "write HOST:PORT"),
    }
}

/// A multiaddr can be listened on.
pub fn listen(address: &str) -> Check {
    let name = format!("port of {address}");
    match socket_of(address).and_then(|(at, udp)| Some((at.parse::<SocketAddr>().ok()?, udp))) {
        Some((at, true)) => bindable(name, UdpSocket::bind(at).map(drop)),
        Some((at, false)) => bindable(name, TcpListener::bind(at).map(drop)),
        None => {
            Check::bad(name, "no address to listen on", "write such as /ip4/0.0.0.0/tcp/4501 or /ip4/0.0.0.0/udp/4501/quic-v1")
        }
    }
}

fn bindable(name: String, bound: std::io::Result<()>) -> Check {
    match bound {
        Ok(()) => Check::good(name, "free"),
        Err(error) => Check::bad(name, error.to_string(), "stop who holds it (ss -lnp shows who), or choose another port"),
    }
}

/// `host:port` of a multiaddr, and whether it is UDP.
fn socket_of(multiaddr: &str) -> Option<(String, bool)> {
    let parts: Vec<&str> = multiaddr.split('/').collect();
    let (["", kind, host, transport, port], _) = parts.split_first_chunk::<5>()? else { return None };
    let host = match *kind {
        "ip4" | "dns" | "dns4" => (*host).to_owned(),
        "ip6" | "dns6" => format!("[{host}]"),
        _ => return None,
    };
    let udp = match *transport {
        "tcp" => false,
        "udp" => true,
        _ => return None,
    };
    Some((format!("{host}:{port}"), udp))
}

/// Bootstrap addresses answer.
pub async fn bootstrap(addresses: &[String]) -> Vec<Check> {
    futures::future::join_all(addresses.iter().map(|address| reachable(address))).await
}

async fn reachable(address: &str) -> Check {
    let name = format!("bootstrap {address}");
    let remedy = "check the address, that the node runs, and that no firewall is between";
    let (at, udp) = match socket_of(address) {
        Some(found) => found,
        None => return Check::bad(name, "no address", "write such as /ip4/1.2.3.4/tcp/4500/p2p/12D3KooW…"),
    };
    if udp {
        return Check::good(name, "UDP: whether it answers shows only in cairn status");
    }
    let begun = Instant::now();
    match tokio::time::timeout(REACH, TcpStream::connect(&at)).await {
        Ok(Ok(_)) => Check::good(name, format!("answers in {} ms", begun.elapsed().as_millis())),
        Ok(Err(error)) => Check::bad(name, error.to_string(), remedy),
        Err(_) => Check::bad(name, format!("silent for {} s", REACH.as_secs()), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn sockets_are_found_in_multiaddrs() {
        for (text, expected) in [
            ("/ip4/1.2.3.4/tcp/5", Some(("1.2.3.4:5", false))),
            ("/ip4/1.2.3.4/tcp/5/p2p/x", Some(("1.2.3.4:5", false))),
            ("/ip6/::1/udp/5/quic-v1", Some(("[::1]:5", true))),
            ("/dns4/example.org/tcp/5", Some(("example.org:5", false))),
            ("/ip4/1.2.3.4", None),
            ("ip4/1.2.3.4/tcp/5", None),
            ("/memory/1/tcp/5", None),
            ("", None),
        ] {
            assert_eq!(socket_of(text), expected.map(|(at, udp)| (at.to_owned(), udp)), "{text}");
        }
    }

    #[test]
    fn a_taken_port_is_noticed() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        assert_eq!(listen(&format!("/ip4/127.0.0.1/tcp/{port}")).verdict, Verdict::Bad);
        drop(held);
        assert_eq!(listen(&format!("/ip4/127.0.0.1/tcp/{port}")).verdict, Verdict::Good);
        assert_eq!(listen("/ip4/127.0.0.1").verdict, Verdict::Bad);
    }

    #[test]
    fn files_from_the_future_mean_a_wrong_clock() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("f")).unwrap();
        assert_eq!(clock(&[dir.path().to_owned()]).verdict, Verdict::Good);
        file.set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
        assert_eq!(clock(&[dir.path().to_owned()]).verdict, Verdict::Bad);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_noticed() {
        assert_eq!(writable("x", Path::new("/nonexistent/dir")).verdict, Verdict::Bad);
        let dir = tempfile::tempdir().unwrap();
        assert_ne!(writable("x", dir.path()).verdict, Verdict::Bad);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_silent_bootstrap_node_is_noticed() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}/p2p/x", held.local_addr().unwrap().port());
        assert_eq!(reachable(&address).await.verdict, Verdict::Good);
        drop(held);
        assert_eq!(reachable(&address).await.verdict, Verdict::Bad);
    }
}
