//! Every pair of a probe's state and an outcome, and every combination that a verdict can be about.

use cairn_audit::commitment::CommitmentError;
use cairn_audit::verdict::{
    ATTEMPTS_MAX, AuditError, Committed, Durability, Effect, Event, Outcome, ProbeState, Retrieval, step, verdict,
};
use cairn_audit::{Action, Audit, Grade, ProbeFailure, Verdict};
use cairn_types::{InventoryRoot, UnixSecs};
use proptest::prelude::*;

const WRONG: ProbeFailure = ProbeFailure::WrongBytes;
const STATES: [ProbeState; 8] = [
    ProbeState::Open,
    ProbeState::Held { late: false },
    ProbeState::Held { late: true },
    ProbeState::Late,
    ProbeState::Refused { code: 1 },
    ProbeState::Corrupt { leaf: 3, reason: WRONG },
    ProbeState::Gone,
    ProbeState::Unreachable,
];
const OUTCOMES: [Outcome; 6] = [
    Outcome::Good,
    Outcome::Late,
    Outcome::Refused { code: 2 },
    Outcome::Corrupt { leaf: 4, reason: WRONG },
    Outcome::Gone,
    Outcome::Unreachable,
];
const OTHER: Committed = Committed::Other { root: InventoryRoot([1; 32]) };
const INVALID: Committed = Committed::Invalid(CommitmentError::Expired { valid_until: UnixSecs(1), now: UnixSecs(2) });

#[test]
fn every_pair_of_state_and_outcome_is_decided() {
    use ProbeState as S;
    let (on_time, late) = (Some(S::Held { late: false }), Some(S::Held { late: true }));
    let (corrupt, gone) = (Some(S::Corrupt { leaf: 4, reason: WRONG }), Some(S::Gone));
    let (one, two) = (Some(S::Refused { code: 1 }), Some(S::Refused { code: 2 }));
    let (slow, away) = (Some(S::Late), Some(S::Unreachable));
    //                good     late  refused corrupt  gone  unreachable
    let table = [
        /* open */ [on_time, slow, two, corrupt, gone, away],
        /* held */ [None; 6],
        /* held late */ [None; 6],
        /* late */ [late, slow, two, corrupt, gone, slow],
        /* refused */ [late, one, two, corrupt, gone, one],
        /* corrupt */ [None; 6],
        /* gone */ [None; 6],
        /* unreachable */ [late, slow, two, corrupt, gone, away],
    ];
    for (state, row) in STATES.iter().zip(table) {
        for (outcome, expected) in OUTCOMES.iter().zip(row) {
            assert_eq!(step(*state, *outcome), expected, "{state:?} and {outcome:?}");
        }
    }
}

#[test]
fn every_combination_has_one_grade() {
    let held = ProbeState::Held { late: false };
    let [open, _, held_late, late, refused, corrupt, gone, away] = STATES;
    use {Committed as C, Grade as G};
    let grades =
        |probe: ProbeState| [C::Matching, C::Missing, OTHER, INVALID].map(|committed| verdict(&[held, probe], &committed).grade);
    let cases = [
        (held, [G::Passed, G::Late, G::Diverged, G::Diverged]),
        (held_late, [G::Passed, G::Late, G::Diverged, G::Diverged]),
        (open, [G::Late, G::Late, G::Diverged, G::Late]),
        (late, [G::Late, G::Late, G::Diverged, G::Late]),
        (away, [G::Late, G::Late, G::Diverged, G::Late]),
        (refused, [G::Refused, G::Refused, G::Diverged, G::Refused]),
        (gone, [G::Gone, G::Gone, G::Diverged, G::Gone]),
        (corrupt, [G::Corrupt, G::Corrupt, G::Corrupt, G::Corrupt]),
    ];
    for (probe, expected) in cases {
        assert_eq!(grades(probe), expected, "{probe:?} under matching, missing, other and invalid commitments");
    }
    let rank = |probes: &[ProbeState]| verdict(probes, &Committed::Matching).grade;
    assert_eq!(rank(&[late, refused, gone, corrupt]), G::Corrupt);
    assert_eq!(rank(&[late, refused, gone]), G::Gone);
    assert_eq!(rank(&[late, refused]), G::Refused);
    assert_eq!(rank(&[]), G::Passed, "nothing stored, nothing asked");
}

#[test]
fn every_grade_says_what_follows() {
    use Action as A;
    let cases: [(Grade, &[Action]); 6] = [
        (Grade::Passed, &[A::Pay]),
        (Grade::Late, &[A::Withhold, A::Suspect]),
        (Grade::Refused, &[A::Withhold, A::Suspect]),
        (Grade::Gone, &[A::Withhold, A::Evidence, A::Suspect]),
        (Grade::Corrupt, &[A::Withhold, A::Evidence, A::Suspect]),
        (Grade::Diverged, &[A::Withhold, A::Resync]),
    ];
    for (grade, expected) in cases {
        assert_eq!(grade.actions(), expected, "{grade:?}");
        assert_eq!(expected.contains(&A::Pay), grade == Grade::Passed, "only what is proven is paid");
    }
}

