//! The native commands put, get, ls, rm and stat: the same objects as through S3, with machine-readable answers.

use anyhow::{Context, Result, ensure};
use cairn_e2e::{Localnet, cli, data};

#[test]
fn objects_make_the_round_trip_through_the_native_commands() -> Result<()> {
    let net = Localnet::start(8)?;
    let (source, back) = (net.scratch("source.bin"), net.scratch("back.bin"));
    let path = |path: &std::path::Path| path.to_str().map(String::from).context("temporary paths are UTF-8");
    cli::text(&net, &["mb", "native"])?;
    for (seed, len) in [(1, 0u64), (2, 1), (3, 70_000), (4, 80_000_001)] {
        data::write_file(&source, seed, len)?;
        let target = format!("native/dir/with space {seed}");
        cli::text(&net, &["put", &path(&source)?, &target])?;
        let stat = cli::json(&net, &["stat", &target])?;
        ensure!(stat["len"] == len || stat["size"] == len, "stat of {target}: {stat}");
        cli::text(&net, &["get", &target, &path(&back)?])?;
        let sums = (data::sha256_of(std::fs::File::open(&source)?)?, data::sha256_of(std::fs::File::open(&back)?)?);
        ensure!(sums.0 == sums.1, "{target} came back different: {sums:?}");
        net.s3()?.check_stream("native", &format!("dir/with space {seed}"), seed, len).context("through S3")?;
        std::fs::remove_file(&back)?;
    }
    let listed = cli::text(&net, &["ls", "-r", "native"])?;
    for seed in 1..=4 {
        ensure!(listed.contains(&format!("dir/with space {seed}")), "ls: {listed}");
    }
    let shared = cli::json(&net, &["share", "native/dir/with space 3", "--expires", "1h"])?;
    let url = shared["url"].as_str().context("a link")?;
    let stranger = ureq::Agent::from(ureq::Agent::config_builder().proxy(None).build());
    let answer = stranger.get(url).call()?.into_body().with_config().limit(1 << 20).read_to_vec()?;
    ensure!(answer.len() == 70_000, "the link gives {} bytes", answer.len());
    ensure!(stranger.get(url.replace("space%203", "space%204")).call().is_err(), "a link opens one object");
    cli::text(&net, &["key", "revoke", shared["access_key"].as_str().context("its key")?])?;
    ensure!(stranger.get(url).call().is_err(), "a link whose key was revoked is dead");
    cli::text(&net, &["rm", "native/dir/with space 1"])?;
    ensure!(net.s3()?.list("native")?.len() == 3, "rm removed something else");
    Ok(())
}

#[test]
fn a_directory_makes_the_round_trip() -> Result<()> {
    let net = Localnet::start(8)?;
    let (up, down) = (net.scratch("up"), net.scratch("down"));
    data::write_tree(&up, 5, 60, 10_000_000)?;
    cli::text(&net, &["mb", "tree"])?;
    let (up_text, down_text) = (up.to_str().context("UTF-8")?, down.to_str().context("UTF-8")?);
    cli::text(&net, &["put", "-r", up_text, "tree/"])?;
    cli::text(&net, &["get", "-r", "tree/", down_text])?;
    data::check_same_tree(&up, &down)
}

#[test]
fn failures_have_their_exit_codes() -> Result<()> {
    let net = Localnet::start(4)?;
    cli::text(&net, &["mb", "native"])?;
    for (args, code) in [
        (&["get", "native/nothing", "-"][..], 3),
        (&["stat", "native/nothing"], 3),
        (&["get", "no-such-bucket/x", "-"], 3),
        (&["put", "/nonexistent/file", "native/x"], 1),
    ] {
        ensure!(cli::code(&net, args)? == code, "{args:?}: expected exit code {code}, got {}", cli::code(&net, args)?);
    }
    Ok(())
}
