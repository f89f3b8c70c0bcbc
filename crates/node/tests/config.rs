//! Precedence of configuration as a person meets it: flags over environment over file over defaults, and exit codes.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn cairn(home: &Path, environment: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.env_clear().env("HOME", home).envs(environment.iter().copied()).args(args);
    command.output().unwrap()
}

fn setting(output: &Output, section: &str, key: &str) -> toml::Value {
    assert!(output.status.success(), "{output:?}");
    let table: toml::Table = std::str::from_utf8(&output.stdout).unwrap().parse().unwrap();
    table[section][key].clone()
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("cairn.toml");
    std::fs::write(&file, "[gateway]\nregion = \"file\"\n").unwrap();
    let config = format!("--config={}", file.display());
    for (environment, args, expected) in [
        (&[][..], &["config", "gateway"][..], "us-east-1"),
        (&[], &["config", "gateway", &config], "file"),
        (&[("CAIRN_REGION", "env")], &["config", "gateway", &config], "env"),
        (&[("CAIRN_REGION", "env")], &["config", "gateway", &config, "--region=flag"], "flag"),
        (&[("CAIRN_CONFIG", file.to_str().unwrap())], &["config", "gateway"], "file"),
    ] {
        let output = cairn(home.path(), environment, args);
        assert_eq!(setting(&output, "gateway", "region").as_str(), Some(expected), "{environment:?} {args:?}");
    }
}

#[test]
fn lists_are_replaced_as_a_whole() {
    let home = tempfile::tempdir().unwrap();
    let own = home.path().join(".config/cairn");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("cairn.toml"), "[network]\nbootstrap = [\"/file/1\", \"/file/2\"]\n").unwrap();
    for (environment, args, expected) in [
        (&[][..], &["config", "peer"][..], &["/file/1", "/file/2"][..]),
        (&[("CAIRN_BOOTSTRAP", "/env/1,/env/2")], &["config", "peer"], &["/env/1", "/env/2"]),
        (&[("CAIRN_BOOTSTRAP", "/env/1")], &["config", "peer", "--bootstrap=/flag"], &["/flag"]),
    ] {
        let output = cairn(home.path(), environment, args);
        let seen: Vec<String> = setting(&output, "network", "bootstrap").try_into().unwrap();
        assert_eq!(seen, expected, "{environment:?} {args:?}");
    }
}

#[test]
fn the_default_directory_follows_xdg() {
    let home = tempfile::tempdir().unwrap();
    let dir = |environment: &[(&str, &str)]| {
        setting(&cairn(home.path(), environment, &["config", "provider"]), "provider", "dir").as_str().unwrap().to_owned()
    };
    assert_eq!(dir(&[]), home.path().join(".local/share/cairn/provider").to_str().unwrap());
    assert_eq!(dir(&[("XDG_DATA_HOME", "/x")]), "/x/cairn/provider");
    assert_eq!(dir(&[("CAIRN_DIR", "/d")]), "/d");
}

#[test]
fn failures_have_their_exit_codes_and_remedies() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("bad.toml");
    std::fs::write(&file, "[gateway]\nsurprise = 1\n").unwrap();
    let (bad, nowhere) = (format!("--config={}", file.display()), format!("--dir={}", home.path().join("none").display()));
    for (args, code, says) in [
        (&["config", "gateway", &bad][..], 2, "unknown field"),
        (&["provider", &nowhere], 2, "--space"),
        (&["gateway", &nowhere], 1, "cairn init"),
        (&["ls", &nowhere], 4, "remedy"),
        (&["status", &nowhere], 4, "remedy"),
        (&["localnet", "status", &nowhere], 4, "remedy"),
        (&["stat", "bucket"], 2, "BUCKET/KEY"),
        (&["frobnicate"], 2, "unrecognized"),
        (&["doctor", &nowhere], 1, "cairn init"),
    ] {
        let output = cairn(home.path(), &[], args);
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

#[test]
fn init_shows_the_phrase_once_and_takes_it_back() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) =
        (format!("--dir={}", home.path().join("a").display()), format!("--dir={}", home.path().join("b").display()));
    let made = cairn(home.path(), &[], &["init", "--json", &first]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let words = home.path().join("words");
    std::fs::write(&words, made["phrase"].as_str().unwrap()).unwrap();
    let again = cairn(home.path(), &[], &["init", "--json", &second, "--phrase-file", words.to_str().unwrap()]);
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["peer_ids"], made["peer_ids"]);
    assert!(again["phrase"].is_null());
    let refused = cairn(home.path(), &[], &["init", &first]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already holds a phrase"));
}
