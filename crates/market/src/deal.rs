//! Deal: the life of one agreement between a client and a provider, as the client sees it.
//!
//! A pure state machine: one audit for each epoch, money only for what was proven, silence is not guilt, wrong bytes are.
//! Never: a clock, a payment without a proof, or a way back from lost bytes. Limits: [`LATE_EPOCHS_MAX`], [`SILENT_EPOCHS_MAX`].

use serde::{Deserialize, Serialize};

/// Epochs without a proof after which the data is repaired elsewhere.
pub const LATE_EPOCHS_MAX: u64 = 3;
/// Epochs without a proof after which the channel is closed.
pub const SILENT_EPOCHS_MAX: u64 = 14;
const _: () = assert!(LATE_EPOCHS_MAX < SILENT_EPOCHS_MAX);

/// An epoch of a deal, counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }

    /// Epochs from `earlier` to this one; zero when `earlier` is later.
    pub fn since(self, earlier: Epoch) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Why a provider is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// It did not answer for long.
    Silent,
    /// It answered wrong, or said that data is gone.
    Lost,
}

/// Why a deal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum End {
    /// The provider declined.
    Declined,
    /// The client left.
    Left,
    /// Its time was over.
    Expired,
    /// The provider was silent for too long.
    Silent,
    /// The provider lost data.
    Lost,
    /// The channel was closed under it.
    Closed,
}

/// Where a deal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Deal {
    /// Proposed to the provider.
    Proposed,
    /// Agreed; the channel is not open yet.
    Agreed,
    /// Running; the proof of epoch `due` is the next.
    Active {
        /// The epoch to be proven.
        due: Epoch,
    },
    /// The proof of epoch `since` is missing.
    Late {
        /// The first epoch without a proof.
        since: Epoch,
    },
    /// Data is repaired elsewhere.
    Suspect {
        /// The first epoch without a proof.
        since: Epoch,
        /// Why.
        cause: Cause,
    },
    /// The channel is closing.
    Ending {
        /// Why.
        end: End,
    },
    /// Over.
    Ended {
        /// Why.
        end: End,
    },
}

/// What happens to a deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The provider signed.
    Accepted,
    /// The provider will not.
    Declined,
    /// The channel is open, and `epoch` is the first to be proven.
    Opened {
        /// The first epoch.
        epoch: Epoch,
    },
    /// An audit in `epoch` passed.
    Proved {
        /// The epoch.
        epoch: Epoch,
    },
    /// An audit in `epoch` ended late or refused.
    Missed {
        /// The epoch.
        epoch: Epoch,
    },
    /// An audit in `epoch` ended corrupt or gone.
    Failed {
        /// The epoch.
        epoch: Epoch,
    },
    /// An audit in `epoch` ended diverged.
    Diverged {
        /// The epoch.
        epoch: Epoch,
    },
    /// It is `epoch` now, and its predecessors' grace is over.
    Ticked {
        /// The epoch.
        epoch: Epoch,
    },
    /// The client wants out.
    Leave,
    /// The deal's time is over.
    Expired,
    /// The channel is closed.
    Closed,
}

/// What the shell has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Open the channel.
    OpenChannel,
    /// Promise what is owed up to the end of `epoch`.
    Pay {
        /// The epoch that was proven.
        epoch: Epoch,
    },
    /// Promise nothing.
    Withhold,
    /// Keep commitment and leaf numbers for the court.
    Evidence,
    /// Place nothing more there.
    Suspect,
    /// Place there again.
    Trust,
    /// Compare inventories.
    Resync,
    /// Rebuild its shards elsewhere.
    Repair,
    /// Ask for the channel to be closed.
    CloseChannel,
    /// Forget it: nothing is owed any more.
    Forget,
}

/// An event that a deal in this state cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} is not possible for a deal that is {deal:?}")]
pub struct NotAllowed {
    /// The state.
    pub deal: Deal,
    /// The event.
    pub event: Event,
}

/// What an event led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The new state.
    pub deal: Deal,
    /// What to do, in this order.
    pub effects: Vec<Effect>,
}

