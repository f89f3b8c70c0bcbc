//! Answers what is about money: offer, agreement, commitment, voucher, account.
//!
//! Never: a decision; the accounts decide. A free provider has no offer and agrees on nothing.

use cairn_proto::shard::{request, response};
use cairn_types::{NodeId, UnixMs};

use super::Server;
use super::refusal::Failure;
use super::session::deal_of;

pub(super) async fn answer(server: &Server, peer: NodeId, request: request::Kind) -> Result<response::Kind, Failure> {
    let accounts = server.0.accounts.as_ref().ok_or(Failure::BadRequest("this provider is free and needs no agreement"))?;
    let answer = match request {
        request::Kind::GetOffer(_) => response::Kind::Offer(accounts.offer().await?),
        request::Kind::Agree(agree) => response::Kind::Agreement(accounts.agree(peer, agree).await?),
        request::Kind::Commit(commit) => {
            let committed = accounts.commit(peer, deal_of(&commit.deal_id)?, UnixMs(commit.at_ms)).await?;
            response::Kind::Commitment(committed.to_wire())
        }
        request::Kind::Pay(pay) => response::Kind::Account(accounts.pay(peer, deal_of(&pay.deal_id)?, pay).await?.to_wire()),
        request::Kind::GetAccount(get) => {
            response::Kind::Account(accounts.account(peer, deal_of(&get.deal_id)?, UnixMs(get.at_ms))?.to_wire())
        }
        _ => return Err(Failure::BadRequest("a request of another kind")),
    };
    Ok(answer)
}
