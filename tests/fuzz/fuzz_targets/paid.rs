//! Words about money: offers, agreements, accounts, vouchers and commitments. What needs a signature is signed by a key that the fuzzer
//! holds, and may have the ids that no fuzzer guesses.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_market::offer::check_gouging;
use cairn_proto::{Account, Agreement, Committed, account, offer, shard};
use cairn_types::{ChannelId, NodeKey, UnixSecs};
use libfuzzer_sys::fuzz_target;
use prost::Message;

const CHANNEL: ChannelId = ChannelId([2; 32]);

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    kind: u8,
    now: u32,
    /// Put the signer's own ids where they belong.
    own_ids: bool,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input| match input.kind % 5 {
    0 => offered(&input),
    1 => agreed(&input),
    2 => accounted(input.bytes),
    3 => committed(input.bytes),
    _ => vouched(input.bytes),
});

fn client() -> NodeKey {
    NodeKey::from_secret([3; 32])
}

fn provider() -> NodeKey {
    NodeKey::from_secret([4; 32])
}

fn id(key: &NodeKey) -> Bytes {
    Bytes::copy_from_slice(key.id().as_bytes())
}

fn offered(input: &Input<'_>) {
    let (key, now) = (provider(), UnixSecs(input.now.into()));
    let mut body = Bytes::copy_from_slice(input.bytes);
    if let (true, Ok(mut read)) = (input.own_ids, shard::OfferBody::decode(input.bytes)) {
        read.terms.get_or_insert_default().node = id(&key);
        body = read.encode_to_vec().into();
    }
    let signature = Bytes::copy_from_slice(&key.sign("cairn/offer/1", &body));
    let wire = shard::SignedOffer { body, signature };
    let Ok(read) = offer::verify(&wire, key.id(), now) else { return };
    assert_eq!(offer::verify(&offer::sign(&read, &key), key.id(), now), Ok(read.clone()));
    assert!(offer::verify(&wire, client().id(), now).is_err());
    let _ = (read.hash(), check_gouging(&read.terms, &vec![read.terms.clone(); 8], u64::MAX));
}

fn agreed(input: &Input<'_>) {
    let (client, provider) = (client(), provider());
    let mut body = Bytes::copy_from_slice(input.bytes);
    if let (true, Ok(mut read)) = (input.own_ids, shard::AgreementBody::decode(input.bytes)) {
        read.client = id(&client);
        read.terms.get_or_insert_default().node = id(&provider);
        body = read.encode_to_vec().into();
    }
    let client_signature = Bytes::copy_from_slice(&client.sign("cairn/agreement/1", &body));
    let wire = shard::Agree { agreement: body, client_signature };
    let Ok(read) = Agreement::proposed(&wire) else { return };
    let signed = Agreement::accept(&wire, &provider);
    assert_eq!(Agreement::signed(&signed).is_ok(), read.terms.node == provider.id());
    assert_eq!(Agreement::proposed(&read.propose(&client)), Ok(read));
}

fn accounted(bytes: &[u8]) {
    let Ok(wire) = shard::Account::decode(bytes) else { return };
    if let Ok(read) = Account::from_wire(&wire, CHANNEL) {
        assert_eq!(read.to_wire(), wire);
    }
}

fn committed(bytes: &[u8]) {
    let Ok(wire) = shard::SignedCommitment::decode(bytes) else { return };
    if let Ok(read) = Committed::from_wire(&wire, CHANNEL) {
        assert_eq!(read.to_wire(), wire);
    }
}

fn vouched(bytes: &[u8]) {
    let Ok(wire) = shard::Pay::decode(bytes) else { return };
    if let Ok(read) = account::voucher(&wire, CHANNEL) {
        let again = account::pay(cairn_types::DealId([1; 32]), &read);
        assert_eq!((again.cumulative, again.signature), (wire.cumulative, wire.signature));
    }
}
