//! The court of a node's ledger, behind the roles' port `Disputes`.
//!
//! Never: a command without an id of its own. Limits: those of the ledger.

use cairn_audit::court::{Answer, DRAWS, Place, ReleasedAnswer};
use cairn_audit::disputes::{Asked, Defence, DisputeError, DisputeRecord, DisputeState, Disputes, Docket};
use cairn_audit::{InventoryStep, SignedCommitment};
use cairn_chain::bindings::{self, Court};
use cairn_chain::ledger::{DisputeRecord as OnChain, DisputeState as OnChainState};
use cairn_chain::{ChainError, CommandId};
use cairn_market::settlement::SettlementError;
use cairn_types::eip712::Word;
use cairn_types::{Amount, ChannelId, InventoryRoot, UnixSecs};

use serde_json::{Value, json};

use super::Ledger;

fn unavailable(error: ChainError) -> DisputeError {
    DisputeError::Unavailable(error.to_string())
}

impl Ledger {
    async fn ruled(&self, command: Word) -> Result<(), DisputeError> {
        self.done(CommandId(command)).await.map_err(|error| match error {
            SettlementError::Refused(reason) => DisputeError::Refused(reason),
            other => DisputeError::Unavailable(other.to_string()),
        })
    }
}

fn record(found: OnChain) -> DisputeRecord {
    let state = match found.state {
        OnChainState::Challenged => DisputeState::Challenged,
        OnChainState::Joined => DisputeState::Joined,
        OnChainState::Revealed => DisputeState::Revealed,
        OnChainState::Dismissed => DisputeState::Dismissed,
        OnChainState::Upheld => DisputeState::Upheld,
    };
    DisputeRecord {
        channel: ChannelId(found.channel),
        inventory_root: InventoryRoot(found.inventory_root),
        leaf_count: found.leaf_count,
        issued_at: found.issued_at,
        challenger: found.challenger,
        provider: found.provider,
        locked: found.locked,
        deadline: found.deadline,
        seed: found.seed,
        answered: found.answered,
        state,
    }
}

/// A dispute as control sockets tell of it, with `more`.
pub fn describe(id: &Word, record: &DisputeRecord, more: Value) -> Value {
    let mut line = json!({
        "dispute": hex::encode(id),
        "channel": record.channel,
        "state": record.state.word(),
        "open": !record.state.is_final(),
        "deadline_s": record.deadline,
        "at_risk": record.locked,
        "challenger": record.challenger,
        "provider_wallet": record.provider,
        "issued_at_s": record.issued_at,
        "answered": (0..DRAWS).filter(|index| record.answered & (1 << index) != 0).count(),
    });
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    line
}

fn entry(place: &Place) -> bindings::Entry {
    let entry = &place.entry;
    bindings::Entry { shardRoot: entry.shard_root.0.into(), leafCount: entry.leaf_count, byteLen: entry.byte_len }
}

fn path(place: &Place) -> Vec<bindings::InventoryStep> {
    let step = |step: &InventoryStep| bindings::InventoryStep {
        bit: step.bit,
        siblingIsLeft: step.sibling_is_left,
        siblingSum: step.sibling_sum,
        siblingHash: step.sibling_hash.into(),
    };
    place.path.iter().map(step).collect()
}

fn counts(place: &Place) -> bindings::Counts {
    bindings::Counts { entryCount: place.counts.entries, byteSum: place.counts.bytes }
}

fn with_leaf(id: Word, index: u32, answer: &Answer) -> Court::respondCall {
    Court::respondCall {
        id: id.into(),
        i: index as u8, // below five
        entry: entry(&answer.place),
        path: path(&answer.place),
        counts: counts(&answer.place),
        leaf: answer.leaf.clone().into(),
        shardPath: answer.shard_path.iter().map(|hash| (*hash).into()).collect(),
    }
}

fn with_release(id: Word, index: u32, answer: &ReleasedAnswer) -> Court::respondReleasedCall {
    let release = &answer.release.release;
    Court::respondReleasedCall {
        id: id.into(),
        i: index as u8, // below five
        entry: entry(&answer.place),
        path: path(&answer.place),
        counts: counts(&answer.place),
        release: bindings::Release {
            channelId: release.channel.0.into(),
            shardsRoot: release.shards_root.into(),
            shardCount: release.shard_count,
            releasedAt: release.released_at.0,
        },
        releaseSig: answer.release.signature.0.to_vec().into(),
        index: answer.index,
        releasePath: answer.release_path.iter().map(|hash| (*hash).into()).collect(),
    }
}

impl Disputes for Ledger {
    fn now(&self) -> Asked<'_, UnixSecs> {
        Box::pin(async move { self.chain.block_time().await.map_err(unavailable) })
    }

    fn docket(&self, channel: ChannelId) -> Asked<'_, Docket> {
        Box::pin(async move {
            let found = self.chain.docket(channel).await.map_err(unavailable)?;
            Ok(Docket {
                count: found.count.to::<u64>(),
                open: found.open,
                free_at: UnixSecs(found.freeAt.to::<u64>()),
                restituted: Amount::from_base_units(found.restituted),
            })
        })
    }

    fn dispute(&self, id: Word) -> Asked<'_, Option<DisputeRecord>> {
        Box::pin(async move { Ok(self.chain.dispute(id).await.map_err(unavailable)?.map(record)) })
    }

    fn challenge<'a>(&'a self, command: Word, signed: &'a SignedCommitment, secret_hash: Word) -> Asked<'a, ()> {
        Box::pin(async move {
            let commitment = &signed.commitment;
            let wanted = bindings::Commitment {
                channelId: commitment.channel.0.into(),
                inventoryRoot: commitment.inventory_root.0.into(),
                leafCount: commitment.leaf_count,
                issuedAt: commitment.issued_at.0,
                validUntil: commitment.valid_until.0,
                atRisk: commitment.at_risk.base_units(),
            };
            self.chain.challenge(CommandId(command), wanted, &signed.signature, secret_hash).await.map_err(unavailable)?;
            self.ruled(command).await
        })
    }

    fn join(&self, command: Word, id: Word, entropy: Word) -> Asked<'_, ()> {
        Box::pin(async move {
            self.chain.join(CommandId(command), id, entropy).await.map_err(unavailable)?;
            self.ruled(command).await
        })
    }

    fn reveal(&self, command: Word, id: Word, secret: Word) -> Asked<'_, ()> {
        Box::pin(async move {
            self.chain.reveal(CommandId(command), id, secret).await.map_err(unavailable)?;
            self.ruled(command).await
        })
    }

    fn answer<'a>(&'a self, command: Word, id: Word, index: u32, defence: &'a Defence) -> Asked<'a, ()> {
        Box::pin(async move {
            let sent = match defence {
                Defence::Leaf(answer) => self.chain.respond(CommandId(command), with_leaf(id, index, answer)).await,
                Defence::Released(answer) => {
                    self.chain.respond_released(CommandId(command), with_release(id, index, answer)).await
                }
            };
            sent.map_err(unavailable)?;
            self.ruled(command).await
        })
    }

    fn time_out(&self, command: Word, id: Word) -> Asked<'_, ()> {
        Box::pin(async move {
            self.chain.timeout(CommandId(command), id).await.map_err(unavailable)?;
            self.ruled(command).await
        })
    }
}