impl Deal {
    /// The next state and what the shell has to do, in this order.
    ///
    /// # Errors
    /// [`NotAllowed`]; the deal is as before.
    pub fn apply(self, event: Event) -> Result<Moved, NotAllowed> {
        match self {
            Deal::Proposed => from_proposed(event),
            Deal::Agreed => from_agreed(event),
            Deal::Active { due } => from_active(due, event),
            Deal::Late { since } => from_late(since, event),
            Deal::Suspect { since, cause } => from_suspect(since, cause, event),
            Deal::Ending { end } => from_ending(end, event),
            Deal::Ended { .. } => None,
        }
        .map(|(deal, effects)| Moved { deal, effects })
        .ok_or(NotAllowed { deal: self, event })
    }
}

type Next = Option<(Deal, Vec<Effect>)>;

fn from_proposed(event: Event) -> Next {
    match event {
        Event::Accepted => Some((Deal::Agreed, vec![Effect::OpenChannel])),
        Event::Declined => Some((Deal::Ended { end: End::Declined }, vec![Effect::Forget])),
        Event::Leave => Some((Deal::Ended { end: End::Left }, vec![Effect::Forget])),
        Event::Expired => Some((Deal::Ended { end: End::Expired }, vec![Effect::Forget])),
        Event::Ticked { .. } => Some((Deal::Proposed, vec![])),
        Event::Opened { .. }
        | Event::Proved { .. }
        | Event::Missed { .. }
        | Event::Failed { .. }
        | Event::Diverged { .. }
        | Event::Closed => None,
    }
}

fn from_agreed(event: Event) -> Next {
    match event {
        Event::Opened { epoch } => Some((Deal::Active { due: epoch }, vec![])),
        // A transaction that opens the channel may be under way: it is closed when it turns up, and closed means ended.
        Event::Leave => Some((Deal::Ending { end: End::Left }, vec![Effect::CloseChannel])),
        Event::Expired => Some((Deal::Ending { end: End::Expired }, vec![Effect::CloseChannel])),
        Event::Closed => Some((Deal::Ended { end: End::Closed }, vec![Effect::Forget])),
        Event::Ticked { .. } | Event::Accepted => Some((Deal::Agreed, vec![])),
        Event::Declined | Event::Proved { .. } | Event::Missed { .. } | Event::Failed { .. } | Event::Diverged { .. } => None,
    }
}

fn from_active(due: Epoch, event: Event) -> Next {
    let same = Deal::Active { due };
    match event {
        Event::Proved { epoch } if epoch == due => Some((Deal::Active { due: due.next() }, vec![Effect::Pay { epoch }])),
        Event::Missed { epoch } if epoch == due => Some((Deal::Late { since: due }, vec![Effect::Withhold, Effect::Suspect])),
        Event::Failed { epoch } if epoch == due => Some(lost(due)),
        Event::Diverged { epoch } if epoch == due => Some((same, vec![Effect::Withhold, Effect::Resync])),
        Event::Ticked { epoch } if epoch <= due => Some((same, vec![])),
        Event::Ticked { .. } => Some((Deal::Late { since: due }, vec![Effect::Withhold, Effect::Suspect])),
        Event::Leave => Some((Deal::Ending { end: End::Left }, vec![Effect::CloseChannel])),
        Event::Expired => Some((Deal::Ending { end: End::Expired }, vec![Effect::CloseChannel])),
        Event::Closed => Some((Deal::Ended { end: End::Closed }, vec![Effect::Repair, Effect::Forget])),
        Event::Opened { .. } => Some((same, vec![])), // the chain's news may come twice
        Event::Proved { .. } | Event::Missed { .. } | Event::Failed { .. } | Event::Diverged { .. } => None,
        Event::Accepted | Event::Declined => None,
    }
}

fn from_late(since: Epoch, event: Event) -> Next {
    let same = Deal::Late { since };
    match event {
        Event::Proved { epoch } if epoch >= since => {
            Some((Deal::Active { due: epoch.next() }, vec![Effect::Pay { epoch }, Effect::Trust]))
        }
        Event::Missed { epoch } if epoch >= since => Some((same, vec![Effect::Withhold])),
        Event::Failed { epoch } if epoch >= since => Some(lost(since)),
        Event::Diverged { epoch } if epoch >= since => Some((same, vec![Effect::Withhold, Effect::Resync])),
        Event::Ticked { epoch } if epoch.since(since) < LATE_EPOCHS_MAX => Some((same, vec![])),
        Event::Ticked { .. } => Some((Deal::Suspect { since, cause: Cause::Silent }, vec![Effect::Repair])),
        Event::Leave => Some((Deal::Ending { end: End::Left }, vec![Effect::CloseChannel])),
        Event::Expired => Some((Deal::Ending { end: End::Expired }, vec![Effect::CloseChannel])),
        Event::Closed => Some((Deal::Ended { end: End::Closed }, vec![Effect::Repair, Effect::Forget])),
        Event::Opened { .. } => Some((same, vec![])),
        Event::Proved { .. } | Event::Missed { .. } | Event::Failed { .. } | Event::Diverged { .. } => None,
        Event::Accepted | Event::Declined => None,
    }
}

