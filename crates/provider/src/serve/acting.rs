//! Acting: which deals of others the peer of a stream may read, have committed to, and pay, as their clients' delegate.
//!
//! Never: a delegate that stores, deletes, lists or agrees; one after its end. Limits: [`DEALS_MAX`] deals a stream.

use cairn_proto::Delegation;
use cairn_proto::shard::{Present, request};
use cairn_types::{DealId, NodeId, UnixSecs};

use super::refusal::Failure;

/// Deals that one stream may be presented for.
const DEALS_MAX: usize = 16;

/// What was presented on one stream.
pub(super) struct Acting {
    peer: NodeId,
    given: Vec<Delegation>,
}

impl Acting {
    pub fn new(peer: NodeId) -> Acting {
        Acting { peer, given: Vec::new() }
    }

    /// Takes a delegation of this peer.
    pub fn present(&mut self, wire: &Present, now: UnixSecs) -> Result<(), Failure> {
        let given = Delegation::presented(wire, self.peer, now).map_err(Failure::Delegation)?;
        self.given.retain(|before| before.deal != given.deal);
        if self.given.len() >= DEALS_MAX {
            return Err(Failure::BadRequest("no more delegations on this stream"));
        }
        self.given.push(given);
        Ok(())
    }

    /// Who asks: the client that the peer acts for, if the request is one that a delegate may make.
    pub fn asks(&self, request: &request::Kind, now: UnixSecs) -> NodeId {
        let deal = match request {
            request::Kind::Read(read) => &read.deal_id,
            request::Kind::Commit(commit) => &commit.deal_id,
            request::Kind::Pay(pay) => &pay.deal_id,
            request::Kind::GetAccount(get) => &get.deal_id,
            _ => return self.peer,
        };
        let deal = DealId::from_slice(deal);
        let acts = |given: &&Delegation| Some(given.deal) == deal && now <= given.valid_until;
        self.given.iter().find(acts).map_or(self.peer, |given| given.client)
    }
}
