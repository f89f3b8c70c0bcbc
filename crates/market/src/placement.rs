//! Placement: which providers get the shards of a segment.
//!
//! One shard per provider; failure domains are spread as evenly as there are providers for; within that, chance weighted by free
//! space and latency, so that no provider is starved and none is flooded.
//! Never: two shards of a segment at one provider.

use std::collections::HashMap;

use cairn_types::NodeId;

/// A provider that may be given a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The provider.
    pub node: NodeId,
    /// Who fails together with it (see [`domain_of`]).
    pub domain: String,
    /// Bytes it still takes.
    pub free_len: u64,
    /// Usual time to its first answer, in microseconds; zero when unknown.
    pub latency_us: u64,
}

/// Too few providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{have} providers can take a shard of {shard_len} bytes, {need} are needed")]
pub struct PlacementError {
    /// Providers with room.
    pub have: usize,
    /// Providers wanted.
    pub need: usize,
    /// Bytes each must take.
    pub shard_len: u64,
}

/// Failure domain of a provider: its operator's name, else the /24 (/48) of its first public address, else the node itself.
pub fn domain_of(node: NodeId, operator: &str, addresses: &[String]) -> String {
    if !operator.is_empty() {
        return format!("operator {operator}");
    }
    addresses.iter().find_map(|address| public_prefix(address)).unwrap_or_else(|| node.to_string())
}

fn public_prefix(multiaddr: &str) -> Option<String> {
    let mut parts = multiaddr.split('/').skip(1);
    match (parts.next()?, parts.next()?) {
        ("ip4", address) => {
            let address: std::net::Ipv4Addr = address.parse().ok()?;
            let public = !(address.is_private() || address.is_loopback() || address.is_link_local() || address.is_unspecified());
            let [a, b, c, _] = address.octets();
            public.then(|| format!("{a}.{b}.{c}.0/24"))
        }
        ("ip6", address) => {
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            let public = !(address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local());
            let [a, b, c, ..] = address.segments();
            public.then(|| format!("{a:x}:{b:x}:{c:x}::/48"))
        }
        _ => None,
    }
}

/// Orders the providers for `count` shards of up to `shard_len` bytes: the first `count` are to be used, the rest are spares in order.
/// `seed` drives the weighted chance; the same arguments give the same answer.
///
/// # Errors
/// [`PlacementError`] when fewer than `count` providers have room.
pub fn choose(candidates: &[Candidate], count: usize, shard_len: u64, seed: u64) -> Result<Vec<NodeId>, PlacementError> {
    let mut left: Vec<(f64, &Candidate)> = candidates
        .iter()
        .filter(|candidate| candidate.free_len >= shard_len)
        .enumerate()
        .map(|(index, candidate)| (ticket(candidate, seed, index as u64), candidate))
        .collect();
    if left.len() < count {
        return Err(PlacementError { have: left.len(), need: count, shard_len });
    }
    left.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut used: HashMap<&str, usize> = HashMap::new();
    let mut order: Vec<(usize, usize, NodeId)> = left
        .into_iter()
        .enumerate()
        .map(|(rank, (_, candidate))| {
            let earlier = used.entry(candidate.domain.as_str()).or_default();
            *earlier += 1;
            (*earlier, rank, candidate.node)
        })
        .collect();
    order.sort_unstable(); // everybody's first of a domain before anybody's second
    Ok(order.into_iter().map(|(_, _, node)| node).collect())
}

/// Weighted lottery without replacement: smallest −ln(u)/w wins (Efraimidis and Spirakis, 2006).
fn ticket(candidate: &Candidate, seed: u64, index: u64) -> f64 {
    let drawn = mix(seed ^ mix(index.wrapping_add(1)));
    let uniform = ((drawn >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    let space = (candidate.free_len as f64).sqrt().max(1.0);
    let slowness = 1.0 + candidate.latency_us as f64 / 20_000.0;
    -uniform.ln() * slowness / space
}

/// SplitMix64's finaliser (Steele, Lea, Flood, 2014).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(node: u8, domain: &str, free_len: u64) -> Candidate {
        Candidate { node: NodeId([node; 32]), domain: domain.into(), free_len, latency_us: 0 }
    }

    #[test]
    fn domains_are_spread_before_any_is_used_twice() {
        let candidates: Vec<_> = (0..12).map(|i| candidate(i, ["a", "b", "c", "d"][i as usize / 3], 1000)).collect();
        for seed in 0..200 {
            let chosen = choose(&candidates, 4, 10, seed).expect("enough room");
            let mut domains: Vec<_> = chosen[..4].iter().map(|node| node.0[0] / 3).collect();
            domains.sort_unstable();
            assert_eq!(domains, [0, 1, 2, 3], "seed {seed}");
            assert_eq!(chosen.len(), 12, "spares follow");
        }
    }

    #[test]
    fn full_providers_are_left_out_and_too_few_is_an_error() {
        let candidates = [candidate(1, "a", 5), candidate(2, "b", 100), candidate(3, "c", 100)];
        assert_eq!(choose(&candidates, 3, 10, 1), Err(PlacementError { have: 2, need: 3, shard_len: 10 }));
        assert_eq!(choose(&candidates, 2, 10, 1).expect("two have room").len(), 2);
    }

    #[test]
    fn space_and_speed_attract_shards_without_starving_anybody() {
        let mut candidates: Vec<_> = (0..8).map(|i| candidate(i, &i.to_string(), 1_000_000)).collect();
        candidates[0].free_len = 100_000_000;
        candidates[1].latency_us = 200_000;
        let mut wins = [0usize; 8];
        for seed in 0..4000 {
            for node in &choose(&candidates, 2, 10, seed).expect("enough room")[..2] {
                wins[node.0[0] as usize] += 1;
            }
        }
        assert!(wins[0] > 2 * wins[2], "{wins:?}");
        assert!(wins[1] < wins[2] / 2 && wins[1] > 10, "{wins:?}");
    }

    #[test]
    fn a_failure_domain_is_the_operator_or_the_public_prefix() {
        let node = NodeId([7; 32]);
        let check = |operator: &str, address: &str| domain_of(node, operator, &[address.to_owned()]);
        assert_eq!(check("acme", "/ip4/203.0.113.9/tcp/1"), "operator acme");
        assert_eq!(check("", "/ip4/203.0.113.9/tcp/1"), "203.0.113.0/24");
        assert_eq!(check("", "/ip6/2001:db8:7:1::9/tcp/1"), "2001:db8:7::/48");
        for private in ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/dns/x/tcp/1", "junk", ""] {
            assert_eq!(check("", private), node.to_string(), "{private}");
        }
    }
}
