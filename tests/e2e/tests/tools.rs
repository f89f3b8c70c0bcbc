//! The S3 tools that people have: files go in and come back byte for byte.
//!
//! Never: a tool skipped because it is missing. s3fs alone needs `/dev/fuse`, and says so where there is none. Limits: `CAIRN_E2E_LARGE_MIB` sets the large file of the aws test (1,024 by default).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use cairn_e2e::tool::Tools;
use cairn_e2e::{Localnet, data};

const MIB: u64 = 1 << 20;

fn network() -> Result<(Localnet, Tools)> {
    let net = Localnet::start(8)?;
    let tools = Tools::new(net.ready(), &net.scratch("home"))?;
    Ok((net, tools))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("temporary paths are UTF-8")
}

#[test]
fn aws_copies_a_directory_with_a_large_file_many_small_ones_and_odd_names() -> Result<()> {
    let large_mib = std::env::var("CAIRN_E2E_LARGE_MIB").map_or(Ok(1024), |text| text.parse::<u64>())?;
    let (net, tools) = network()?;
    let (up, down) = (net.scratch("up"), net.scratch("down"));
    data::write_tree(&up, 1, 1000, large_mib * MIB)?;
    tools.aws(&["mb", "s3://tree"])?;
    tools.aws(&["cp", "--recursive", "--only-show-errors", text(&up)?, "s3://tree/"])?;
    let mut names = net.s3()?.list("tree")?;
    names.sort();
    let mut expected: Vec<String> = Vec::new();
    for (path, ..) in data::digest_tree(&up)? {
        expected.push(text(&path)?.to_string());
    }
    expected.sort();
    ensure!(names == expected, "the listing has {} keys, {} files were copied", names.len(), expected.len());
    tools.aws(&["cp", "--recursive", "--only-show-errors", "s3://tree/", text(&down)?])?;
    data::check_same_tree(&up, &down)?;
    tools.aws(&["rm", "--recursive", "--only-show-errors", "s3://tree"])?;
    tools.aws(&["rb", "s3://tree"])?;
    Ok(())
}

#[test]
fn keys_that_no_file_can_have_are_kept_apart() -> Result<()> {
    let net = Localnet::start(4)?;
    let s3 = net.s3()?;
    s3.create_bucket("keys")?;
    let mut keys = data::odd_names();
    keys.extend(
        ["a//b", "a/b", "a/", "a/./b", "a/../b", "../up", "b", "x".repeat(1024).as_str(), "new\nline", "tab\t"].map(String::from),
    );
    keys.push("é".repeat(512));
    for (seed, key) in keys.iter().enumerate() {
        s3.put("keys", key, &data::bytes(seed as u64, 500 + seed)).with_context(|| format!("{key:?}"))?;
    }
    for (seed, key) in keys.iter().enumerate() {
        let got = s3.get("keys", key).with_context(|| format!("{key:?}"))?;
        ensure!(data::sha256(&got) == data::sha256(&data::bytes(seed as u64, 500 + seed)), "{key:?} came back as another object");
    }
    let too_long = s3.send("PUT", "keys", &"x".repeat(1025), &[], &[], cairn_e2e::Body::Bytes(b"x"))?;
    ensure!(too_long.status == 400, "a key of 1,025 bytes was answered with {}", too_long.status);
    Ok(())
}

#[test]
fn boto3_moves_objects_in_threaded_multipart() -> Result<()> {
    let (_net, tools) = network()?;
    tools.python("boto3_multipart.py", &["100"])?;
    Ok(())
}

#[test]
fn rclone_copies_and_its_check_finds_no_difference() -> Result<()> {
    let (net, tools) = network()?;
    let (up, down) = (net.scratch("up"), net.scratch("down"));
    data::write_tree(&up, 2, 200, 70 * MIB)?;
    tools.run("rclone", ["mkdir", "cairn:rclone"])?;
    tools.run("rclone", ["copy", text(&up)?, "cairn:rclone"])?;
    tools.run("rclone", ["check", "--download", text(&up)?, "cairn:rclone"])?;
    tools.run("rclone", ["copy", "cairn:rclone", text(&down)?])?;
    data::check_same_tree(&up, &down)?;
    data::write_file(&up.join("small/00/0000.bin"), 99, 12_345)?;
    ensure!(tools.run("rclone", ["check", text(&up)?, "cairn:rclone"]).is_err(), "rclone check missed a changed file");
    tools.run("rclone", ["sync", text(&up)?, "cairn:rclone"])?;
    tools.run("rclone", ["check", "--download", text(&up)?, "cairn:rclone"])?;
    Ok(())
}

#[test]
fn restic_backs_up_checks_and_restores() -> Result<()> {
    let (net, tools) = network()?;
    let (up, down) = (net.scratch("up"), net.scratch("down"));
    data::write_tree(&up, 3, 200, 40 * MIB)?;
    tools.aws(&["mb", "s3://restic"])?;
    tools.restic("restic", &["init"])?;
    tools.restic("restic", &["backup", text(&up)?])?;
    data::write_file(&up.join("later.bin"), 77, 3 * MIB)?;
    tools.restic("restic", &["backup", text(&up)?])?;
    tools.restic("restic", &["check", "--read-data"])?;
    tools.restic("restic", &["restore", "latest", "--target", text(&down)?])?;
    data::check_same_tree(&up, &down.join(up.strip_prefix("/")?))?;
    tools.restic("restic", &["forget", "--keep-last", "1", "--prune"])?;
    tools.restic("restic", &["check", "--read-data"])?;
    Ok(())
}

