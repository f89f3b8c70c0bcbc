//! Signed words: adverts and receipts. The body is signed by a key the fuzzer holds, so that what lies behind the signature is reached.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_fuzz::advert_body;
use cairn_market::domain_of;
use cairn_proto::advert_wire::SignedAdvert;
use cairn_proto::{Advert, Receipt, shard};
use cairn_types::limits::ADVERT_LEN_MAX;
use cairn_types::{NodeKey, UnixMs};
use libfuzzer_sys::fuzz_target;
use prost::Message;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    raw: bool,
    now: u64,
    signature: &'a [u8],
    body: &'a [u8],
}

fuzz_target!(|input: Input| {
    let key = NodeKey::from_secret([7; 32]);
    let now = UnixMs(input.now);
    let body = Bytes::copy_from_slice(input.body);
    if input.raw {
        let _ = Advert::verify(input.body, now);
        let receipt = shard::Receipt { body, signature: Bytes::copy_from_slice(input.signature) };
        assert!(Receipt::verify(&receipt, key.id()).is_err() || input.signature.len() == 64);
        return;
    }
    let said = advert_body(key.id(), input.body);
    let signature = Bytes::copy_from_slice(&key.sign("cairn/advert/1", &said));
    if let Ok(advert) = Advert::verify(&SignedAdvert { body: said, signature }.encode_to_vec(), now) {
        assert!(!domain_of(advert.node, &advert.operator, &advert.addresses).is_empty());
        let again = advert.sign(&key);
        assert!(again.len() <= ADVERT_LEN_MAX);
        assert_eq!(Advert::verify(&again, now), Ok(advert));
    }
    let signature = Bytes::copy_from_slice(&key.sign("cairn/receipt/1", input.body));
    if let Ok(receipt) = Receipt::verify(&shard::Receipt { body, signature }, key.id()) {
        assert_eq!(Receipt::verify(&receipt.sign(&key), key.id()), Ok(receipt));
    }
});
