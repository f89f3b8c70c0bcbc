//! Score: how well a provider kept data and gave it back, with every item that made it so.
//!
//! What was seen counts less with every day; who was never seen stands in the middle. Durability and retrieval are two numbers: one who
//! has the data and does not give it is not one who lost it. Silence counts against retrieval only.
//! Never: floating point; the same history gives the same score everywhere. Limits: tallies saturate.

use cairn_types::UnixMs;
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// What a day leaves of what was seen before, in millionths: half after 14 days.
const DAY_KEEPS_MILLIONTHS: u128 = 951_695;
/// After so many days nothing is left of a tally of 64 bits.
const DAYS_MAX: u64 = 1000;
/// Thousandths of a probe: the unit of tallies.
const PROBE: u64 = 1000;
/// Probes, half of them good, that everybody is thought to have had: one bad probe does not ruin a newcomer.
const PRIOR: u64 = 20 * PROBE;
/// How much worse a lost probe is than a held one is good.
const LOST_WEIGHT: u64 = 50;

/// What one audit saw, in probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The data is there.
    pub held: u32,
    /// It is gone or corrupt.
    pub lost: u32,
    /// Given at once.
    pub prompt: u32,
    /// Given late.
    pub slow: u32,
    /// Not given.
    pub failed: u32,
}

/// What was seen of one provider, fading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Score {
    held: u64,
    lost: u64,
    prompt: u64,
    slow: u64,
    failed: u64,
    day: u64,
}

/// One item of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What was seen.
    pub what: &'static str,
    /// How much of it is left, in thousandths of a probe.
    pub probes_thousandths: u64,
    /// How many thousandths the score would be lower (or, if negative, higher) without it.
    pub moves_permille: i32,
}

/// A number between 0 and 1000, and what made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The score in thousandths.
    pub permille: u32,
    /// Its items.
    pub items: Vec<Item>,
}

/// Bytes of a score.
pub const SCORE_LEN: usize = 48;

impl Score {
    /// Fixed bytes for a ledger: held, lost, prompt, slow, failed, day; u64 each, big-endian.
    pub fn to_bytes(&self) -> [u8; SCORE_LEN] {
        let mut bytes = [0; SCORE_LEN];
        let words = [self.held, self.lost, self.prompt, self.slow, self.failed, self.day].map(u64::to_be_bytes);
        bytes.copy_from_slice(words.as_flattened());
        bytes
    }

    /// Reads what [`Score::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; SCORE_LEN]) -> Score {
        let (eights, _) = bytes.as_chunks::<8>();
        let word = |index: usize| u64::from_be_bytes(eights[index]);
        Score { held: word(0), lost: word(1), prompt: word(2), slow: word(3), failed: word(4), day: word(5) }
    }

    /// A provider that nothing is known of.
    pub fn new() -> Score {
        Score::default()
    }

    /// Counts what an audit saw.
    pub fn record(&mut self, now: UnixMs, seen: &Seen) {
        *self = self.faded(now);
        let add = |tally: u64, probes: u32| tally.saturating_add(u64::from(probes) * PROBE);
        self.held = add(self.held, seen.held);
        self.lost = add(self.lost, seen.lost);
        self.prompt = add(self.prompt, seen.prompt);
        self.slow = add(self.slow, seen.slow);
        self.failed = add(self.failed, seen.failed);
    }

    /// Whether the data is there, and why we think so.
    pub fn durability(&self, now: UnixMs) -> Explained {
        let seen = self.faded(now);
        explained(&[
            Part { what: "held", tally: seen.held, good: 2, weight: 1 },
            Part { what: "lost", tally: seen.lost, good: 0, weight: LOST_WEIGHT },
        ])
    }

    /// Whether readers get the data, and why we think so. What comes late counts half.
    pub fn retrieval(&self, now: UnixMs) -> Explained {
        let seen = self.faded(now);
        explained(&[
            Part { what: "prompt", tally: seen.prompt, good: 2, weight: 1 },
            Part { what: "slow", tally: seen.slow, good: 1, weight: 1 },
            Part { what: "failed", tally: seen.failed, good: 0, weight: 1 },
        ])
    }

    /// This score as it is at `now`; a clock that goes back changes nothing.
    fn faded(&self, now: UnixMs) -> Score {
        let today = now.0 / DAY_MS;
        let days = today.saturating_sub(self.day).min(DAYS_MAX);
        let fade = |tally: u64| {
            let left = |tally: u128, _: u64| tally * DAY_KEEPS_MILLIONTHS / 1_000_000;
            (0..days).fold(u128::from(tally), left) as u64 // never more than before
        };
        Score {
            held: fade(self.held),
            lost: fade(self.lost),
            prompt: fade(self.prompt),
            slow: fade(self.slow),
            failed: fade(self.failed),
            day: self.day.max(today),
        }
    }
}

/// One kind of thing seen: `good` halves of it speak for the provider.
#[derive(Clone, Copy)]
struct Part {
    what: &'static str,
    tally: u64,
    good: u64,
    weight: u64,
}

fn explained(parts: &[Part]) -> Explained {
    let permille = permille(parts.iter());
    let item = |(index, part): (usize, &Part)| {
        let others = parts.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, part)| part);
        let moves = i64::from(permille) - i64::from(self::permille(others));
        Item { what: part.what, probes_thousandths: part.tally, moves_permille: moves as i32 }
    };
    Explained { permille, items: parts.iter().enumerate().map(item).collect() }
}