#[test]
fn s3cmd_puts_gets_lists_and_syncs() -> Result<()> {
    let (net, tools) = network()?;
    let (up, down, back) = (net.scratch("up"), net.scratch("down"), net.scratch("back.bin"));
    data::write_tree(&up, 4, 50, 40 * MIB)?;
    tools.s3cmd(&["mb", "s3://s3cmd"])?;
    tools.s3cmd(&["put", text(&up.join("large.bin"))?, "s3://s3cmd/one file.bin"])?;
    let listed = tools.s3cmd(&["ls", "s3://s3cmd"])?;
    ensure!(listed.contains("s3://s3cmd/one file.bin"), "{listed}");
    tools.s3cmd(&["get", "s3://s3cmd/one file.bin", text(&back)?])?;
    let (sent, got) = (std::fs::File::open(up.join("large.bin"))?, std::fs::File::open(&back)?);
    ensure!(data::sha256_of(sent)? == data::sha256_of(got)?, "the large file came back different");
    tools.s3cmd(&["mb", "s3://s3cmd-tree"])?;
    tools.s3cmd(&["sync", &format!("{}/", text(&up)?), "s3://s3cmd-tree/"])?;
    std::fs::create_dir_all(&down)?;
    tools.s3cmd(&["sync", "s3://s3cmd-tree/", &format!("{}/", text(&down)?)])?;
    data::check_same_tree(&up, &down)?;
    tools.s3cmd(&["del", "--recursive", "--force", "s3://s3cmd"])?;
    tools.s3cmd(&["rb", "s3://s3cmd"])?;
    Ok(())
}

#[test]
fn minio_js_does_its_everyday_work() -> Result<()> {
    let (_net, tools) = network()?;
    tools.node("minio.mjs", &["40"])?;
    Ok(())
}

#[test]
fn duplicity_backs_up_in_increments_verifies_and_restores() -> Result<()> {
    let (net, tools) = network()?;
    let (up, down, earlier) = (net.scratch("up"), net.scratch("down"), net.scratch("earlier"));
    let backup = "boto3+s3://duplicity/backup";
    data::write_tree(&up, 5, 100, 30 * MIB)?;
    tools.aws(&["mb", "s3://duplicity"])?;
    tools.duplicity(&["full", text(&up)?, backup])?;
    data::write_file(&up.join("later.bin"), 78, 3 * MIB)?;
    tools.duplicity(&["incremental", text(&up)?, backup])?;
    tools.duplicity(&["verify", "--compare-data", backup, text(&up)?])?;
    data::write_file(&up.join("later.bin"), 79, MIB)?;
    ensure!(tools.duplicity(&["verify", "--compare-data", backup, text(&up)?]).is_err(), "a changed file was not noticed");
    data::write_file(&up.join("later.bin"), 78, 3 * MIB)?;
    // A machine that has nothing but the keys.
    let elsewhere = Tools::new(net.ready(), &net.scratch("elsewhere"))?;
    elsewhere.duplicity(&["restore", backup, text(&down)?])?;
    data::check_same_tree(&up, &down)?;
    elsewhere.duplicity(&["remove-all-but-n-full", "1", "--force", backup])?;
    elsewhere.duplicity(&["restore", "--file-to-restore", "later.bin", backup, text(&earlier)?])?;
    let (sent, got) = (std::fs::File::open(up.join("later.bin"))?, std::fs::File::open(&earlier)?);
    ensure!(data::sha256_of(sent)? == data::sha256_of(got)?, "one file of the backup came back different");
    Ok(())
}

#[test]
fn s3fs_mounts_a_bucket_as_a_directory() -> Result<()> {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("S3FS WAS NOT TRIED: there is no /dev/fuse here");
        return Ok(());
    }
    let (net, tools) = network()?;
    let (up, down, mounted) = (net.scratch("up"), net.scratch("down"), net.scratch("mounted"));
    data::write_tree(&up, 6, 20, 20 * MIB)?;
    std::fs::remove_dir_all(up.join("long"))?; // s3fs itself takes no key of 1,024 bytes
    tools.aws(&["mb", "s3://s3fs"])?;
    let mount = tools.mount("s3fs", &mounted)?;
    tools.run("cp", ["-r", &format!("{}/.", text(&up)?), text(&mounted)?])?;
    data::check_same_tree(&up, &mounted)?;
    std::fs::rename(mounted.join("large.bin"), mounted.join("renamed.bin"))?;
    drop(mount);
    // What was written through the mount, read without it, and the other way round.
    tools.aws(&["mv", "--only-show-errors", "s3://s3fs/renamed.bin", "s3://s3fs/large.bin"])?;
    let again = net.scratch("again");
    let mount = tools.mount("s3fs", &again)?;
    tools.run("cp", ["-r", &format!("{}/.", text(&again)?), text(&down)?])?;
    data::check_same_tree(&up, &down)?;
    std::fs::remove_dir_all(again.join("small"))?;
    std::fs::remove_file(again.join("large.bin"))?;
    drop(mount);
    let left = net.s3()?.list("s3fs")?;
    ensure!(!left.iter().any(|key| key.starts_with("small/") || key == "large.bin"), "what was removed is still there: {left:?}");
    Ok(())
}
