//! Redundancy tier: how many shards a segment gets, chosen by how many independent providers there are.
//!
//! Source: DESIGN decision 12; the repair thresholds follow the loss arithmetic in `docs/adr/0008-redundancy-tiers.md`.
//! Never: fewer than one receipt of margin above the repair threshold.

use cairn_types::Redundancy;
use serde::Serialize;

/// Fewest providers that any automatic tier accepts.
pub const PROVIDERS_MIN: usize = 4;

/// A redundancy and what it demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// k of n.
    pub redundancy: Redundancy,
    /// Repair is due below this many healthy shards.
    pub repair_below: usize,
    /// An upload succeeds with this many receipts at least; all n are sought while there are providers to give them.
    pub receipts_min: usize,
}

/// (providers at least, k, n, repair below)
const TIERS: [(usize, usize, usize, usize); 8] = [
    (200, 29, 80, 52),
    (80, 20, 60, 38),
    (30, 10, 30, 22),
    (8, 4, 8, 5),
    (7, 3, 6, 4),
    (6, 2, 5, 3),
    (5, 2, 4, 3),
    (PROVIDERS_MIN, 2, 4, 3),
];

impl Tier {
    /// Tier for a network with `providers` independent providers that take shards; `None` below [`PROVIDERS_MIN`].
    pub fn for_providers(providers: usize) -> Option<Tier> {
        TIERS.iter().find(|(at_least, ..)| providers >= *at_least).map(|&(_, data, total, repair_below)| {
            let redundancy = Redundancy::new(data, total).expect("the table holds possible pairs");
            Tier { redundancy, repair_below, receipts_min: receipts_min(total, repair_below) }
        })
    }

    /// Tier for a redundancy that the operator fixed.
    pub fn fixed(redundancy: Redundancy) -> Tier {
        let known = TIERS.iter().find(|(_, data, total, _)| (*data, *total) == (redundancy.data(), redundancy.total()));
        let repair_below = known.map_or(redundancy.data() + redundancy.parity() / 4, |tier| tier.3);
        Tier { redundancy, repair_below, receipts_min: receipts_min(redundancy.total(), repair_below) }
    }
}

/// Repair threshold plus a margin of a tenth of the shards.
fn receipts_min(total: usize, repair_below: usize) -> usize {
    (repair_below + (total / 10).max(1)).min(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tier_follows_the_number_of_providers() {
        let check = |providers: usize| Tier::for_providers(providers).map(|t| (t.redundancy.to_string(), t.receipts_min));
        let cases = [
            (0, None),
            (3, None),
            (4, Some(("2/4", 4))),
            (5, Some(("2/4", 4))),
            (6, Some(("2/5", 4))),
            (7, Some(("3/6", 5))),
            (8, Some(("4/8", 6))),
            (29, Some(("4/8", 6))),
            (30, Some(("10/30", 25))),
            (80, Some(("20/60", 44))),
            (1000, Some(("29/80", 60))),
        ];
        for (providers, expected) in cases {
            assert_eq!(check(providers), expected.map(|(r, m)| (r.to_owned(), m)), "{providers} providers");
        }
    }

    #[test]
    fn every_redundancy_leaves_room_between_reading_and_success() {
        for data in 1..=40 {
            for total in data..=80 {
                let tier = Tier::fixed(Redundancy::new(data, total).expect("possible"));
                assert!(tier.receipts_min >= data && tier.receipts_min <= total, "{tier:?}");
            }
        }
    }
}