fn from_suspect(since: Epoch, cause: Cause, event: Event) -> Next {
    let same = Deal::Suspect { since, cause };
    let end = match cause {
        Cause::Silent => End::Silent,
        Cause::Lost => End::Lost,
    };
    match (event, cause) {
        (Event::Proved { epoch }, Cause::Silent) if epoch >= since => {
            Some((Deal::Active { due: epoch.next() }, vec![Effect::Pay { epoch }, Effect::Trust]))
        }
        (Event::Proved { epoch }, Cause::Lost) if epoch >= since => Some((same, vec![Effect::Withhold])),
        (Event::Missed { epoch }, _) if epoch >= since => Some((same, vec![Effect::Withhold])),
        (Event::Failed { epoch }, Cause::Silent) if epoch >= since => Some(lost(since)),
        (Event::Failed { epoch }, Cause::Lost) if epoch >= since => Some((same, vec![Effect::Withhold, Effect::Evidence])),
        (Event::Diverged { epoch }, _) if epoch >= since => Some((same, vec![Effect::Withhold, Effect::Resync])),
        (Event::Ticked { epoch }, _) if epoch.since(since) < SILENT_EPOCHS_MAX => Some((same, vec![])),
        (Event::Ticked { .. }, _) => Some((Deal::Ending { end }, vec![Effect::CloseChannel])),
        (Event::Leave, Cause::Silent) => Some((Deal::Ending { end: End::Left }, vec![Effect::CloseChannel])),
        (Event::Expired, Cause::Silent) => Some((Deal::Ending { end: End::Expired }, vec![Effect::CloseChannel])),
        // Who lost data is not paid for the rest by anybody's leaving.
        (Event::Leave | Event::Expired, Cause::Lost) => Some((Deal::Ending { end: End::Lost }, vec![Effect::CloseChannel])),
        (Event::Closed, _) => Some((Deal::Ended { end }, vec![Effect::Forget])),
        (Event::Opened { .. }, _) => Some((same, vec![])),
        (Event::Proved { .. } | Event::Missed { .. } | Event::Failed { .. } | Event::Diverged { .. }, _) => None,
        (Event::Accepted | Event::Declined, _) => None,
    }
}

fn from_ending(end: End, event: Event) -> Next {
    let same = Deal::Ending { end };
    let in_peace = match end {
        End::Left | End::Expired => true,
        End::Declined | End::Silent | End::Lost | End::Closed => false,
    };
    match event {
        Event::Proved { epoch } if in_peace => Some((same, vec![Effect::Pay { epoch }])),
        Event::Failed { .. } if in_peace => Some((Deal::Ending { end: End::Lost }, vec![Effect::Withhold, Effect::Evidence])),
        Event::Failed { .. } => Some((same, vec![Effect::Withhold, Effect::Evidence])),
        Event::Proved { .. } | Event::Missed { .. } | Event::Diverged { .. } => Some((same, vec![Effect::Withhold])),
        Event::Opened { .. } => Some((same, vec![Effect::CloseChannel])),
        Event::Closed => Some((Deal::Ended { end }, vec![Effect::Forget])),
        Event::Ticked { .. } | Event::Leave | Event::Expired => Some((same, vec![])),
        Event::Accepted | Event::Declined => None,
    }
}

/// Wrong bytes, or none where some were promised.
fn lost(since: Epoch) -> (Deal, Vec<Effect>) {
    let effects = vec![Effect::Withhold, Effect::Evidence, Effect::Suspect, Effect::Repair];
    (Deal::Suspect { since, cause: Cause::Lost }, effects)
}
