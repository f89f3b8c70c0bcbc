//! Commands of the binary against a running network.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::localnet::{Localnet, cairn};

/// Runs a command and gives its standard output; any failure shows both outputs.
pub fn text(net: &Localnet, args: &[&str]) -> Result<String> {
    text_in(&net.dir(), args)
}

/// As [`text`], for any data directory.
pub fn text_in(dir: &Path, args: &[&str]) -> Result<String> {
    succeed(args, run(dir, args)?)
}

/// As [`text`], for a command line that says itself where it works.
pub fn bare(args: &[&str]) -> Result<String> {
    let output = Command::new(cairn()?).args(args).env_remove("CAIRN_DIR").stdin(Stdio::null()).output()?;
    succeed(args, output)
}

/// Runs a command with `--json` and gives its first line.
pub fn json(net: &Localnet, args: &[&str]) -> Result<serde_json::Value> {
    json_in(&net.dir(), args)
}

/// As [`json`], for any data directory.
pub fn json_in(dir: &Path, args: &[&str]) -> Result<serde_json::Value> {
    let args = [args, &["--json"]].concat();
    let said = succeed(&args, run(dir, &args)?)?;
    serde_json::from_str(said.lines().next().context("nothing was printed")?).with_context(|| said.clone())
}

/// Runs a command with `--json` and gives each of its lines.
pub fn lines_in(dir: &Path, args: &[&str]) -> Result<Vec<serde_json::Value>> {
    let said = text_in(dir, &[args, &["--json"]].concat())?;
    said.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// Base units of a field.
pub fn units(value: &serde_json::Value, field: impl serde_json::value::Index + std::fmt::Display) -> Result<u128> {
    value[&field].as_str().with_context(|| format!("no {field} in {value}"))?.parse().context("base units")
}

/// Runs a command and gives its exit code.
pub fn code(net: &Localnet, args: &[&str]) -> Result<i32> {
    run(&net.dir(), args)?.status.code().context("ended by a signal")
}

fn succeed(args: &[&str], output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "cairn {args:?} ended with {}: {said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

fn run(dir: &Path, args: &[&str]) -> Result<Output> {
    Ok(Command::new(cairn()?).args(args).arg("--dir").arg(dir).env_remove("CAIRN_DIR").stdin(Stdio::null()).output()?)
}
