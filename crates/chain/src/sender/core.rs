//! Core of the sender: what to do next with the commands that are not done, out of what the node says. No clock, no socket, no disk.
//!
//! One wallet's transactions are numbered by nonces, and a nonce is mined once. Exactly one settlement of a command follows from three rules:
//! a command has one nonce at a time; it gets another only after its nonce was used, deep enough, by something else; and nothing new is
//! signed while the chain knows a transaction of this wallet that we do not.
//! Never: two commands on one nonce. Limits: [`Policy`].

use alloy_primitives::B256;

/// Fees of a transaction, in the smallest unit of the chain's own coin, for each unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// At most this in total.
    pub max: u128,
    /// Of which to whoever makes the block.
    pub priority: u128,
}

/// Where the node has seen a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mined {
    /// Which of the attempts.
    pub tx: B256,
    /// In which block.
    pub number: u64,
    /// Whether it did what it was to do.
    pub success: bool,
    /// Gas it took.
    pub gas_used: u64,
}

/// A command that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its nonce.
    pub nonce: u64,
    /// Fees of the newest attempt.
    pub fees: Fees,
    /// Attempts so far.
    pub attempts: usize,
    /// When the newest was sent last, ms; none before the first time.
    pub sent_ms: Option<u64>,
    /// Where the node has seen one of the attempts.
    pub mined: Option<Mined>,
}

/// A command that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Place in the queue.
    pub seq: u64,
    /// None while it is only planned.
    pub signed: Option<Signed>,
}

/// What the node says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Newest block.
    pub head: u64,
    /// The wallet's next nonce after the newest block.
    pub nonce_mined: u64,
    /// The same, so many blocks back that it stays.
    pub nonce_deep: u64,
    /// The same, with what waits at the node.
    pub nonce_pending: u64,
    /// Our clock, ms.
    pub now_ms: u64,
}

/// Patience and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Blocks on top of a transaction that make it stay.
    pub confirmations: u64,
    /// A transaction that is not mined is sent again after this.
    pub resend_ms: u64,
    /// Attempts with growing fees for one nonce.
    pub attempts_max: usize,
    /// No transaction pays more for a unit of gas.
    pub fee_max: u128,
}

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Nothing now.
    Rest,
    /// This command is done or has failed on chain.
    Finish {
        /// Which.
        seq: u64,
        /// How.
        mined: Mined,
    },
    /// The chain has used this nonce for something that is no open attempt: find out for what.
    Identify {
        /// Which nonce.
        nonce: u64,
    },
    /// Send the newest attempt.
    Send {
        /// Of which command.
        seq: u64,
    },
    /// Sign the same command again with higher fees and send it.
    Bump {
        /// Which.
        seq: u64,
        /// At least these.
        fees: Fees,
    },
    /// Sign a planned command and send it.
    Sign {
        /// Which.
        seq: u64,
        /// With this nonce.
        nonce: u64,
    },
    /// A transaction before ours was dropped for good: put an empty one in its place.
    Fill {
        /// At this nonce.
        nonce: u64,
    },
    /// The node knows fewer of our transactions than were confirmed: it is behind, or the chain was put back. Nothing may be signed.
    WentBack {
        /// Ours.
        known: u64,
        /// The node's.
        found: u64,
    },
    /// The chain has a transaction of this wallet that is not ours and not deep yet. Nothing may be signed.
    Unsettled {
        /// Its nonce.
        nonce: u64,
    },
}

/// What to do next. `next_nonce`: all nonces below are accounted for. `open` in the order of the queue.
pub fn next_move(next_nonce: u64, open: &[Open], facts: &Facts, policy: &Policy) -> Move {
    if facts.nonce_mined < next_nonce {
        return Move::WentBack { known: next_nonce, found: facts.nonce_mined };
    }
    let with_nonce = |nonce: u64| {
        let mut signed = open.iter().filter_map(|command| command.signed.as_ref().map(|signed| (command.seq, signed)));
        signed.find(|(_, signed)| signed.nonce == nonce)
    };
    if next_nonce < facts.nonce_deep {
        return match with_nonce(next_nonce) {
            Some((seq, Signed { mined: Some(mined), .. })) => {
                let deep = mined.number.saturating_add(policy.confirmations) <= facts.head;
                if deep { Move::Finish { seq, mined: *mined } } else { Move::Rest } // the two answers are of different moments
            }
            _ => Move::Identify { nonce: next_nonce },
        };
    }
    for nonce in next_nonce..facts.nonce_mined {
        if with_nonce(nonce).is_none_or(|(_, signed)| signed.mined.is_none()) {
            return Move::Unsettled { nonce };
        }
    }
    let unmined = open.iter().filter_map(|command| command.signed.as_ref().map(|signed| (command.seq, signed)));
    if let Some((seq, signed)) =
        unmined.filter(|(_, signed)| signed.nonce >= facts.nonce_mined).min_by_key(|(_, signed)| signed.nonce)
    {
        return push(seq, signed, facts, policy);
    }
    match open.iter().find(|command| command.signed.is_none()) {
        Some(command) => Move::Sign { seq: command.seq, nonce: facts.nonce_pending.max(facts.nonce_mined) },
        None => Move::Rest,
    }
}

fn push(seq: u64, signed: &Signed, facts: &Facts, policy: &Policy) -> Move {
    let Some(sent_ms) = signed.sent_ms else { return Move::Send { seq } };
    if facts.now_ms.saturating_sub(sent_ms) < policy.resend_ms {
        return Move::Rest;
    }
    if signed.nonce > facts.nonce_mined {
        // Somebody else's transaction comes first, if it is still there.
        let dropped = facts.nonce_pending == facts.nonce_mined;
        return if dropped { Move::Fill { nonce: facts.nonce_mined } } else { Move::Send { seq } };
    }
    let fees = raised(signed.fees, policy.fee_max);
    match fees {
        Some(fees) if signed.attempts < policy.attempts_max => Move::Bump { seq, fees },
        _ => Move::Send { seq },
    }
}

