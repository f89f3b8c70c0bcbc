//! Verdict: what an audit found, graded, and what follows from it.
//!
//! A pure state machine: probes come back, the commitment comes in, time runs out; at the end there is one [`Verdict`].
//! Corrupt outweighs gone, gone outweighs refused, refused outweighs late: silence is never read as guilt, wrong bytes always are.
//! An inventory other than ours explains what is gone, but not what is corrupt.
//! Never: a clock, or a retry after the end. Limits: [`ATTEMPTS_MAX`] attempts for each probe.

use cairn_types::InventoryRoot;

use crate::challenge::ProbeFailure;
use crate::commitment::CommitmentError;

/// Attempts for one probe.
pub const ATTEMPTS_MAX: u8 = 3;

/// How one attempt at a probe came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The block, right and in time.
    Good,
    /// Reached, but no answer in time.
    Late,
    /// A typed refusal.
    Refused {
        /// The refusal's code.
        code: u32,
    },
    /// An answer that is not the block.
    Corrupt {
        /// The first drawn leaf of the probe.
        leaf: u64,
        /// What is wrong.
        reason: ProbeFailure,
    },
    /// "I do not have this shard."
    Gone,
    /// Could not be reached.
    Unreachable,
}

/// Where one probe stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeState {
    /// Asked, nothing came back yet.
    Open,
    /// Holds the block; `late` when it took more than one attempt.
    Held {
        /// Not at the first attempt.
        late: bool,
    },
    /// No answer in time.
    Late,
    /// Refused.
    Refused {
        /// The refusal's code.
        code: u32,
    },
    /// Wrong bytes. For ever: no later answer takes this back.
    Corrupt {
        /// The first drawn leaf of the probe.
        leaf: u64,
        /// What is wrong.
        reason: ProbeFailure,
    },
    /// Says it does not have the shard. For ever.
    Gone,
    /// Could not be reached.
    Unreachable,
}

/// What the provider committed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Nothing yet.
    Missing,
    /// To the inventory that the client believes in.
    Matching,
    /// To another inventory.
    Other {
        /// Its root.
        root: InventoryRoot,
    },
    /// Not in a way that counts.
    Invalid(CommitmentError),
}

/// What happens to an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An attempt at a probe ended.
    Answered {
        /// The probe's number in the plan.
        probe: usize,
        /// How.
        outcome: Outcome,
    },
    /// A commitment came in, or none did.
    Committed(Committed),
    /// The time for retries is over.
    GraceOver,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask for this probe again.
    Retry {
        /// The probe's number in the plan.
        probe: usize,
    },
    /// The audit is over.
    Conclude(Verdict),
}

/// The grade of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grade {
    /// Everything asked for is there, and committed to.
    Passed,
    /// Something was not answered before the grace was over.
    Late,
    /// Something was refused.
    Refused,
    /// Something is said not to be there.
    Gone,
    /// Something came back wrong.
    Corrupt,
    /// The commitment is missing, invalid or about another inventory than ours.
    Diverged,
}

/// What follows from a grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sign the voucher for the time since the last one.
    Pay,
    /// Sign nothing.
    Withhold,
    /// Keep commitment and leaf numbers for the court.
    Evidence,
    /// Place nothing more there; repair elsewhere if it lasts.
    Suspect,
    /// Compare inventories shard by shard.
    Resync,
}

/// Whether the data is there, by probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durability {
    /// Proven.
    pub held: u32,
    /// Gone or corrupt.
    pub lost: u32,
    /// Not known: late, unreachable or refused.
    pub unknown: u32,
}

/// Whether a reader gets the data, by probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retrieval {
    /// Right at the first attempt.
    pub prompt: u32,
    /// Right at a later one.
    pub slow: u32,
    /// Not at all.
    pub failed: u32,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The grade.
    pub grade: Grade,
    /// Whether the data is there.
    pub durability: Durability,
    /// Whether a reader gets it.
    pub retrieval: Retrieval,
    /// Probes that are evidence: corrupt or gone.
    pub evidence: Vec<usize>,
}

impl Grade {
    /// What follows.
    pub fn actions(self) -> &'static [Action] {
        match self {
            Grade::Passed => &[Action::Pay],
            Grade::Late | Grade::Refused => &[Action::Withhold, Action::Suspect],
            Grade::Gone | Grade::Corrupt => &[Action::Withhold, Action::Evidence, Action::Suspect],
            Grade::Diverged => &[Action::Withhold, Action::Resync],
        }
    }
}

/// An event that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The audit is over.
    #[error("the audit is over: {0:?} comes too late")]
    Over(Event),
    /// No such probe.
    #[error("probe {probe} was not asked, there are {probes}")]
    NoSuchProbe {
        /// The number given.
        probe: usize,
        /// How many there are.
        probes: usize,
    },
    /// The probe's state is final.
    #[error("probe {probe} is {state:?} already, so {outcome:?} changes nothing")]
    Final {
        /// The probe.
        probe: usize,
        /// Its state.
        state: ProbeState,
        /// What came.
        outcome: Outcome,
    },
    /// The commitment is there already.
    #[error("a matching commitment is there already")]
    CommittedBefore,
}

/// An audit under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    probes: Vec<(ProbeState, u8)>,
    committed: Committed,
    over: bool,
}

impl Audit {
    /// An audit whose probes have all been asked once.
    pub fn new(probes: usize) -> Audit {
        Audit { probes: vec![(ProbeState::Open, 1); probes], committed: Committed::Missing, over: false }
    }