fn permille<'a>(parts: impl Iterator<Item = &'a Part>) -> u32 {
    let (mut good, mut all) = (u128::from(PRIOR), 2 * u128::from(PRIOR));
    for part in parts {
        let weighted = u128::from(part.tally) * u128::from(part.weight);
        good += weighted * u128::from(part.good);
        all += weighted * 2;
    }
    (good * 1000 / all) as u32 // good is never more than all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: Seen = Seen { held: 100, lost: 0, prompt: 100, slow: 0, failed: 0 };

    fn days(days: u64) -> UnixMs {
        UnixMs(days * DAY_MS)
    }

    #[test]
    fn a_score_comes_back_from_its_bytes() {
        let mut score = Score::new();
        score.record(UnixMs(77 * DAY_MS), &Seen { held: 1, lost: 2, prompt: 3, slow: 4, failed: 5 });
        assert_eq!(Score::from_bytes(&score.to_bytes()), score);
        assert_eq!(score.to_bytes()[40..], 77u64.to_be_bytes());
    }

    #[test]
    fn a_newcomer_stands_in_the_middle() {
        let score = Score::new();
        assert_eq!((score.durability(days(5)).permille, score.retrieval(days(5)).permille), (500, 500));
    }

    #[test]
    fn every_item_says_what_it_moved() {
        let mut score = Score::new();
        score.record(days(100), &Seen { held: 90, lost: 2, prompt: 60, slow: 20, failed: 10 });
        let item = |what, probes, moves_permille| Item { what, probes_thousandths: probes * PROBE, moves_permille };
        let durability = Explained { permille: 476, items: vec![item("held", 90, 393), item("lost", 2, -433)] };
        assert_eq!(score.durability(days(100)), durability);
        let retrieval =
            Explained { permille: 727, items: vec![item("prompt", 60, 327), item("slow", 20, -50), item("failed", 10, -73)] };
        assert_eq!(score.retrieval(days(100)), retrieval);
    }

    #[test]
    fn what_was_seen_fades_by_half_in_two_weeks() {
        let mut score = Score::new();
        score.record(days(100), &GOOD);
        let held = |now: u64| score.durability(days(now)).items[0].probes_thousandths;
        assert_eq!(held(100), 100_000);
        assert!((49_900..=50_100).contains(&held(114)), "{}", held(114));
        assert!((24_900..=25_100).contains(&held(128)), "{}", held(128));
        assert_eq!((held(1000), held(u64::MAX / DAY_MS)), (0, 0));
        assert_eq!(held(99), 100_000, "a clock that goes back changes nothing");
        let mut back = score;
        back.record(days(90), &Seen::default());
        assert_eq!(back.durability(days(100)).items[0].probes_thousandths, 100_000, "and nothing fades twice");
        assert_eq!(score.durability(days(1000)).permille, 500, "who was long not seen is a newcomer again");
    }

    #[test]
    fn losing_and_withholding_are_two_things() {
        let (mut loses, mut withholds) = (Score::new(), Score::new());
        for day in 0..30 {
            loses.record(days(day), &Seen { held: 127, lost: 1, prompt: 127, slow: 0, failed: 1 });
            withholds.record(days(day), &Seen { held: 0, lost: 0, prompt: 0, slow: 0, failed: 128 });
        }
        let now = days(30);
        assert!(loses.durability(now).permille < 750 && loses.retrieval(now).permille > 950);
        assert!(withholds.durability(now).permille == 500 && withholds.retrieval(now).permille < 50);
    }

    proptest! {
        #[test]
        fn a_score_is_between_nothing_and_all(records in prop::collection::vec((any::<u64>(), any::<[u32; 5]>()), 0..20), now: u64) {
            let mut score = Score::new();
            for (at, [held, lost, prompt, slow, failed]) in records {
                score.record(UnixMs(at), &Seen { held, lost, prompt, slow, failed });
            }
            for explained in [score.durability(UnixMs(now)), score.retrieval(UnixMs(now))] {
                prop_assert!(explained.permille <= 1000);
                prop_assert!(explained.items.iter().all(|item| item.moves_permille.abs() <= 1000));
            }
        }

        #[test]
        fn good_news_never_lowers_a_score_and_bad_news_never_raises_it(past: [u32; 5], more in 1u32..1000) {
            let [held, lost, prompt, slow, failed] = past.map(|count| count % 10_000);
            let with = |seen: Seen| {
                let mut score = Score::new();
                score.record(days(1), &Seen { held, lost, prompt, slow, failed });
                score.record(days(1), &seen);
                (score.durability(days(1)).permille, score.retrieval(days(1)).permille)
            };
            let (durability, retrieval) = with(Seen::default());
            let held = with(Seen { held: more, ..Seen::default() });
            let lost = with(Seen { lost: more, ..Seen::default() });
            let prompt = with(Seen { prompt: more, ..Seen::default() });
            let failed = with(Seen { failed: more, ..Seen::default() });
            prop_assert!(held.0 >= durability && lost.0 <= durability);
            prop_assert!(prompt.1 >= retrieval && failed.1 <= retrieval);
        }
    }
}
