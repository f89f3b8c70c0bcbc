//! Core of the follower: which block to ask for next, and what follows from the answer. No clock, no socket, no disk.
//!
//! Never: skips a block, confirms one before its depth, or goes back further than it can. Limits: [`REORG_MAX`] blocks back.

use std::collections::VecDeque;

use alloy_primitives::B256;

/// Blocks that a reorganisation may take back.
pub const REORG_MAX: usize = 64;

/// A block as the follower remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Hash of the block before.
    pub parent: B256,
    /// Whether its events were told.
    pub confirmed: bool,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The block is new; its logs belong to it. The blocks named are now deep enough, oldest first.
    Appended {
        /// The new block.
        block: BlockRef,
        /// Numbers whose events may be told now.
        confirmed: Vec<u64>,
        /// A number that no reorganisation can reach any more.
        forgotten: Option<u64>,
    },
    /// This block is not on the chain any more.
    RolledBack(BlockRef),
    /// The newest known block still stands.
    Same,
    /// There is no newer block.
    UpToDate,
    /// The node does not know our newest block and shows no other: it is behind us.
    Behind,
}

/// Why following cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    /// The chain has another past, further back than can be taken back.
    #[error(
        "the chain was rewritten at block {at}, deeper than {REORG_MAX} blocks or before our beginning; is it another chain?"
    )]
    TooDeep {
        /// Oldest known block.
        at: u64,
    },
    /// An answer to a question that was not asked.
    #[error("block {found} came when {asked} was asked for")]
    NotAsked {
        /// Asked.
        asked: u64,
        /// Came.
        found: u64,
    },
}

/// A question of the follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Does the newest known block still stand?
    Newest(u64),
    /// Which block is next?
    Next(u64),
}

/// Header of a block, as far as the core reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Hash of the block before.
    pub parent: B256,
}

/// The follower's memory: the newest blocks, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    first: u64,
    confirmations: u64,
    recent: VecDeque<BlockRef>,
}

impl Core {
    /// Starts at block `first`, or goes on after `recent` (oldest first). `confirmations` blocks must lie on top of one that is told.
    pub fn new(first: u64, confirmations: u64, recent: impl IntoIterator<Item = BlockRef>) -> Core {
        Core { first, confirmations, recent: recent.into_iter().collect() }
    }

    /// Newest known block.
    pub fn tip(&self) -> Option<&BlockRef> {
        self.recent.back()
    }

    /// What to ask at the beginning of a round.
    pub fn first_question(&self) -> Ask {
        self.tip().map_or(Ask::Next(self.first), |tip| Ask::Newest(tip.number))
    }

    /// What to ask for the next block.
    pub fn next_question(&self) -> Ask {
        Ask::Next(self.tip().map_or(self.first, |tip| tip.number + 1))
    }

    /// What the answer to `asked` means.
    ///
    /// # Errors
    /// [`CoreError`]; the core is as it was.
    pub fn apply(&mut self, asked: Ask, found: Option<Seen>) -> Result<Effect, CoreError> {
        let (Ask::Newest(wanted) | Ask::Next(wanted)) = asked;
        if let Some(seen) = found.filter(|seen| seen.number != wanted) {
            return Err(CoreError::NotAsked { asked: wanted, found: seen.number });
        }
        match (asked, found, self.recent.back().copied()) {
            (Ask::Newest(_), None, _) => Ok(Effect::Behind),
            (Ask::Newest(_), Some(seen), Some(tip)) if seen.hash == tip.hash => Ok(Effect::Same),
            (Ask::Next(_), None, _) => Ok(Effect::UpToDate),
            (Ask::Next(_), Some(seen), tip) if tip.is_none_or(|tip| tip.hash == seen.parent) => Ok(self.append(seen)),
            (Ask::Newest(_) | Ask::Next(_), Some(_), Some(tip)) => self.roll_back(tip),
            (Ask::Newest(number), Some(_), None) => Err(CoreError::NotAsked { asked: self.first, found: number }),
            (Ask::Next(_), Some(_), None) => unreachable!("without a tip every next block is appended"),
        }
    }

    /// Goes on after `block`, without the blocks before it; their logs were read as a range that no reorganisation reaches.
    pub fn jump(&mut self, seen: Seen) -> BlockRef {
        let block = BlockRef { number: seen.number, hash: seen.hash, parent: seen.parent, confirmed: true };
        self.recent = VecDeque::from([block]);
        block
    }

    fn append(&mut self, seen: Seen) -> Effect {
        let block = BlockRef { number: seen.number, hash: seen.hash, parent: seen.parent, confirmed: false };
        self.recent.push_back(block);
        let mut confirmed = Vec::new();
        for known in &mut self.recent {
            if !known.confirmed && known.number.saturating_add(self.confirmations) <= block.number {
                known.confirmed = true;
                confirmed.push(known.number);
            }
        }
        // One block more than can be taken back: what is left after the deepest rollback.
        let forgotten = if self.recent.len() > REORG_MAX + 1 { self.recent.pop_front().map(|old| old.number) } else { None };
        Effect::Appended { block, confirmed, forgotten }
    }

