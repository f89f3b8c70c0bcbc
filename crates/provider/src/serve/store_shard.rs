//! Answers Store: check, reserve, take frames, commit, receipt.
//!
//! Never: a receipt for other bytes than those whose root was announced. Limits: the announced length, the stall time per frame.

use cairn_proto::Receipt;
use cairn_proto::frame::{Frame, FrameError, Framed};
use cairn_proto::shard::{self, Request, request, response};
use cairn_proto::transport::BoxStream;
use cairn_types::{NodeId, SegmentId};
use prost::Message;

use super::Server;
use super::refusal::Failure;
use super::session::{deal_of, in_time, reply, root_of};
use crate::store::NewShard;

pub(super) async fn answer(server: &Server, peer: NodeId, store: shard::Store, stream: &mut BoxStream) -> Result<(), Failure> {
    let _running = server.begin_store().ok_or(Failure::Stopping)?;
    let segment = SegmentId::from_slice(&store.segment_id).ok_or(Failure::BadRequest("a segment id has 16 bytes"))?;
    let deal = deal_of(&store.deal_id)?;
    let shard = NewShard { deal, segment, writer_epoch: store.writer_epoch, len_max: store.len_max };
    if let Some(accounts) = &server.0.accounts {
        accounts.check_store(peer, deal).await?;
    }
    let mut writer = server.0.store.begin(peer, shard)?;
    let end = {
        let mut framed = Framed::new(&mut *stream);
        loop {
            match in_time(server.0.config.stall, framed.next()).await?.ok_or(FrameError::Ended)? {
                Frame::Body(frame) => writer.push(frame).await?,
                Frame::Control(payload) => break end_of(payload)?,
            }
        }
    };
    let root = root_of(&end.root)?;
    if let Some(accounts) = &server.0.accounts {
        accounts.check_root(deal, &root)?;
    }
    let stored = writer.finish(root, end.len, end.label).await?;
    let receipt = Receipt { deal, root: stored.root, len: stored.len, segment, stored_at: stored.stored_at };
    reply(server, stream, response::Kind::Receipt(receipt.sign(&server.0.key))).await
}

fn end_of(payload: bytes::Bytes) -> Result<shard::StoreEnd, Failure> {
    match Request::decode(payload).map_err(|error| FrameError::Decode(error.to_string()))?.kind {
        Some(request::Kind::StoreEnd(end)) => Ok(end),
        _ => Err(Failure::BadRequest("Store is followed by body frames and StoreEnd")),
    }
}