/// A quarter more of both, as nodes want at least a tenth more for a replacement; none beyond the cap.
fn raised(fees: Fees, fee_max: u128) -> Option<Fees> {
    let more = |fee: u128| fee.saturating_add(fee / 4).saturating_add(1);
    let raised = Fees { max: more(fees.max), priority: more(fees.priority) };
    (raised.max <= fee_max).then_some(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { confirmations: 2, resend_ms: 1000, attempts_max: 3, fee_max: 1000 };

    fn facts(nonce_mined: u64, nonce_deep: u64, nonce_pending: u64) -> Facts {
        Facts { head: 100, nonce_mined, nonce_deep, nonce_pending, now_ms: 5000 }
    }

    fn planned(seq: u64) -> Open {
        Open { seq, signed: None }
    }

    fn signed(seq: u64, nonce: u64, sent_ms: Option<u64>, mined: Option<u64>) -> Open {
        let mined = mined.map(|number| Mined { tx: B256::repeat_byte(seq as u8), number, success: true, gas_used: 21_000 });
        Open { seq, signed: Some(Signed { nonce, fees: Fees { max: 100, priority: 8 }, attempts: 1, sent_ms, mined }) }
    }

    #[test]
    fn each_state_has_one_next_move() {
        let done = |seq: u64, number: u64| Mined { tx: B256::repeat_byte(seq as u8), number, success: true, gas_used: 21_000 };
        let cases: [(&str, u64, Vec<Open>, Facts, Move); 17] = [
            ("nothing to do", 5, vec![], facts(5, 5, 5), Move::Rest),
            ("a plan is signed", 5, vec![planned(1), planned(2)], facts(5, 5, 5), Move::Sign { seq: 1, nonce: 5 }),
            ("after what waits at the node", 5, vec![planned(1)], facts(5, 5, 7), Move::Sign { seq: 1, nonce: 7 }),
            ("signed before a crash", 5, vec![signed(1, 5, None, None), planned(2)], facts(5, 5, 5), Move::Send { seq: 1 }),
            ("just sent", 5, vec![signed(1, 5, Some(4500), None), planned(2)], facts(5, 5, 6), Move::Rest),
            (
                "sent long ago",
                5,
                vec![signed(1, 5, Some(4000), None)],
                facts(5, 5, 6),
                Move::Bump { seq: 1, fees: Fees { max: 126, priority: 11 } },
            ),
            (
                "mined, the next is signed",
                5,
                vec![signed(1, 5, Some(4000), Some(99)), planned(2)],
                facts(6, 5, 6),
                Move::Sign { seq: 2, nonce: 6 },
            ),
            ("deep", 5, vec![signed(1, 5, Some(4000), Some(98))], facts(6, 6, 6), Move::Finish { seq: 1, mined: done(1, 98) }),
            ("deep by one answer only", 5, vec![signed(1, 5, Some(4000), Some(99))], facts(6, 6, 6), Move::Rest),
            (
                "taken back by a reorganisation",
                5,
                vec![signed(1, 5, Some(0), None)],
                facts(5, 5, 5),
                Move::Bump { seq: 1, fees: Fees { max: 126, priority: 11 } },
            ),
            (
                "used by somebody else, not deep",
                5,
                vec![signed(1, 5, Some(0), None)],
                facts(6, 5, 6),
                Move::Unsettled { nonce: 5 },
            ),
            ("used by somebody else, deep", 5, vec![signed(1, 5, Some(0), None)], facts(6, 6, 6), Move::Identify { nonce: 5 }),
            ("a database put back to yesterday", 5, vec![planned(1)], facts(9, 9, 9), Move::Identify { nonce: 5 }),
            ("the same, not deep", 5, vec![planned(1)], facts(9, 5, 9), Move::Unsettled { nonce: 5 }),
            ("a chain put back to yesterday", 5, vec![planned(1)], facts(4, 4, 4), Move::WentBack { known: 5, found: 4 }),
            ("behind somebody else's", 5, vec![signed(1, 6, Some(0), None)], facts(5, 5, 7), Move::Send { seq: 1 }),
            ("behind a gap", 5, vec![signed(1, 6, Some(0), None)], facts(5, 5, 5), Move::Fill { nonce: 5 }),
        ];
        for (name, next_nonce, open, facts, expected) in cases {
            assert_eq!(next_move(next_nonce, &open, &facts, &POLICY), expected, "{name}");
        }
    }

    #[test]
    fn fees_grow_up_to_the_cap_and_attempts_are_counted() {
        let mut command = signed(1, 5, Some(0), None);
        let mut bumps = 0;
        while let Move::Bump { fees, .. } = next_move(5, std::slice::from_ref(&command), &facts(5, 5, 5), &POLICY) {
            let signed = command.signed.as_mut().expect("signed above");
            assert!(
                fees.max * 10 >= signed.fees.max * 11 && fees.priority * 10 >= signed.fees.priority * 11,
                "a replacement needs a tenth more"
            );
            (signed.fees, signed.attempts) = (fees, signed.attempts + 1);
            bumps += 1;
        }
        assert_eq!(bumps, POLICY.attempts_max - 1);
        let dear = Policy { fee_max: 125, ..POLICY };
        assert_eq!(next_move(5, &[signed(1, 5, Some(0), None)], &facts(5, 5, 5), &dear), Move::Send { seq: 1 });
    }
}