    fn roll_back(&mut self, tip: BlockRef) -> Result<Effect, CoreError> {
        if self.recent.len() < 2 {
            return Err(CoreError::TooDeep { at: tip.number });
        }
        self.recent.pop_back();
        Ok(Effect::RolledBack(tip))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A chain that can be rewritten; a block's hash says its number and branch.
    #[derive(Debug, Clone)]
    struct Chain(Vec<Seen>);

    fn hash(number: u64, branch: u64) -> B256 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..16].copy_from_slice(&branch.to_be_bytes());
        bytes[16] = 1;
        B256::from(bytes)
    }

    impl Chain {
        fn grow(&mut self, count: u64, branch: u64) {
            for _ in 0..count {
                let number = self.0.len() as u64;
                let parent = self.0.last().map_or(B256::ZERO, |last| last.hash);
                self.0.push(Seen { number, hash: hash(number, branch), parent });
            }
        }

        fn rewrite(&mut self, depth: u64, count: u64, branch: u64) {
            self.0.truncate(self.0.len() - depth as usize);
            self.grow(count, branch);
        }
    }

    /// One round of questions, as the shell asks them; `told` is what a reader has heard and not heard taken back.
    fn round(core: &mut Core, chain: &Chain, told: &mut BTreeMap<u64, B256>) -> Result<(), CoreError> {
        let mut asked = core.first_question();
        loop {
            let (Ask::Newest(number) | Ask::Next(number)) = asked;
            match core.apply(asked, chain.0.get(number as usize).copied())? {
                Effect::Appended { confirmed, .. } => {
                    for number in confirmed {
                        let known = core.recent.iter().find(|known| known.number == number).expect("a confirmed block is recent");
                        assert_eq!(told.insert(number, known.hash), None, "block {number} was told twice");
                    }
                }
                Effect::RolledBack(block) => {
                    assert_eq!(told.remove(&block.number), block.confirmed.then_some(block.hash), "block {}", block.number);
                    asked = core.first_question();
                    continue;
                }
                Effect::Same => {}
                Effect::UpToDate | Effect::Behind => return Ok(()),
            }
            asked = core.next_question();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_reorganisation_up_to_64_ends_with_what_the_chain_says(
            confirmations in 0u64..20,
            steps in prop::collection::vec((0u64..=64, 0u64..80, any::<bool>()), 1..30),
        ) {
            let (mut core, mut told) = (Core::new(0, confirmations, []), BTreeMap::new());
            let mut chain = Chain(Vec::new());
            chain.grow(70, 0);
            round(&mut core, &chain, &mut told).expect("the beginning");
            for (branch, (depth, grown, restart)) in (1..).zip(steps) {
                let depth = depth.min(chain.0.len() as u64 - 1);
                chain.rewrite(depth, depth + grown, branch); // never shorter, or the node is only behind
                if restart {
                    core = Core::new(0, confirmations, core.recent.clone());
                }
                round(&mut core, &chain, &mut told).expect("within the depth");
                let height = chain.0.len() as u64 - 1;
                prop_assert_eq!(core.tip().map(|tip| tip.hash), chain.0.last().map(|last| last.hash));
                let expected: BTreeMap<_, _> = chain.0.iter().filter(|seen| seen.number + confirmations <= height).map(|seen| (seen.number, seen.hash)).collect();
                prop_assert_eq!(&told, &expected);
            }
        }
    }

    #[test]
    fn a_deeper_rewrite_and_a_node_behind_are_told_apart() {
        let (mut core, mut told) = (Core::new(0, 2, []), BTreeMap::new());
        let mut chain = Chain(Vec::new());
        chain.grow(100, 0);
        round(&mut core, &chain, &mut told).expect("the beginning");
        let (known, before) = (core.clone(), told.clone());
        let behind = Chain(chain.0[..50].to_vec());
        round(&mut core, &behind, &mut told).expect("behind is not an error");
        assert_eq!((&core, &told), (&known, &before), "a node behind takes nothing back");
        chain.rewrite(65, 70, 1);
        assert_eq!(round(&mut core, &chain, &mut told), Err(CoreError::TooDeep { at: 35 }));
    }

    #[test]
    fn an_answer_to_another_question_changes_nothing() {
        let mut core = Core::new(5, 0, []);
        let seen = Seen { number: 6, hash: hash(6, 0), parent: hash(5, 0) };
        assert_eq!(core.apply(Ask::Next(5), Some(seen)), Err(CoreError::NotAsked { asked: 5, found: 6 }));
        assert_eq!(core, Core::new(5, 0, []));
    }
}
