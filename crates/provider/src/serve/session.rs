//! Session: the requests of one stream, one after another.
//!
//! A refused Store, and whatever breaks the framing, ends the stream; other refusals do not.
//! Limits: idle, stall and linger times of the configuration; [`LINGER_LEN_MAX`] bytes thrown away after a refusal.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use cairn_proto::DELETE_ROOTS_MAX;
use cairn_proto::frame::{Frame, FrameError, Framed};
use cairn_proto::shard::{self, Request, Response, request, response};
use cairn_proto::transport::BoxStream;
use cairn_types::limits::{LIST_PAGE_MAX, SHARD_LEN_MAX};
use cairn_types::{DealId, NodeId, ShardRoot};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use prost::Message;
use tracing::debug;

use super::acting::Acting;
use super::refusal::Failure;
use super::{Server, money, read_shard, store_shard};
use crate::store::StoreError;

/// Bytes of a refused shard that are thrown away so that its writer can read the refusal.
const LINGER_LEN_MAX: u64 = SHARD_LEN_MAX + 1024 * 1024;

/// What becomes of the stream after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    NextRequest,
    Close,
}

/// Serves a stream to its end.
pub(super) async fn run(server: &Server, peer: NodeId, mut stream: BoxStream) {
    let mut stopping = server.0.stopping.subscribe();
    let mut acting = Acting::new(peer);
    loop {
        let request = {
            let mut framed = Framed::new(&mut stream);
            tokio::select! {
                biased;
                request = tokio::time::timeout(server.0.config.idle, next_request(&mut framed)) => request,
                _ = stopping.wait_for(|stopping| *stopping) => break,
            }
        };
        let answered = match request {
            Err(_idle) => break,
            Ok(Ok(None)) => break,
            Ok(Ok(Some(request::Kind::Present(present)))) => presented(server, &mut acting, &present, &mut stream).await,
            Ok(Ok(Some(request))) => {
                let asks = acting.asks(&request, server.0.store.clock().now().secs());
                answer(server, asks, request, &mut stream).await
            }
            Ok(Err(failure)) => Err((failure, After::Close)),
        };
        let after = match answered {
            Ok(()) => After::NextRequest,
            Err((failure, after)) => {
                debug!(%peer, %failure, "refused");
                refuse(server, &failure, after, &mut stream).await
            }
        };
        if after == After::Close {
            break;
        }
    }
    let _ = tokio::time::timeout(server.0.config.linger, stream.close()).await;
}

/// Tells a peer that it has too many streams, and closes this one.
pub(super) async fn reject(server: &Server, peer: NodeId, mut stream: BoxStream) {
    let failure = Failure::TooManyStreams(server.0.config.streams_per_peer);
    debug!(%peer, %failure, "refused");
    refuse(server, &failure, After::Close, &mut stream).await;
    let _ = tokio::time::timeout(server.0.config.linger, stream.close()).await;
}

