//! A node's data directory: the phrase, the node's index, its role, and a lock so that one process uses it.
//!
//! Never: a phrase file that others can read, a phrase overwritten. Limits: a phrase file of [`PHRASE_FILE_LEN_MAX`] bytes.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use cairn_types::{DataKeys, NodeKey, Phrase, WalletKey};
use serde::{Deserialize, Serialize};

use crate::outcome::{ExitCode, coded, failure};

const PHRASE_FILE: &str = "phrase";
const NODE_FILE: &str = "node.json";
const LOCK_FILE: &str = "lock";
const NODE_FILE_VERSION: u32 = 1;
/// Bytes of a phrase file that are read at most.
pub const PHRASE_FILE_LEN_MAX: u64 = 1024;

/// What a node does. Its name is part of the node key's derivation and of the default data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Rents out disk space.
    Provider,
    /// Serves S3 and the native API.
    Gateway,
    /// Only helps others to find each other.
    Peer,
    /// Audits and pays for clients that are silent.
    Delegate,
}

impl Role {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Provider => "provider",
            Role::Gateway => "gateway",
            Role::Peer => "peer",
            Role::Delegate => "delegate",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    version: u32,
    /// Counts the machines of one role under one phrase.
    index: u32,
    /// Set by the first daemon that uses the directory.
    role: Option<Role>,
}

/// `$XDG_DATA_HOME/cairn`, by default `~/.local/share/cairn`.
///
/// # Errors
/// Neither `XDG_DATA_HOME` nor `HOME` is set.
pub fn data_root() -> Result<PathBuf> {
    xdg("XDG_DATA_HOME", ".local/share")
}

/// `$XDG_CONFIG_HOME/cairn`, by default `~/.config/cairn`.
pub fn config_root() -> Result<PathBuf> {
    xdg("XDG_CONFIG_HOME", ".config")
}

/// `$XDG_STATE_HOME/cairn`, by default `~/.local/state/cairn`.
pub fn state_root() -> Result<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state")
}

fn xdg(variable: &str, fallback: &str) -> Result<PathBuf> {
    let from_variable = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let root = from_variable.or_else(|| std::env::home_dir().map(|home| home.join(fallback)));
    root.map(|root| root.join("cairn")).ok_or_else(|| {
        coded(ExitCode::Usage, "cannot tell where the data directory is: HOME is not set", "give --dir or set HOME")
    })
}

/// Makes `dir` (and its parents) with mode 0700; an existing empty directory is tightened, any other mode is refused.
pub fn make_private_dir(dir: &Path) -> Result<()> {
    match std::fs::metadata(dir) {
        Ok(found) if !found.is_dir() => Err(failure(format!("{} is not a directory", dir.display()), "choose another --dir")),
        Ok(found) if found.permissions().mode() & 0o077 == 0 => Ok(()),
        Ok(_) if dir.read_dir().is_ok_and(|mut entries| entries.next().is_none()) => {
            std::fs::set_permissions(dir, Permissions::from_mode(0o700))
                .with_context(|| format!("cannot chmod {}", dir.display()))
        }
        Ok(found) => Err(failure(
            format!("{} is open to other users (mode {:o})", dir.display(), found.permissions().mode() & 0o777),
            format!("chmod 700 {}", dir.display()),
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("cannot make {}", dir.display())),
        Err(error) => Err(anyhow!(error).context(format!("cannot look at {}", dir.display()))),
    }
}

/// Writes a file that only its owner can read; visible whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Whether `dir` holds a phrase.
pub fn is_initialised(dir: &Path) -> bool {
    dir.join(PHRASE_FILE).exists()
}

/// Stores `phrase` in a new or empty-of-phrase directory.
///
/// # Errors
/// The directory already has a phrase, or cannot be written.
pub fn init(dir: &Path, phrase: &Phrase, index: u32) -> Result<()> {
    if is_initialised(dir) {
        return Err(failure(
            format!("{} already holds a phrase; it is not overwritten", dir.display()),
            "use another --dir, or move the directory away if its data is no longer needed",
        ));
    }
    make_private_dir(dir)?;
    write_node_file(dir, &NodeFile { version: NODE_FILE_VERSION, index, role: None })?;
    // Last, because a directory with a phrase counts as whole.
    write_private(&dir.join(PHRASE_FILE), format!("{}\n", phrase.words().as_str()).as_bytes())
}

fn write_node_file(dir: &Path, node: &NodeFile) -> Result<()> {
    write_private(&dir.join(NODE_FILE), serde_json::to_string_pretty(node)?.as_bytes())
}

/// Reads a phrase from a file of its words.
pub fn read_phrase(path: &Path) -> Result<Phrase> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(PHRASE_FILE_LEN_MAX).read_to_string(&mut text))
        .with_context(|| format!("cannot read the phrase in {}", path.display()))?;
    Phrase::parse(&text).with_context(|| format!("the phrase in {} is not usable", path.display()))
}

/// An opened data directory, locked for this process until dropped.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    phrase: Phrase,
    role: Role,
    index: u32,
    _lock: File,
}

