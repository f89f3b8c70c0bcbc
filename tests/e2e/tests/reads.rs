//! What a read costs the network: a small range asks only the providers that hold it.

use anyhow::{Result, ensure};
use cairn_e2e::proc::bytes_read;
use cairn_e2e::{Body, Localnet, data};

const MIB: u64 = 1 << 20;
const RANGE_LEN: u64 = 64 * 1024;

#[test]
fn a_small_range_in_the_middle_of_a_large_object_contacts_at_most_two_providers() -> Result<()> {
    let net = Localnet::start(8)?;
    let s3 = net.s3()?;
    s3.create_bucket("ranges")?;
    let len = 1024 * MIB;
    s3.put_stream("ranges", "large", 5, len)?.expect_status(200)?;
    let whole = |at: u64| {
        let mut stream = data::Stream::new(5, at + RANGE_LEN);
        std::io::copy(&mut std::io::Read::take(&mut stream, at), &mut std::io::sink())?;
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut out)?;
        anyhow::Ok(out)
    };
    for at in [len / 2, len / 2 + 12_345, len / 3, 65_520 * 7, len - RANGE_LEN] {
        let before = counts(&net)?;
        let range = format!("bytes={at}-{}", at + RANGE_LEN - 1);
        let got = s3.send("GET", "ranges", "large", &[], &[("range", &range)], Body::Empty)?.expect_status(206)?.bytes()?;
        ensure!(data::sha256(&got) == data::sha256(&whole(at)?), "{range} came back different");
        let asked: Vec<u64> = counts(&net)?.iter().zip(&before).map(|(now, before)| now - before).collect();
        // A provider that is asked for a frame reads at least one leaf of it; idle ones read less from their files.
        let contacted = asked.iter().filter(|read| **read >= 16 * 1024).count();
        ensure!((1..=2).contains(&contacted), "{range} made {contacted} providers read: {asked:?} bytes");
        let sum: u64 = asked.iter().sum();
        ensure!(sum >= RANGE_LEN, "{range}: providers read only {sum} bytes; the counting does not work");
    }
    Ok(())
}

/// Bytes that each provider process has read from its files.
fn counts(net: &Localnet) -> Result<Vec<u64>> {
    net.ready().providers.iter().map(|provider| bytes_read(provider.pid)).collect()
}
