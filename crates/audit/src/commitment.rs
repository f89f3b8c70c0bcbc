//! Commitment: a provider's signed, short-lived word on what it holds under one channel; without it there is no court.
//!
//! Format: `docs/formats/commitment.md`; vectors: `tests/vectors/eip712.json`.
//! Never: a commitment believed before signer, life and inventory were checked. Limits: [`COMMITMENT_LIFE_SECS_MAX`].

use cairn_types::eip712::{self, Word, word_amount, word_secs, word_u64};
use cairn_types::limits::{COMMITMENT_BACKDATE_SECS, COMMITMENT_LIFE_SECS_MAX};
use cairn_types::{Address, Amount, ChannelId, Domain, EvmSignature, InventoryRoot, UnixSecs, WalletKey};

/// The EIP-712 type.
pub const COMMITMENT_TYPE: &str =
    "Commitment(bytes32 channelId,bytes32 inventoryRoot,uint64 leafCount,uint64 issuedAt,uint64 validUntil,uint128 atRisk)";

/// What a provider says it holds, and what it stakes on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    /// The channel that pays for it.
    pub channel: ChannelId,
    /// Root of the inventory.
    pub inventory_root: InventoryRoot,
    /// Leaves of the inventory.
    pub leaf_count: u64,
    /// From when.
    pub issued_at: UnixSecs,
    /// Until when, exclusive.
    pub valid_until: UnixSecs,
    /// Collateral that a lost dispute takes.
    pub at_risk: Amount,
}

/// A commitment that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitmentError {
    /// Signed by somebody else, or not in a form that contracts take.
    #[error("the commitment is not signed by {expected} but by {got:?}")]
    WrongSigner {
        /// The provider's registered signer.
        expected: Address,
        /// Who signed, if anybody.
        got: Option<Address>,
    },
    /// Lives longer than is allowed, or not at all.
    #[error(
        "the commitment lives from {issued_at:?} to {valid_until:?}; more than nothing and at most {COMMITMENT_LIFE_SECS_MAX} s are allowed"
    )]
    Life {
        /// From when.
        issued_at: UnixSecs,
        /// Until when.
        valid_until: UnixSecs,
    },
    /// Issued in the future: its signer could be replaced before, and the court would not take it.
    #[error("the commitment is from {issued_at:?}, which is after {now:?}; its provider's clock or ours is wrong")]
    FromTheFuture {
        /// From when.
        issued_at: UnixSecs,
        /// The reader's clock.
        now: UnixSecs,
    },
    /// No longer valid.
    #[error("the commitment expired at {valid_until:?}, now is {now:?}")]
    Expired {
        /// Until when.
        valid_until: UnixSecs,
        /// The reader's clock.
        now: UnixSecs,
    },
}

impl Commitment {
    /// The longest life of a commitment that is issued at `now`: from a little before, for clients whose clock is behind.
    pub fn life(now: UnixSecs) -> (UnixSecs, UnixSecs) {
        let issued_at = UnixSecs(now.0.saturating_sub(COMMITMENT_BACKDATE_SECS));
        (issued_at, issued_at.plus_secs(COMMITMENT_LIFE_SECS_MAX))
    }

    /// As [`Commitment::life`], but not from before `since`: the word of a signer binds nobody before it was registered.
    pub fn life_since(now: UnixSecs, since: UnixSecs) -> (UnixSecs, UnixSecs) {
        let issued_at = Commitment::life(now).0.max(since.min(now));
        (issued_at, issued_at.plus_secs(COMMITMENT_LIFE_SECS_MAX))
    }

    /// The digest that the provider's signer signs, in the domain of the contract `Court`.
    pub fn digest(&self, court: &Domain) -> Word {
        let words = [
            self.channel.0,
            self.inventory_root.0,
            word_u64(self.leaf_count),
            word_secs(self.issued_at),
            word_secs(self.valid_until),
            word_amount(self.at_risk),
        ];
        eip712::digest(court, &eip712::keccak256(COMMITMENT_TYPE), &words)
    }

    /// Signs with the provider's session key.
    pub fn sign(self, court: &Domain, key: &WalletKey) -> SignedCommitment {
        SignedCommitment { commitment: self, signature: key.sign_digest(&self.digest(court)) }
    }

    /// Whether the commitment is alive at `now`.
    ///
    /// # Errors
    /// [`CommitmentError`] for a life that is not allowed, not begun or over.
    pub fn check_life(&self, now: UnixSecs) -> Result<(), CommitmentError> {
        let (issued_at, valid_until) = (self.issued_at, self.valid_until);
        if valid_until <= issued_at || valid_until.since_secs(issued_at) > COMMITMENT_LIFE_SECS_MAX {
            return Err(CommitmentError::Life { issued_at, valid_until });
        }
        if issued_at > now {
            return Err(CommitmentError::FromTheFuture { issued_at, now });
        }
        if now >= valid_until {
            return Err(CommitmentError::Expired { valid_until, now });
        }
        Ok(())
    }
}