impl Home {
    /// Opens an initialised directory for `role` and locks it.
    ///
    /// # Errors
    /// No phrase, modes too open, used by another role or by another process; each with its remedy.
    pub fn open(dir: &Path, role: Role) -> Result<Home> {
        if !is_initialised(dir) {
            return Err(failure(
                format!("{} has no phrase yet", dir.display()),
                format!("cairn init --role {} --dir {}", role.name(), dir.display()),
            ));
        }
        make_private_dir(dir)?;
        let phrase_path = dir.join(PHRASE_FILE);
        let mode = std::fs::metadata(&phrase_path)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(failure(
                format!("{} can be read by other users (mode {mode:o})", phrase_path.display()),
                format!("chmod 600 {}", phrase_path.display()),
            ));
        }
        let lock = take_lock(dir)?;
        let index = claim_role(dir, role)?;
        Ok(Home { dir: dir.to_owned(), phrase: read_phrase(&phrase_path)?, role, index, _lock: lock })
    }

    /// A path inside the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// This node's key.
    pub fn node_key(&self) -> NodeKey {
        self.phrase.node_key(self.role.name(), self.index)
    }

    /// The account's wallet: holds credits, pays and is paid.
    pub fn wallet_key(&self) -> WalletKey {
        self.phrase.wallet_key(0)
    }

    /// This machine's session key: signs vouchers, releases and commitments.
    pub fn session_key(&self) -> WalletKey {
        self.phrase.session_key(self.role.name(), self.index)
    }

    /// Keys that seal the account's data.
    pub fn data_keys(&self) -> DataKeys {
        self.phrase.data_keys()
    }
}

/// The key of the node that lives in `dir`, without locking it.
pub fn peek_node_key(dir: &Path, role: Role) -> Result<NodeKey> {
    let node = read_node_file(dir)?;
    Ok(read_phrase(&dir.join(PHRASE_FILE))?.node_key(role.name(), node.index))
}

/// The wallet of the account that lives in `dir`, without locking it.
pub fn peek_wallet_key(dir: &Path) -> Result<WalletKey> {
    Ok(read_phrase(&dir.join(PHRASE_FILE))?.wallet_key(0))
}

/// The role that the first daemon claimed for `dir`, if any did.
pub fn peek_role(dir: &Path) -> Option<Role> {
    read_node_file(dir).ok()?.role
}

/// Locks `dir` for this process until the file is dropped.
///
/// # Errors
/// Another process holds it.
pub fn take_lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failure(
            format!("{} is in use by another cairn process", dir.display()),
            format!("stop it first (cairn status --dir {} shows its pid), or use another --dir", dir.display()),
        )),
        Err(TryLockError::Error(error)) => Err(anyhow!(error).context(format!("cannot lock {}", path.display()))),
    }
}

fn read_node_file(dir: &Path) -> Result<NodeFile> {
    let path = dir.join(NODE_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let node: NodeFile = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    if node.version != NODE_FILE_VERSION {
        return Err(failure(
            format!("{} has version {}, this program knows {NODE_FILE_VERSION}", path.display(), node.version),
            "use the version of cairn that wrote it",
        ));
    }
    Ok(node)
}

fn claim_role(dir: &Path, role: Role) -> Result<u32> {
    let node = read_node_file(dir)?;
    match node.role {
        Some(claimed) if claimed == role => Ok(node.index),
        Some(claimed) => Err(failure(
            format!("{} belongs to a {}, not to a {}", dir.display(), claimed.name(), role.name()),
            "give each role its own --dir",
        )),
        None => {
            write_node_file(dir, &NodeFile { role: Some(role), ..node.clone() })?;
            Ok(node.index)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::report;

    fn phrase() -> Phrase {
        Phrase::from_entropy([5; 16])
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn init_makes_files_only_the_owner_can_read_and_never_overwrites() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        init(&dir, &phrase(), 3).unwrap();
        assert_eq!((mode(&dir), mode(&dir.join(PHRASE_FILE)), mode(&dir.join(NODE_FILE))), (0o700, 0o600, 0o600));
        let before = std::fs::read(dir.join(PHRASE_FILE)).unwrap();
        assert!(init(&dir, &Phrase::from_entropy([6; 16]), 0).is_err());
        assert_eq!(std::fs::read(dir.join(PHRASE_FILE)).unwrap(), before);
        let home = Home::open(&dir, Role::Provider).unwrap();
        assert_eq!(home.node_key().id(), phrase().node_key("provider", 3).id());
        assert_eq!(peek_node_key(&dir, Role::Provider).unwrap().id(), home.node_key().id());
    }

    #[test]
    fn a_directory_serves_one_process_of_one_role_with_tight_modes() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("node");
        assert!(report(&Home::open(&dir, Role::Peer).unwrap_err()).contains("cairn init"));
        init(&dir, &phrase(), 0).unwrap();
        let home = Home::open(&dir, Role::Peer).unwrap();
        assert!(report(&Home::open(&dir, Role::Peer).unwrap_err()).contains("in use"));
        drop(home);
        assert!(report(&Home::open(&dir, Role::Gateway).unwrap_err()).contains("belongs to a peer"));
        assert_eq!(peek_role(&dir), Some(Role::Peer));
        for (path, wrong, right) in [(dir.clone(), 0o755, 0o700), (dir.join(PHRASE_FILE), 0o640, 0o600)] {
            std::fs::set_permissions(&path, Permissions::from_mode(wrong)).unwrap();
            assert!(report(&Home::open(&dir, Role::Peer).unwrap_err()).contains("chmod"), "{}", path.display());
            std::fs::set_permissions(&path, Permissions::from_mode(right)).unwrap();
        }
        Home::open(&dir, Role::Peer).unwrap();
    }

    #[test]
    fn an_empty_directory_is_tightened_and_a_full_one_refused() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("given");
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        make_private_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(dir.join("other"), b"x").unwrap();
        assert!(make_private_dir(&dir).is_err());
    }
}
