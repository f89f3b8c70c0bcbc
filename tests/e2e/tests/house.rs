//! The house rules that a compiler does not hold: who may name whom, and how a file and a function look.
//!
//! Never: an exception that is not listed here by name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use syn::spanned::Spanned;
use syn::visit::Visit;

/// Our rooms and the rooms each may name; a room that does not exist yet may be listed.
const USES: [(&str, &[&str]); 13] = [
    ("types", &[]),
    ("coding", &["types"]),
    ("audit", &["types"]),
    ("market", &["types"]),
    ("proto", &["types", "audit", "market"]),
    ("net", &["types", "proto"]),
    ("chain", &["types", "market"]),
    ("provider", &["types", "audit", "market", "proto"]),
    ("client", &["types", "audit", "market", "proto", "coding"]),
    ("gateway", &["types", "client"]),
    ("node", &["types", "audit", "market", "proto", "coding", "net", "chain", "provider", "client", "gateway"]),
    ("sim", &["types", "audit", "market", "proto", "coding", "provider", "client", "gateway"]),
    ("e2e", &[]),
];

/// Dependencies that only one room may name, tests included.
const OWNED: [(&str, &str); 3] = [("libp2p", "net"), ("alloy", "chain"), ("revm", "chain")];

/// Rooms that name no runtime, file, socket, clock or random source.
const PURE: [&str; 5] = ["types", "coding", "audit", "market", "proto"];

/// Crates that a pure room may not name outside its tests.
const WORLD_CRATES: [&str; 20] = [
    "tokio",
    "tokio-util",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "hyper",
    "axum",
    "tower",
    "rocksdb",
    "rustix",
    "libc",
    "nix",
    "rand",
    "getrandom",
    "fastrand",
    "chrono",
    "time",
    "jiff",
    "tempfile",
];

/// Names that a pure room's code may not contain outside its tests.
const WORLD_NAMES: [&str; 13] = [
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "io::stdin",
    "thread_rng",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that may be longer, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];
/// Functions that may be longer (`path::name`), each with the reason.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

fn metadata() -> Result<Metadata> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    Ok(MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(vec!["--locked".into(), "--offline".into(), "--no-deps".into()])
        .exec()?)
}

fn room(package: &Package) -> Option<&str> {
    package.name.strip_prefix("cairn-")
}

/// Fails with all findings at once.
fn check(findings: Vec<String>) -> Result<()> {
    ensure!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
    Ok(())
}

#[test]
fn rooms_name_only_the_rooms_they_may() -> Result<()> {
    let (metadata, mut findings, mut seen) = (metadata()?, Vec::new(), 0);
    for package in metadata.workspace_packages() {
        let room = room(package).with_context(|| format!("{} is not called cairn-…", package.name))?;
        let Some((_, allowed)) = USES.iter().find(|(name, _)| *name == room) else {
            findings.push(format!("{room}: a room without a rule"));
            continue;
        };
        seen += 1;
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development) {
            if let Some(other) = dependency.name.strip_prefix("cairn-").filter(|other| !allowed.contains(other)) {
                findings.push(format!("{room} names {other}"));
            }
        }
    }
    ensure!(seen >= 9, "only {seen} rooms were found: the walk does not work");
    check(findings)
}

#[test]
fn owned_dependencies_have_one_owner() -> Result<()> {
    let (metadata, mut findings, mut owners) = (metadata()?, Vec::new(), BTreeSet::new());
    for package in metadata.workspace_packages() {
        let room = room(package).unwrap_or_default();
        for dependency in &package.dependencies {
            let named = |prefix: &str| dependency.name == prefix || dependency.name.starts_with(&format!("{prefix}-"));
            for (_, owner) in OWNED.iter().filter(|(prefix, _)| named(prefix)) {
                owners.insert(room.to_string());
                if *owner != room {
                    findings.push(format!("{room} names {}, which belongs to {owner}", dependency.name));
                }
            }
        }
    }
    ensure!(owners.contains("net"), "net does not name libp2p: the walk does not work");
    check(findings)
}

#[test]
fn pure_rooms_name_nothing_of_the_world() -> Result<()> {
    let (metadata, mut findings) = (metadata()?, Vec::new());
    for package in metadata.workspace_packages() {
        let room = room(package).unwrap_or_default();
        if !PURE.contains(&room) {
            continue;
        }
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal) {
            if WORLD_CRATES.contains(&dependency.name.as_str()) {
                findings.push(format!("{room} names {}", dependency.name));
            }
        }
        let src = package.manifest_path.as_std_path().parent().context("a manifest has a directory")?.join("src");
        for path in rust_files(&src)? {
            let text = std::fs::read_to_string(&path)?;
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                for name in WORLD_NAMES.iter().filter(|name| line.contains(**name)) {
                    findings.push(format!("{}:{}: {name}", path.display(), number + 1));
                }
            }
        }
    }
    check(findings)
}

#[test]
fn files_say_what_they_are_for_and_stay_short() -> Result<()> {
    let mut findings = Vec::new();
    for (path, shown) in sources()? {
        let text = std::fs::read_to_string(&path)?;
        if !text.starts_with("//!") {
            findings.push(format!("{shown}: does not open with //!"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX && !LONG_FILES.iter().any(|(name, _)| *name == shown) {
            findings.push(format!("{shown}: {lines} lines, {FILE_LINES_MAX} are allowed"));
        }
    }
    check(findings)
}

#[test]
fn functions_stay_short() -> Result<()> {
    let mut findings = Vec::new();
    for (path, shown) in sources()? {
        let file = syn::parse_file(&std::fs::read_to_string(&path)?).with_context(|| shown.clone())?;
        let mut long = LongFunctions { shown, found: Vec::new() };
        long.visit_file(&file);
        findings.extend(long.found);
    }
    check(findings)
}

struct LongFunctions {
    shown: String,
    found: Vec<String>,
}

impl LongFunctions {
    fn look(&mut self, name: &syn::Ident, block: &syn::Block) {
        let lines = block.span().end().line - block.span().start().line + 1;
        let full = format!("{}::{name}", self.shown);
        if lines > FUNCTION_LINES_MAX && !LONG_FUNCTIONS.iter().any(|(allowed, _)| *allowed == full) {
            self.found.push(format!("{full}: {lines} lines, {FUNCTION_LINES_MAX} are allowed"));
        }
    }
}

impl<'ast> Visit<'ast> for LongFunctions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.look(&item.sig.ident, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.look(&item.sig.ident, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.look(&item.sig.ident, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

/// Every Rust file of the project, with its path from the project's root.
fn sources() -> Result<Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut found = Vec::new();
    for folder in ["crates", "tests"] {
        for path in rust_files(&root.join(folder))? {
            let shown = path.strip_prefix(&root)?.display().to_string();
            found.push((path, shown));
        }
    }
    ensure!(found.len() > 30, "only {} files were found: the walk does not work", found.len());
    Ok(found)
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
