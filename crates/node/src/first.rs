//! What somebody meets first: `cairn` without a command, shell completions, manual pages.
//!
//! Never: a change of a node; only its directory is looked at. Limits: nothing waits.

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::args::{self, Cairn};
use crate::home::{self, Role};
use crate::outcome::{ExitCode, coded, say};
use crate::status::daemons;

/// A node in its default directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Absent,
    Made,
    Running,
}

/// Runs `cairn` without a command: says what there is, and what can be done next.
pub fn first() -> Result<()> {
    let root = home::data_root()?;
    say(guide(stage(&root.join(Role::Provider.name())), stage(&root.join(Role::Gateway.name()))));
    Ok(())
}

fn stage(dir: &Path) -> Stage {
    let listens = |path: &Path| std::os::unix::net::UnixStream::connect(path).is_ok();
    match home::is_initialised(dir) {
        false => Stage::Absent,
        true if daemons(dir).iter().any(|dialer| listens(dialer.path())) => Stage::Running,
        true => Stage::Made,
    }
}

fn guide(provider: Stage, gateway: Stage) -> String {
    let mut text = String::from("Cairn: rent out disk space, or store files on the disks of others.\n");
    let mut part = |title: &str, lines: &[&str]| {
        text.push_str(&format!("\n{title}\n"));
        lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    };
    if (provider, gateway) == (Stage::Absent, Stage::Absent) {
        part(
            "Try all of it on this machine, with a ledger of its own:",
            &["cairn localnet --providers 8 --dir ./localnet", "cairn mb first --dir ./localnet"],
        );
    }
    match provider {
        Stage::Absent => part(
            "Rent out disk space:",
            &[
                "cairn init --role provider     makes the 12 words that are the account",
                "cairn provider --space /mnt/disk=500GiB --bootstrap ADDRESS --chain URL",
            ],
        ),
        Stage::Made => part(
            "Your provider does not run. Start it:",
            &["cairn provider --space DIRECTORY=LENGTH --bootstrap ADDRESS --chain URL", "cairn doctor     if it does not start"],
        ),
        Stage::Running => part(
            "Your provider runs:",
            &["cairn dashboard     its pages in a browser", "cairn status", "cairn earnings", "cairn deals"],
        ),
    }
    match gateway {
        Stage::Absent => part(
            "Store files:",
            &[
                "cairn init --role gateway      makes the 12 words that are the account",
                "cairn gateway --bootstrap ADDRESS --chain URL",
            ],
        ),
        Stage::Made => part(
            "Your gateway does not run. Start it:",
            &["cairn gateway --bootstrap ADDRESS --chain URL", "cairn doctor     if it does not start"],
        ),
        Stage::Running => part(
            "Your gateway runs:",
            &[
                "cairn dashboard     its pages in a browser",
                "cairn key create     an S3 key for your tools",
                "cairn mb BUCKET; cairn put FILE BUCKET/",
                "cairn health",
            ],
        ),
    }
    part(
        "Settings can be in a file: cairn config provider --space DIRECTORY=LENGTH > ~/.config/cairn/cairn.toml",
        &["cairn --help, and cairn COMMAND --help, say everything"],
    );
    text.truncate(text.trim_end().len());
    text
}

/// Runs `cairn completions`.
pub fn completions(args: &args::Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cairn::command(), "cairn", &mut script);
    say(String::from_utf8(script).context("clap writes UTF-8")?.trim_end());
    Ok(())
}

/// Runs `cairn man`: a page for the program and one for each command.
pub fn man(args: &args::Man) -> Result<()> {
    let written = std::fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(Cairn::command(), &args.dir));
    written.map_err(|error| {
        coded(
            ExitCode::Failure,
            format!("cannot write to {}: {error}", args.dir.display()),
            "name a directory that you may write to",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_the_guide_names_is_understood() {
        use Stage::{Absent, Made, Running};
        for (provider, gateway) in [(Absent, Absent), (Made, Absent), (Running, Made), (Made, Running), (Absent, Running)] {
            let text = guide(provider, gateway);
            let commands: Vec<String> = text
                .lines()
                .filter_map(|line| line.find("cairn ").map(|at| line[at..].to_owned()))
                .flat_map(|line| line.split(';').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
                .filter(|line| line.starts_with("cairn ") && !line.contains("--help"))
                .collect();
            assert!(commands.len() >= 4, "{text}");
            for command in commands {
                let told = command.split("  ").next().expect("one part").split(" > ").next().expect("one part").to_owned();
                let told = told
                    .replace("DIRECTORY=LENGTH", "/mnt/a=1GiB")
                    .replace("ADDRESS", "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")
                    .replace("URL", "http://127.0.0.1:1");
                if let Err(error) = <Cairn as clap::Parser>::try_parse_from(told.split_whitespace()) {
                    panic!("{told}: {error}");
                }
            }
        }
        assert!(!guide(Running, Running).contains("localnet"));
    }

    #[test]
    fn there_is_a_page_and_a_completion_for_every_command() {
        let dir = tempfile::tempdir().unwrap();
        man(&args::Man { dir: dir.path().join("man1") }).unwrap();
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cairn::command(), "cairn", &mut script);
        let script = String::from_utf8(script).unwrap();
        for command in Cairn::command().get_subcommands() {
            let page = dir.path().join(format!("man1/cairn-{}.1", command.get_name()));
            assert!(std::fs::read_to_string(&page).unwrap().contains(".TH"), "{}", page.display());
            assert!(script.contains(&format!("cairn,{})", command.get_name())), "{}", command.get_name());
        }
        assert!(man(&args::Man { dir: "/proc/no/such".into() }).is_err());
    }
}
