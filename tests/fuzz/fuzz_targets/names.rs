//! Names and settings in text: ids, PeerIds, phrases, network keys, redundancies, ETags. What is read is shown as it was written.
#![no_main]

use cairn_gateway::catalog::UploadId;
use cairn_gateway::objects::api::EtagMatch;
use cairn_net::psk;
use cairn_types::{Address, Amount, BlobId, DealId, NodeId, Phrase, Redundancy, SegmentId, ShardRoot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(node) = NodeId::from_peer_id_bytes(bytes) {
        assert_eq!(node.to_peer_id_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let ids = [
        text.parse::<ShardRoot>().map(|id| id.to_string()),
        text.parse::<DealId>().map(|id| id.to_string()),
        text.parse::<SegmentId>().map(|id| id.to_string()),
        text.parse::<BlobId>().map(|id| id.to_string()),
    ];
    for id in ids.into_iter().flatten() {
        assert_eq!(id, text.to_ascii_lowercase());
    }
    if let Ok(node) = text.parse::<NodeId>() {
        assert_eq!(node.to_string(), text);
    }
    if let Some(upload) = UploadId::parse(text) {
        assert_eq!(upload.to_string(), text);
    }
    if let Ok(address) = text.parse::<Address>() {
        assert!(address.to_string().eq_ignore_ascii_case(text));
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(amount) = text.parse::<Amount>() {
        assert_eq!(amount.to_string().parse(), Ok(amount));
    }
    if let Ok(redundancy) = text.parse::<Redundancy>() {
        assert_eq!(redundancy.to_string().parse(), Ok(redundancy));
    }
    if let Ok(key) = psk::parse(text) {
        assert_eq!(psk::parse(&psk::generate(key)).expect("its own format"), key);
    }
    if let Ok(phrase) = Phrase::parse(text) {
        assert_eq!(Phrase::parse(&phrase.words()).expect("its own words").words(), phrase.words());
    }
    let tags = EtagMatch::parse(text);
    assert!(matches!(tags, EtagMatch::Any) || !tags.matches("\""));
});