async fn refuse(server: &Server, failure: &Failure, after: After, stream: &mut BoxStream) -> After {
    let Some(refusal) = failure.refusal() else { return After::Close };
    let sent = send(server.0.config.stall.min(Duration::from_secs(10)), stream, &refusal).await;
    if sent.is_err() || after == After::NextRequest {
        return if sent.is_ok() { After::NextRequest } else { After::Close };
    }
    let linger = async {
        let mut waste = vec![0; 64 * 1024];
        let mut wasted_len = 0;
        while let Ok(len @ 1..) = stream.read(&mut waste).await {
            wasted_len += len as u64;
            if wasted_len > LINGER_LEN_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(server.0.config.linger, linger).await;
    After::Close
}

async fn next_request(framed: &mut Framed<&mut BoxStream>) -> Result<Option<request::Kind>, Failure> {
    let payload = match framed.next().await? {
        None => return Ok(None),
        Some(Frame::Control(payload)) => payload,
        Some(Frame::Body(_)) => return Err(FrameError::Unexpected("control").into()),
    };
    let request = Request::decode(payload).map_err(|error| FrameError::Decode(error.to_string()))?;
    request.kind.map(Some).ok_or(Failure::BadRequest("an empty request"))
}

async fn answer(server: &Server, peer: NodeId, request: request::Kind, stream: &mut BoxStream) -> Result<(), (Failure, After)> {
    let keep = |failure: Failure| (failure, After::NextRequest);
    match request {
        request::Kind::Store(store) => {
            store_shard::answer(server, peer, store, stream).await.map_err(|failure| (failure, After::Close))
        }
        request::Kind::StoreEnd(_) => Err((Failure::BadRequest("StoreEnd without Store"), After::Close)),
        request::Kind::Present(_) => Err(keep(Failure::BadRequest("a delegation within a request"))),
        request::Kind::Brief(_) => Err((Failure::BadRequest("this node is a provider, not a delegate"), After::Close)),
        request::Kind::Read(read) => read_shard::answer(server, peer, read, stream).await.map_err(keep),
        request::Kind::OpenDeal(open) => {
            let response = open_deal(server, peer, open).await.map_err(keep)?;
            reply(server, stream, response).await.map_err(keep)
        }
        request::Kind::Delete(delete) => {
            let response = delete_shards(server, peer, delete).await.map_err(keep)?;
            reply(server, stream, response).await.map_err(keep)
        }
        request::Kind::List(list) => {
            let response = list_shards(server, peer, list).await.map_err(keep)?;
            reply(server, stream, response).await.map_err(keep)
        }
        money @ (request::Kind::GetOffer(_)
        | request::Kind::Agree(_)
        | request::Kind::Commit(_)
        | request::Kind::Pay(_)
        | request::Kind::GetAccount(_)) => {
            let response = money::answer(server, peer, money).await.map_err(keep)?;
            reply(server, stream, response).await.map_err(keep)
        }
    }
}

async fn presented(
    server: &Server,
    acting: &mut Acting,
    present: &shard::Present,
    stream: &mut BoxStream,
) -> Result<(), (Failure, After)> {
    let taken = acting.present(present, server.0.store.clock().now().secs());
    taken.map_err(|failure| (failure, After::NextRequest))?;
    let answer = response::Kind::Presented(shard::Presented {});
    reply(server, stream, answer).await.map_err(|failure| (failure, After::NextRequest))
}

async fn open_deal(server: &Server, peer: NodeId, open: shard::OpenDeal) -> Result<response::Kind, Failure> {
    let nonce = <[u8; 16]>::try_from(&open.nonce[..]).map_err(|_| Failure::BadRequest("a nonce has 16 bytes"))?;
    if *server.0.stopping.borrow() {
        return Err(Failure::Stopping);
    }
    let deal = server.0.store.open_deal(peer, nonce, open.space_len, open.writer_epoch).await?;
    Ok(response::Kind::Deal(shard::Deal {
        deal_id: Bytes::copy_from_slice(deal.id.as_bytes()),
        space_len: deal.space_len,
        valid_until_ms: deal.valid_until.0,
    }))
}

async fn delete_shards(server: &Server, peer: NodeId, delete: shard::Delete) -> Result<response::Kind, Failure> {
    let deal = deal_of(&delete.deal_id)?;
    if delete.roots.len() > DELETE_ROOTS_MAX {
        return Err(Failure::BadRequest("too many roots in one Delete"));
    }
    let roots: Vec<ShardRoot> = delete.roots.iter().map(|root| root_of(root)).collect::<Result<_, _>>()?;
    server.0.store.check_writer(peer, deal, delete.writer_epoch)?;
    let removed = match &server.0.accounts {
        Some(accounts) => accounts.delete(peer, deal, roots, delete.release).await?,
        None => server.0.store.delete(peer, deal, &roots).await?,
    };
    Ok(response::Kind::Deleted(shard::Deleted { removed }))
}

async fn list_shards(server: &Server, peer: NodeId, list: shard::List) -> Result<response::Kind, Failure> {
    let deal = deal_of(&list.deal_id)?;
    let after = if list.after.is_empty() { None } else { Some(root_of(&list.after)?) };
    let max = (list.max as usize).clamp(1, LIST_PAGE_MAX);
    let store = server.0.store.clone();
    let (entries, more) = server.0.store.blocking(move || store.list(peer, deal, after, max)).await??;
    let entry = |entry: crate::store::ShardEntry| shard::ListEntry {
        root: Bytes::copy_from_slice(entry.root.as_bytes()),
        len: entry.len,
        segment_id: Bytes::copy_from_slice(entry.segment.as_bytes()),
        writer_epoch: entry.writer_epoch,
        stored_at_ms: entry.stored_at.0,
        label: entry.label,
    };
    Ok(response::Kind::Listing(shard::Listing { entries: entries.into_iter().map(entry).collect(), more }))
}

pub(super) fn deal_of(bytes: &[u8]) -> Result<DealId, Failure> {
    DealId::from_slice(bytes).ok_or(Failure::BadRequest("a deal id has 32 bytes"))
}

pub(super) fn root_of(bytes: &[u8]) -> Result<ShardRoot, Failure> {
    ShardRoot::from_slice(bytes).ok_or(Failure::BadRequest("a root has 32 bytes"))
}

/// Sends an answer within the stall time.
pub(super) async fn reply(server: &Server, stream: &mut BoxStream, kind: response::Kind) -> Result<(), Failure> {
    send(server.0.config.stall, stream, &Response { kind: Some(kind) }).await
}

async fn send(stall: Duration, stream: &mut BoxStream, response: &Response) -> Result<(), Failure> {
    let mut framed = Framed::new(stream);
    in_time(stall, framed.send(response)).await
}

/// Bounds a step that waits for the peer.
pub(super) async fn in_time<T, E: Into<Failure>>(
    stall: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    tokio::time::timeout(stall, step).await.map_err(|_| Failure::Stalled)?.map_err(Into::into)
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Frame(FrameError::Io(error))
    }
}

/// A blocking job that did not end well is the store's own failure.
impl From<tokio::task::JoinError> for Failure {
    fn from(_: tokio::task::JoinError) -> Failure {
        Failure::Store(StoreError::Closed)
    }
}
