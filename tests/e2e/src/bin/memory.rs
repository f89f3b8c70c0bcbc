//! Streams one large object up and down and fails when the gateway or a provider grew beyond its bound.
//!
//! Never: holds the object. Limits: `--size-mib` (10,240 by default); peaks are the kernel's `VmHWM`.
#![allow(clippy::print_stdout, reason = "a report for a person is what this program is for")]

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cairn_e2e::Localnet;
use cairn_e2e::proc::peak_memory;

const MIB: u64 = 1 << 20;
const GATEWAY_MIB_MAX: u64 = 256;
const PROVIDER_MIB_MAX: u64 = 128;
const PROVIDERS: usize = 8;
/// S3 takes at most 5 GiB in one request; what is larger goes up in parts.
const SINGLE_PUT_MIB_MAX: u64 = 5 * 1024;
const PART_MIB: u64 = 1024;

fn main() -> Result<()> {
    let size_mib = size_mib(std::env::args().skip(1).collect())?;
    let (seed, len) = (42, size_mib * MIB);
    let net = Localnet::start(PROVIDERS)?;
    let s3 = net.s3()?;
    s3.create_bucket("memory")?;
    println!("idle:       {}", report(&net)?);

    let begun = Instant::now();
    if size_mib <= SINGLE_PUT_MIB_MAX {
        s3.put_stream("memory", "large", seed, len)?.expect_status(200)?;
    } else {
        s3.put_multipart("memory", "large", seed, len, PART_MIB * MIB)?;
    }
    println!("after up:   {} ({size_mib} MiB, {:.0} MB/s)", report(&net)?, len as f64 / 1e6 / begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    s3.check_stream("memory", "large", seed, len)?;
    println!("after down: {} ({size_mib} MiB, {:.0} MB/s)", report(&net)?, len as f64 / 1e6 / begun.elapsed().as_secs_f64());

    let gateway = peak_memory(net.ready().gateway.pid)?;
    ensure!(gateway <= GATEWAY_MIB_MAX * MIB, "the gateway used {} MiB, {GATEWAY_MIB_MAX} are allowed", gateway / MIB);
    for provider in &net.ready().providers {
        let peak = peak_memory(provider.pid)?;
        ensure!(peak <= PROVIDER_MIB_MAX * MIB, "{} used {} MiB, {PROVIDER_MIB_MAX} are allowed", provider.name, peak / MIB);
    }
    println!("memory: 1 passed, 0 failed");
    Ok(())
}

fn report(net: &Localnet) -> Result<String> {
    let gateway = peak_memory(net.ready().gateway.pid)? / MIB;
    let peaks = net.ready().providers.iter().map(|provider| Ok(peak_memory(provider.pid)? / MIB)).collect::<Result<Vec<_>>>()?;
    Ok(format!("peak gateway {gateway} MiB, providers {peaks:?} MiB"))
}

fn size_mib(args: Vec<String>) -> Result<u64> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(10 * 1024),
        ["--size-mib", text] => text.parse().context("--size-mib takes a number"),
        _ => bail!("usage: scripts/memory [--size-mib COUNT]"),
    }
}