    /// Takes an event and says what to do. The audit concludes when nothing more can change it, or when the grace is over.
    ///
    /// # Errors
    /// [`AuditError`] for an event that does not fit; the audit is as before.
    pub fn apply(&mut self, event: Event) -> Result<Vec<Effect>, AuditError> {
        match (self.over, event) {
            (true, event) => return Err(AuditError::Over(event)),
            (false, Event::Answered { probe, outcome }) => {
                let probes = self.probes.len();
                let (state, attempts) = self.probes.get_mut(probe).ok_or(AuditError::NoSuchProbe { probe, probes })?;
                *state = step(*state, outcome).ok_or(AuditError::Final { probe, state: *state, outcome })?;
                if may_retry(*state) && *attempts < ATTEMPTS_MAX {
                    *attempts += 1;
                    return Ok(vec![Effect::Retry { probe }]);
                }
            }
            (false, Event::Committed(found)) => {
                if self.committed == Committed::Matching {
                    return Err(AuditError::CommittedBefore);
                }
                self.committed = found;
            }
            (false, Event::GraceOver) => return Ok(self.conclude()),
        }
        let settled = self.probes.iter().all(|(state, attempts)| match state {
            ProbeState::Open => false,
            state => !may_retry(*state) || *attempts == ATTEMPTS_MAX,
        });
        Ok(if settled && self.committed == Committed::Matching { self.conclude() } else { vec![] })
    }

    /// Where a probe stands.
    pub fn probe(&self, probe: usize) -> Option<ProbeState> {
        self.probes.get(probe).map(|(state, _)| *state)
    }

    fn conclude(&mut self) -> Vec<Effect> {
        self.over = true;
        let states: Vec<ProbeState> = self.probes.iter().map(|(state, _)| *state).collect();
        vec![Effect::Conclude(verdict(&states, &self.committed))]
    }
}

/// A probe's next state; `None` when its state is final.
pub fn step(state: ProbeState, outcome: Outcome) -> Option<ProbeState> {
    use {Outcome as O, ProbeState as S};
    match (state, outcome) {
        (S::Held { .. } | S::Gone | S::Corrupt { .. }, _) => None,
        (S::Open, O::Good) => Some(S::Held { late: false }),
        (S::Late | S::Unreachable | S::Refused { .. }, O::Good) => Some(S::Held { late: true }),
        (S::Open | S::Late | S::Unreachable | S::Refused { .. }, O::Corrupt { leaf, reason }) => {
            Some(S::Corrupt { leaf, reason })
        }
        (S::Open | S::Late | S::Unreachable | S::Refused { .. }, O::Gone) => Some(S::Gone),
        (S::Open | S::Late | S::Unreachable | S::Refused { .. }, O::Refused { code }) => Some(S::Refused { code }),
        (S::Refused { code }, O::Late | O::Unreachable) => Some(S::Refused { code }), // an answer says more than silence
        (S::Open | S::Late | S::Unreachable, O::Late) => Some(S::Late),
        (S::Late, O::Unreachable) => Some(S::Late), // it was reached once
        (S::Open | S::Unreachable, O::Unreachable) => Some(S::Unreachable),
    }
}

fn may_retry(state: ProbeState) -> bool {
    match state {
        ProbeState::Late | ProbeState::Unreachable | ProbeState::Refused { .. } => true,
        ProbeState::Open | ProbeState::Held { .. } | ProbeState::Gone | ProbeState::Corrupt { .. } => false,
    }
}

/// The verdict over probes in these states. A probe that is still open counts as late.
pub fn verdict(states: &[ProbeState], committed: &Committed) -> Verdict {
    let (mut durability, mut retrieval, mut evidence) = (Durability::default(), Retrieval::default(), Vec::new());
    let (mut corrupt, mut gone, mut refused, mut silent) = (false, false, false, false);
    for (probe, state) in states.iter().enumerate() {
        match state {
            ProbeState::Held { late: false } => (durability.held, retrieval.prompt) = (durability.held + 1, retrieval.prompt + 1),
            ProbeState::Held { late: true } => (durability.held, retrieval.slow) = (durability.held + 1, retrieval.slow + 1),
            ProbeState::Open | ProbeState::Late | ProbeState::Unreachable | ProbeState::Refused { .. } => {
                (durability.unknown, retrieval.failed) = (durability.unknown + 1, retrieval.failed + 1);
            }
            ProbeState::Gone | ProbeState::Corrupt { .. } => {
                (durability.lost, retrieval.failed) = (durability.lost + 1, retrieval.failed + 1);
                evidence.push(probe);
            }
        }
        corrupt |= matches!(state, ProbeState::Corrupt { .. });
        gone |= matches!(state, ProbeState::Gone);
        refused |= matches!(state, ProbeState::Refused { .. });
        silent |= matches!(state, ProbeState::Open | ProbeState::Late | ProbeState::Unreachable);
    }
    let other = matches!(committed, Committed::Other { .. });
    let grade = match (corrupt, other, gone, refused, silent, committed) {
        (true, ..) => Grade::Corrupt,
        (false, true, ..) => Grade::Diverged,
        (false, false, true, ..) => Grade::Gone,
        (false, false, false, true, ..) => Grade::Refused,
        (false, false, false, false, true, _) => Grade::Late,
        (.., Committed::Matching) => Grade::Passed,
        (.., Committed::Missing) => Grade::Late, // silence is not guilt, whatever was read
        (.., Committed::Invalid(_) | Committed::Other { .. }) => Grade::Diverged,
    };
    Verdict { grade, durability, retrieval, evidence }
}
