//! Deletes shards at their providers, one request per provider and thousand shards.
//!
//! Never: forget a place that did not answer; it is given back.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cairn_coding::ShardPlace;
use cairn_proto::shard::{Delete, request, response};
use cairn_proto::{DELETE_ROOTS_MAX, RefusalCode};
use cairn_types::{DealId, NodeId};
use futures::StreamExt;
use futures::stream;

use crate::Inner;
use crate::error::PeerError;

const PROVIDERS_AT_ONCE: usize = 8;

/// Deletes `places`; returns those that may still be there.
pub(crate) async fn places(inner: &Arc<Inner>, places: Vec<ShardPlace>) -> Vec<ShardPlace> {
    let mut by_deal: HashMap<(NodeId, DealId), Vec<ShardPlace>> = HashMap::new();
    for place in places {
        by_deal.entry((place.provider, place.deal)).or_default().push(place);
    }
    let batches: Vec<_> = by_deal
        .into_iter()
        .flat_map(|(at, places)| places.chunks(DELETE_ROOTS_MAX).map(|part| (at, part.to_vec())).collect::<Vec<_>>())
        .collect();
    let left = stream::iter(batches).map(|((node, deal), part)| async move {
        if let Some(pay) = &inner.pay
            && let Some(account) = pay.account_for(inner, node, deal).await
        {
            let roots = part.iter().map(|place| place.root).collect();
            return match crate::pay::delete(inner, pay, &account, roots).await {
                Ok(()) => Vec::new(),
                Err(error) => {
                    tracing::debug!(provider = %node, %error, shards = part.len(), "shards not released yet");
                    part
                }
            };
        }
        let delete = Delete {
            deal_id: Bytes::copy_from_slice(deal.as_bytes()),
            roots: part.iter().map(|place| Bytes::copy_from_slice(place.root.as_bytes())).collect(),
            release: None,
            writer_epoch: inner.writer_epoch,
        };
        match inner.peers.call(node, request::Kind::Delete(delete)).await {
            Ok(response::Kind::Deleted(_)) => Vec::new(),
            Err(PeerError::Refused { code: RefusalCode::UnknownDeal, .. }) => Vec::new(), // the provider holds nothing of ours
            Ok(_) => part,
            Err(error) => {
                tracing::debug!(provider = %node, %error, shards = part.len(), "shards not deleted yet");
                part
            }
        }
    });
    left.buffer_unordered(PROVIDERS_AT_ONCE).concat().await
}

/// Deletes `places` in the background, a few times; what is left is the collector's.
pub(crate) fn in_background(inner: &Arc<Inner>, mut places_left: Vec<ShardPlace>, guard: crate::in_flight::InFlightGuard) {
    const TRIES: u32 = 3;
    if places_left.is_empty() {
        return;
    }
    let inner = inner.clone();
    tokio::spawn(async move {
        for attempt in 0..TRIES {
            places_left = places(&inner, places_left).await;
            if places_left.is_empty() {
                break;
            }
            tokio::time::sleep(inner.config.straggler_grace * 2u32.pow(attempt)).await;
        }
        drop(guard);
    });
}
