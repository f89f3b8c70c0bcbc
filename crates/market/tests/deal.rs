//! Every pair of a deal's state and an event, and what holds along any life.

use cairn_market::deal::{Cause, Deal, Effect, End, Epoch, Event, LATE_EPOCHS_MAX, Moved, NotAllowed, SILENT_EPOCHS_MAX};
use proptest::prelude::*;

const NOW: Epoch = Epoch(20);

/// One column for each event; those of an epoch are the one before [`NOW`], [`NOW`], and the one after.
fn events() -> Vec<Event> {
    type Make = fn(Epoch) -> Event;
    let at: [Make; 5] = [
        |epoch| Event::Proved { epoch },
        |epoch| Event::Missed { epoch },
        |epoch| Event::Failed { epoch },
        |epoch| Event::Diverged { epoch },
        |epoch| Event::Ticked { epoch },
    ];
    let once = [Event::Accepted, Event::Declined, Event::Opened { epoch: NOW }, Event::Leave, Event::Expired, Event::Closed];
    once.into_iter().chain(at.iter().flat_map(|make| [19, 20, 21].map(Epoch).map(make))).collect()
}

/// Every state, with what each event of [`events`] leads to: `-` is not allowed, `=` stays, else a state; then effects by their letters.
#[rustfmt::skip]
const TABLE: [(&str, &str); 18] = [
    //           accepted declined opened leave expired closed | proved | missed | failed | diverged | ticked
    ("proposed",  "agreed:O declined!:F - left!:F expired!:F - | - - - | - - - | - - - | - - - | = = ="),
    ("agreed",    "= - active20 left~:C expired~:C closed!:F | - - - | - - - | - - - | - - - | = = ="),
    ("active20",  "- - = left~:C expired~:C closed!:RF | - active21:P - | - late20:HS - | - lost20:HESR - | - =:HY - | = = late20:HS"),
    ("late20",    "- - = left~:C expired~:C closed!:RF | - active21:PT active22:PT | - =:H =:H | - lost20:HESR lost20:HESR | - =:HY =:HY | = = ="),
    ("silent20",  "- - = left~:C expired~:C silent!:F | - active21:PT active22:PT | - =:H =:H | - lost20:HESR lost20:HESR | - =:HY =:HY | = = ="),
    ("lost20",    "- - = lost~:C lost~:C lost!:F | - =:H =:H | - =:H =:H | - =:HE =:HE | - =:HY =:HY | = = ="),
    ("left~",     "- - =:C = = left!:F | =:P =:P =:P | =:H =:H =:H | lost~:HE lost~:HE lost~:HE | =:H =:H =:H | = = ="),
    ("expired~",  "- - =:C = = expired!:F | =:P =:P =:P | =:H =:H =:H | lost~:HE lost~:HE lost~:HE | =:H =:H =:H | = = ="),
    ("declined~", "- - =:C = = declined!:F | =:H =:H =:H | =:H =:H =:H | =:HE =:HE =:HE | =:H =:H =:H | = = ="),
    ("silent~",   "- - =:C = = silent!:F | =:H =:H =:H | =:H =:H =:H | =:HE =:HE =:HE | =:H =:H =:H | = = ="),
    ("lost~",     "- - =:C = = lost!:F | =:H =:H =:H | =:H =:H =:H | =:HE =:HE =:HE | =:H =:H =:H | = = ="),
    ("closed~",   "- - =:C = = closed!:F | =:H =:H =:H | =:H =:H =:H | =:HE =:HE =:HE | =:H =:H =:H | = = ="),
    ("left!",     "- - - - - - | - - - | - - - | - - - | - - - | - - -"),
    ("expired!",  "- - - - - - | - - - | - - - | - - - | - - - | - - -"),
    ("declined!", "- - - - - - | - - - | - - - | - - - | - - - | - - -"),
    ("silent!",   "- - - - - - | - - - | - - - | - - - | - - - | - - -"),
    ("lost!",     "- - - - - - | - - - | - - - | - - - | - - - | - - -"),
    ("closed!",   "- - - - - - | - - - | - - - | - - - | - - - | - - -"),
];

/// A state by its name in the table: `~` is ending, `!` is ended.
fn deal(name: &str) -> Deal {
    let end = |name: &str| match name {
        "declined" => End::Declined,
        "left" => End::Left,
        "expired" => End::Expired,
        "silent" => End::Silent,
        "lost" => End::Lost,
        "closed" => End::Closed,
        other => panic!("no end is called {other}"),
    };
    let epoch = |digits: &str| Epoch(digits.parse().expect("an epoch"));
    match name {
        "proposed" => Deal::Proposed,
        "agreed" => Deal::Agreed,
        name if name.ends_with('~') => Deal::Ending { end: end(name.trim_end_matches('~')) },
        name if name.ends_with('!') => Deal::Ended { end: end(name.trim_end_matches('!')) },
        name => match name.split_at(name.len() - 2) {
            ("active", due) => Deal::Active { due: epoch(due) },
            ("late", since) => Deal::Late { since: epoch(since) },
            ("silent", since) => Deal::Suspect { since: epoch(since), cause: Cause::Silent },
            ("lost", since) => Deal::Suspect { since: epoch(since), cause: Cause::Lost },
            _ => panic!("no state is called {name}"),
        },
    }
}

