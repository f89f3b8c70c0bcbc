//! Collects garbage: shards under our deals that no catalog row and no running upload knows, a straggler's late copy among them.
//!
//! Never: delete a shard written by a later catalog than ours, which would mean that our catalog was rolled back, or by one before ours that
//! ours knows nothing of, which can still be recovered.

use std::sync::Arc;

use cairn_coding::ShardPlace;
use cairn_proto::shard::ListEntry;
use cairn_types::{DealId, NodeId, SegmentId, ShardRoot};
use serde::Serialize;

use crate::Inner;
use crate::error::PeerError;
use crate::find::Shards;

/// What a collection saw and did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CollectReport {
    /// Shards listed.
    pub listed: u64,
    /// Bytes of the shards listed.
    pub listed_len: u64,
    /// Shards deleted.
    pub removed: u64,
    /// Bytes of the shards deleted.
    pub removed_len: u64,
    /// Providers that did not answer.
    pub unreachable: Vec<NodeId>,
    /// Shards of a later catalog than ours: nothing was deleted at their providers.
    pub from_later_catalog: u64,
    /// Shards of a catalog that was there before ours and that ours knows nothing of: they are left alone.
    pub from_earlier_catalog: u64,
}

/// Whether the catalog knows that a shard of this segment lies at this place.
pub type Live<'a> = dyn Fn(&SegmentId, &ShardPlace) -> bool + Send + Sync + 'a;

pub(crate) async fn run(inner: &Arc<Inner>, born_epoch: u64, live: &Live<'_>) -> CollectReport {
    let mut report = CollectReport::default();
    for node in inner.peers.known() {
        if inner.peers.is_superseded() {
            break; // what no catalog here knows may be in the later one
        }
        if let Err(error) = provider(inner, node, born_epoch, live, &mut report).await {
            tracing::debug!(provider = %node, %error, "not collected");
            report.unreachable.push(node);
        }
    }
    report
}

async fn provider(
    inner: &Arc<Inner>,
    node: NodeId,
    born_epoch: u64,
    live: &Live<'_>,
    report: &mut CollectReport,
) -> Result<(), PeerError> {
    let mut shards = Shards::of(inner, node).await?;
    let deal = shards.deal();
    let mut doomed = Vec::new();
    let mut doomed_len = 0u64;
    while let Some(entries) = shards.next(inner).await? {
        for entry in &entries {
            report.listed += 1;
            report.listed_len = report.listed_len.saturating_add(entry.len);
            if entry.writer_epoch > inner.writer_epoch {
                report.from_later_catalog += 1;
                tracing::error!(provider = %node, ours = inner.writer_epoch, theirs = entry.writer_epoch, "shards of a later catalog: was this one restored from a backup? nothing is collected here");
                return Ok(());
            }
            if let Some(place) = garbage(inner, node, deal, entry, live)? {
                if entry.writer_epoch < born_epoch {
                    report.from_earlier_catalog += 1;
                    continue;
                }
                doomed_len = doomed_len.saturating_add(entry.len);
                doomed.push(place);
            }
        }
    }
    let count = doomed.len() as u64;
    let left = crate::delete::places(inner, doomed).await.len() as u64;
    report.removed += count - left;
    report.removed_len = report.removed_len.saturating_add(if left == 0 { doomed_len } else { 0 });
    Ok(())
}

fn garbage(
    inner: &Inner,
    node: NodeId,
    deal: DealId,
    entry: &ListEntry,
    live: &Live<'_>,
) -> Result<Option<ShardPlace>, PeerError> {
    let segment = SegmentId::from_slice(&entry.segment_id).ok_or(PeerError::Unexpected)?;
    let root = ShardRoot::from_slice(&entry.root).ok_or(PeerError::Unexpected)?;
    let place = ShardPlace { root, provider: node, deal };
    // In flight is asked first: a writer commits its segment before it leaves the set.
    let kept = inner.in_flight.contains(&segment) || live(&segment, &place);
    Ok((!kept).then_some(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_proto::shard::{Deal, Listing, Request, Response, request, response};
    use cairn_proto::{Advert, BoxStream, Framed, Transport, TransportError};
    use cairn_types::{DataKeys, Rng, UnixMs};
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    /// A network of one provider that says of every shard that it is as long as can be.
    struct Boaster;

    impl Transport for Boaster {
        fn open(&self, _: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let mut framed = Framed::new(theirs.compat());
                while let Ok(Request { kind: Some(kind) }) = framed.control().await {
                    framed.send(&Response { kind: Some(boast(&kind)) }).await.expect("a client that listens");
                }
            });
            futures::future::ready(Ok(Box::new(ours.compat()) as BoxStream)).boxed()
        }

        fn providers(&self) -> Vec<Advert> {
            vec![Advert {
                node: NodeId([1; 32]),
                addresses: Vec::new(),
                free_len: 0,
                total_len: 0,
                region: String::new(),
                operator: String::new(),
                issued_at: UnixMs(0),
                valid_until: UnixMs(1),
                accepting: true,
            }]
        }

        fn local(&self) -> NodeId {
            NodeId([2; 32])
        }
    }

    impl Rng for Boaster {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn boast(request: &request::Kind) -> response::Kind {
        let entry = |name: u8| ListEntry {
            root: vec![name; 32].into(),
            len: u64::MAX,
            segment_id: vec![name; 16].into(),
            ..ListEntry::default()
        };
        match request {
            request::Kind::OpenDeal(_) => response::Kind::Deal(Deal { deal_id: vec![3; 32].into(), ..Deal::default() }),
            request::Kind::List(_) => response::Kind::Listing(Listing { entries: (0..3).map(entry).collect(), more: false }),
            _ => response::Kind::Deleted(Default::default()),
        }
    }

    #[tokio::test]
    async fn lengths_that_no_shard_has_do_not_end_a_collection() {
        let client = crate::Client::new(crate::Parts {
            transport: Arc::new(Boaster),
            keys: DataKeys { wrap: [1; 32], label: [2; 32] },
            rng: Arc::new(Boaster),
            writer_epoch: 0,
            config: crate::Config::default(),
        });
        let report = client.collect(0, &|segment: &SegmentId, _: &ShardPlace| segment.0[0] == 0).await;
        assert_eq!((report.listed, report.removed, report.unreachable), (3, 2, Vec::new()));
        assert_eq!((report.listed_len, report.removed_len), (u64::MAX, u64::MAX));
    }
}