/// A commitment with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedCommitment {
    /// What is said.
    pub commitment: Commitment,
    /// By the provider's signer.
    pub signature: EvmSignature,
}

impl SignedCommitment {
    /// Checks signer and life. Whether the inventory is the one expected is the verdict's to say.
    ///
    /// # Errors
    /// [`CommitmentError`].
    pub fn verify(&self, court: &Domain, signer: Address, now: UnixSecs) -> Result<(), CommitmentError> {
        let got = self.signature.recover(&self.commitment.digest(court));
        if got != Some(signer) {
            return Err(CommitmentError::WrongSigner { expected: signer, got });
        }
        self.commitment.check_life(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_young_signer_s_life_begins_with_it() {
        let (now, back) = (UnixSecs(10_000), UnixSecs(10_000 - COMMITMENT_BACKDATE_SECS));
        for (since, issued_at) in [(0, back), (back.0, back), (9_990, UnixSecs(9_990)), (10_000, now), (10_005, now)] {
            let (from, until) = Commitment::life_since(now, UnixSecs(since));
            assert_eq!((from, until.since_secs(from)), (issued_at, COMMITMENT_LIFE_SECS_MAX), "{since}");
        }
    }

    const HOUR: u64 = 3600;

    fn commitment() -> Commitment {
        Commitment {
            channel: ChannelId([1; 32]),
            inventory_root: InventoryRoot([2; 32]),
            leaf_count: 77,
            issued_at: UnixSecs(1_000_000),
            valid_until: UnixSecs(1_000_000 + 72 * HOUR),
            at_risk: Amount::CREDIT,
        }
    }

    #[test]
    fn a_commitment_lives_at_most_three_days() {
        let end = 1_000_000 + 72 * HOUR;
        let check = |issued: u64, until: u64, now: u64| {
            let life = Commitment { issued_at: UnixSecs(issued), valid_until: UnixSecs(until), ..commitment() };
            life.check_life(UnixSecs(now)).map_err(|error| error.to_string().split(' ').nth(2).map(str::to_owned))
        };
        let (lives, ahead, expired) = (Err(Some("lives".into())), Err(Some("is".into())), Err(Some("expired".into())));
        assert_eq!(check(1_000_000, end, 1_000_000), Ok(()));
        assert_eq!(check(1_000_000, end, end - 1), Ok(()));
        assert_eq!(check(1_000_000, end, end), expired);
        assert_eq!(check(1_000_000, end, u64::MAX), expired);
        assert_eq!(check(1_000_000, end + 1, 1_000_000), lives);
        assert_eq!(check(1_000_000, 1_000_000, 1_000_000), lives);
        assert_eq!(check(1_000_000, 999_999, 1_000_000), lives);
        assert_eq!(check(0, u64::MAX, 1), lives);
        assert_eq!(check(1_000_000, end, 999_999), ahead);
        assert_eq!(check(u64::MAX - 1, u64::MAX, 0), ahead);
        for now in [0, 1_000_000] {
            let (issued, until) = Commitment::life(UnixSecs(now));
            assert_eq!(check(issued.0, until.0, now), Ok(()));
        }
    }

    #[test]
    fn only_the_signer_of_every_field_is_believed() {
        let key = WalletKey::from_secret(&[3; 32]).expect("in range");
        let (court, now) = (Domain::court(1, Address([9; 20])), UnixSecs(1_000_001));
        let signed = commitment().sign(&court, &key);
        assert_eq!(signed.verify(&court, key.address(), now), Ok(()));
        let refused = |signed: &SignedCommitment, court: &Domain, signer: Address| {
            matches!(signed.verify(court, signer, now), Err(CommitmentError::WrongSigner { .. }))
        };
        assert!(refused(&signed, &court, Address([1; 20])));
        assert!(refused(&signed, &Domain::court(2, court.contract), key.address()));
        assert!(refused(&signed, &Domain::channels(1, court.contract), key.address()));
        let changed = [
            Commitment { channel: ChannelId([0; 32]), ..commitment() },
            Commitment { inventory_root: InventoryRoot([0; 32]), ..commitment() },
            Commitment { leaf_count: 78, ..commitment() },
            Commitment { issued_at: UnixSecs(1_000_001), ..commitment() },
            Commitment { valid_until: UnixSecs(1_000_002), ..commitment() },
            Commitment { at_risk: Amount::ZERO, ..commitment() },
        ];
        for commitment in changed {
            assert!(refused(&SignedCommitment { commitment, ..signed }, &court, key.address()), "{commitment:?}");
        }
    }
}