fn effect(letter: char, event: Event) -> Effect {
    match (letter, event) {
        ('O', _) => Effect::OpenChannel,
        ('P', Event::Proved { epoch }) => Effect::Pay { epoch },
        ('H', _) => Effect::Withhold,
        ('E', _) => Effect::Evidence,
        ('S', _) => Effect::Suspect,
        ('T', _) => Effect::Trust,
        ('Y', _) => Effect::Resync,
        ('R', _) => Effect::Repair,
        ('C', _) => Effect::CloseChannel,
        ('F', _) => Effect::Forget,
        other => panic!("no effect is called {other:?}"),
    }
}

#[test]
fn every_pair_of_state_and_event_is_decided() {
    for (name, row) in TABLE {
        let cells: Vec<&str> = row.split_whitespace().filter(|cell| *cell != "|").collect();
        assert_eq!(cells.len(), events().len(), "row {name}");
        for (cell, event) in cells.into_iter().zip(events()) {
            let before = deal(name);
            let (state, letters) = cell.split_once(':').unwrap_or((cell, ""));
            let expected = match state {
                "-" => Err(NotAllowed { deal: before, event }),
                state => Ok(Moved {
                    deal: if state == "=" { before } else { deal(state) },
                    effects: letters.chars().map(|letter| effect(letter, event)).collect(),
                }),
            };
            assert_eq!(before.apply(event), expected, "{name} and {event:?}");
        }
    }
}

#[test]
fn epochs_without_a_proof_lead_to_repair_and_then_to_the_end() {
    let mut deal = Deal::Active { due: Epoch(5) };
    let mut seen = Vec::new();
    for epoch in 5..40 {
        let moved = deal.apply(Event::Ticked { epoch: Epoch(epoch) }).expect("time passes in every state but the last");
        if !moved.effects.is_empty() {
            seen.push((epoch, moved.effects));
        }
        deal = moved.deal;
    }
    let expected = [
        (6, vec![Effect::Withhold, Effect::Suspect]),
        (5 + LATE_EPOCHS_MAX, vec![Effect::Repair]),
        (5 + SILENT_EPOCHS_MAX, vec![Effect::CloseChannel]),
    ];
    assert_eq!(seen, expected);
    assert_eq!(deal, Deal::Ending { end: End::Silent });
}

fn any_event() -> impl Strategy<Value = Event> {
    let epoch = prop_oneof![0u64..30, Just(u64::MAX)].prop_map(Epoch);
    (0usize..11, epoch).prop_map(|(kind, epoch)| match kind {
        0 => Event::Accepted,
        1 => Event::Declined,
        2 => Event::Opened { epoch },
        3 => Event::Proved { epoch },
        4 => Event::Missed { epoch },
        5 => Event::Failed { epoch },
        6 => Event::Diverged { epoch },
        7 => Event::Ticked { epoch },
        8 => Event::Leave,
        9 => Event::Expired,
        _ => Event::Closed,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any events in any order: no panic; only proofs are paid, none twice; nobody who lost data is paid; the end is the end.
    #[test]
    fn a_life_is_total(events in prop::collection::vec(any_event(), 0..60)) {
        let mut deal = Deal::Proposed;
        let (mut paid_to, mut lost_data, mut closed) = (None, false, false);
        for event in events {
            let Ok(Moved { deal: next, effects }) = deal.apply(event) else { continue };
            prop_assert!(!matches!(deal, Deal::Ended { .. }), "nothing happens after the end");
            lost_data |= matches!(event, Event::Failed { .. });
            for effect in effects {
                if let Effect::Pay { epoch } = effect {
                    prop_assert_eq!(event, Event::Proved { epoch });
                    prop_assert!(!lost_data);
                    if !matches!(deal, Deal::Ending { .. }) {
                        prop_assert!(paid_to.is_none_or(|paid| epoch > paid || epoch == Epoch(u64::MAX)));
                        paid_to = Some(epoch);
                    }
                }
                prop_assert!(!closed, "{:?} after Forget", effect);
                closed = effect == Effect::Forget;
            }
            prop_assert_eq!(closed, matches!(next, Deal::Ended { .. }));
            deal = next;
        }
    }
}
