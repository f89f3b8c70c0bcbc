//! What strangers tell of themselves and others: the advert exchange, records of the DHT, addresses in text and binary form.
#![no_main]

use bytes::Bytes;
use cairn_fuzz::{NOW, Peer, advert_body};
use cairn_net::PEER_ADDRESSES_MAX;
use cairn_net::fuzzing::{dialable, exchange, record};
use cairn_proto::advert_wire::SignedAdvert;
use cairn_types::NodeKey;
use cairn_types::limits::ADVERT_LEN_MAX;
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use sha2::{Digest, Sha256};

fuzz_target!(|input: &[u8]| {
    let Some((mode, input)) = input.split_first() else { return };
    match mode % 4 {
        0 => swap(input, mode & 4 == 0),
        1 => assert!(record(input.get(..32).unwrap_or_default(), input.get(32..).unwrap_or_default(), NOW).is_none()),
        2 => signed_record(input),
        _ => addresses(input, mode & 4 == 0),
    }
});

fn swap(input: &[u8], provider: bool) {
    let own = provider.then(|| Bytes::from_static(&[7; 300]));
    let (mut peer, output) = Peer::saying(input.to_vec());
    if let Ok(Some(theirs)) = block_on(exchange(&mut peer, own.clone())) {
        assert!(theirs.len() <= ADVERT_LEN_MAX && input[2..].starts_with(&theirs));
    }
    assert_eq!(output.lock().expect("no other thread").len(), 2 + own.map_or(0, |own| own.len()));
}

/// Signed by a key that the fuzzer holds: what it says is believed only if it names that key and lies under it.
fn signed_record(rest: &[u8]) {
    let key = NodeKey::from_secret([7; 32]);
    let body = advert_body(key.id(), rest);
    let own_key: [u8; 32] = Sha256::new().chain_update("cairn/advert/1").chain_update(key.id().as_bytes()).finalize().into();
    let signature = Bytes::copy_from_slice(&key.sign("cairn/advert/1", &body));
    let value = SignedAdvert { body, signature }.encode_to_vec();
    if let Some(advert) = record(&own_key, &value, NOW) {
        assert_eq!(advert.node, key.id());
        assert!(record(&own_key[1..], &value, NOW).is_none());
        let kept = dialable(&advert.addresses, &[], false);
        assert!(kept.len() <= PEER_ADDRESSES_MAX);
    }
}

fn addresses(input: &[u8], private: bool) {
    let texts: Vec<String> = String::from_utf8_lossy(input).lines().map(str::to_owned).collect();
    let kept = dialable(&texts, input, private);
    assert!(kept.len() <= PEER_ADDRESSES_MAX);
    assert_eq!(dialable(&kept, &[], private), kept, "what is kept is kept again");
}