#[test]
fn durability_and_retrieval_are_counted_apart() {
    let verdict = verdict(&STATES, &Committed::Matching);
    assert_eq!(verdict.durability, Durability { held: 2, lost: 2, unknown: 4 });
    assert_eq!(verdict.retrieval, Retrieval { prompt: 1, slow: 1, failed: 6 });
    assert_eq!(verdict.evidence, [5, 6]);
}

fn answered(probe: usize, outcome: Outcome) -> Event {
    Event::Answered { probe, outcome }
}

#[test]
fn a_late_probe_is_asked_again_within_the_grace() {
    let mut audit = Audit::new(2);
    assert_eq!(audit.apply(answered(0, Outcome::Good)), Ok(vec![]));
    assert_eq!(audit.apply(answered(1, Outcome::Late)), Ok(vec![Effect::Retry { probe: 1 }]));
    assert_eq!(audit.apply(Event::Committed(Committed::Matching)), Ok(vec![]), "the retry is under way");
    let effects = audit.apply(answered(1, Outcome::Good)).expect("not over");
    let expected = Verdict {
        grade: Grade::Passed,
        durability: Durability { held: 2, lost: 0, unknown: 0 },
        retrieval: Retrieval { prompt: 1, slow: 1, failed: 0 },
        evidence: vec![],
    };
    assert_eq!(effects, [Effect::Conclude(expected)]);
    for event in [answered(0, Outcome::Good), Event::Committed(Committed::Matching), Event::GraceOver] {
        assert_eq!(audit.apply(event), Err(AuditError::Over(event)));
    }
}

#[test]
fn attempts_are_bounded() {
    let mut audit = Audit::new(1);
    audit.apply(Event::Committed(Committed::Matching)).expect("not over");
    let mut retries = 0;
    let grade = loop {
        match audit.apply(answered(0, Outcome::Unreachable)).expect("not over").as_slice() {
            [Effect::Retry { probe: 0 }] => retries += 1,
            [Effect::Conclude(verdict)] => break verdict.grade,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((retries + 1, grade), (ATTEMPTS_MAX, Grade::Late));
}

#[test]
fn without_a_matching_commitment_the_audit_waits_for_one_until_the_grace_is_over() {
    let mut audit = Audit::new(1);
    assert_eq!(audit.apply(answered(0, Outcome::Good)), Ok(vec![]));
    for committed in [Committed::Missing, OTHER, INVALID] {
        assert_eq!(audit.apply(Event::Committed(committed)), Ok(vec![]), "a resync may bring a better one");
    }
    let mut resynced = audit.clone();
    assert!(matches!(
        resynced.apply(Event::Committed(Committed::Matching)).as_deref(),
        Ok([Effect::Conclude(Verdict { grade: Grade::Passed, .. })])
    ));
    assert!(matches!(audit.apply(Event::GraceOver).as_deref(), Ok([Effect::Conclude(Verdict { grade: Grade::Diverged, .. })])));
    let mut open = Audit::new(1);
    open.apply(Event::Committed(Committed::Matching)).expect("not over");
    assert_eq!(open.apply(Event::Committed(OTHER)), Err(AuditError::CommittedBefore));
}

#[test]
fn wrong_bytes_are_never_taken_back() {
    let mut audit = Audit::new(1);
    audit.apply(answered(0, OUTCOMES[3])).expect("not over");
    let state = audit.probe(0).expect("there");
    assert_eq!(audit.apply(answered(0, Outcome::Good)), Err(AuditError::Final { probe: 0, state, outcome: Outcome::Good }));
    assert_eq!(audit.apply(answered(1, Outcome::Good)), Err(AuditError::NoSuchProbe { probe: 1, probes: 1 }));
    assert_eq!(audit.probe(1), None);
}

proptest! {
    /// Whatever comes in whatever order: no panic, one conclusion at most, a bounded number of retries, all probes counted.
    #[test]
    fn an_audit_is_total(probes in 0usize..6, events in prop::collection::vec((0usize..8, 0usize..12), 0..80)) {
        let mut audit = Audit::new(probes);
        let (mut retries, mut concluded) = (0, None);
        for (probe, kind) in events {
            let event = match kind {
                0..6 => answered(probe, OUTCOMES[kind]),
                6..10 => Event::Committed([Committed::Matching, Committed::Missing, OTHER, INVALID][kind - 6]),
                10 => Event::GraceOver,
                _ => answered(usize::MAX, Outcome::Good),
            };
            let before = audit.clone();
            match audit.apply(event) {
                Err(error) => {
                    prop_assert_eq!(&audit, &before);
                    prop_assert_eq!(concluded.is_some(), matches!(error, AuditError::Over(_)));
                }
                Ok(effects) => for effect in effects {
                    match effect {
                        Effect::Retry { .. } => retries += 1,
                        Effect::Conclude(verdict) => {
                            prop_assert!(concluded.is_none());
                            concluded = Some(verdict);
                        }
                    }
                },
            }
        }
        prop_assert!(retries <= probes * usize::from(ATTEMPTS_MAX - 1));
        if let Some(Verdict { grade, durability, retrieval, evidence }) = concluded {
            prop_assert_eq!((durability.held + durability.lost + durability.unknown) as usize, probes);
            prop_assert_eq!((retrieval.prompt + retrieval.slow + retrieval.failed) as usize, probes);
            prop_assert_eq!(evidence.len(), durability.lost as usize);
            prop_assert!(grade != Grade::Passed || durability.held as usize == probes);
        }
    }
}
