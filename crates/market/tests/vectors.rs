//! The golden vectors of everything that a wallet signs: digests, signatures by fixed keys, and who is recovered.
//!
//! After a deliberate change of format (with a new version): `CAIRN_WRITE_VECTORS=1 cargo test -p cairn-market --test vectors`.

use cairn_audit::commitment::COMMITMENT_TYPE;
use cairn_audit::release::RELEASE_TYPE;
use cairn_audit::{Commitment, Release};
use cairn_market::voucher::{CLOSE_TYPE, MANDATE_TYPE, VOUCHER_TYPE};
use cairn_market::{Close, EgressPrice, Mandate, Offer, Parties, Registration, StoragePrice, Terms, Voucher};
use cairn_types::eip712::{Word, keccak256};
use cairn_types::{Address, Amount, Domain, InventoryRoot, NodeId, NodeKey, Phrase, UnixSecs, WalletKey};
use serde_json::{Value, json};

const CHAINS: [u64; 3] = [1, 31_337, 52_114];
const CHANNELS: Address = Address([0xc1; 20]);
const COURT: Address = Address([0xc2; 20]);
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
const ISSUED_SECS: u64 = 1_790_000_000;

fn check(name: &str, made: &Value) {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("CAIRN_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(made).expect("JSON of JSON") + "\n";
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let stored: Value = serde_json::from_str(&text).expect("JSON");
    assert!(&stored == made, "{path} is not what this code gives: a stored format has changed");
}

fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn key(byte: u8) -> WalletKey {
    WalletKey::from_secret(&[byte; 32]).expect("in range")
}

fn keys() -> [(&'static str, WalletKey); 5] {
    [("payer", 0x11), ("payee", 0x22), ("signer", 0x33), ("delegate", 0x44), ("providerSigner", 0x55)]
        .map(|(role, byte)| (role, key(byte)))
}

fn signed(digest: Word, key: &WalletKey, message: Value) -> Value {
    let signature = key.sign_digest(&digest);
    let recovered = signature.recover(&digest).expect("a signer");
    json!({"digest": hex0x(&digest), "message": message, "recovered": recovered, "signature": signature.to_string()})
}

fn channel_messages(channels: &Domain, parties: &Parties) -> Value {
    let channel = parties.channel_id(channels);
    let id = hex0x(channel.as_bytes());
    let amounts = [Amount::ZERO, Amount::from_base_units(1), "12.345 CRD".parse().expect("an amount"), Amount::MAX];
    let vouchers = amounts.map(|cumulative| {
        let digest = Voucher { channel, cumulative }.digest(channels);
        signed(digest, &key(0x33), json!({"channelId": id, "cumulative": cumulative}))
    });
    let closes = amounts.map(|cumulative| {
        let digest = Close { channel, cumulative }.digest(channels);
        signed(digest, &key(0x22), json!({"channelId": id, "cumulative": cumulative}))
    });
    let mandates = [(Amount::CREDIT, 1_800_000_000, 0x11), (Amount::MAX, u64::MAX, 0x33)].map(|(cumulative_max, until, by)| {
        let mandate = Mandate { channel, delegate: key(0x44).address(), cumulative_max, valid_until: UnixSecs(until) };
        let message = json!({
            "channelId": id, "cumulativeMax": cumulative_max, "delegate": mandate.delegate, "validUntil": until.to_string(),
        });
        signed(mandate.digest(channels), &key(by), message)
    });
    json!({"close": closes, "mandate": mandates, "voucher": vouchers})
}

fn court_messages(channels: &Domain, court: &Domain, parties: &Parties) -> Value {
    let channel = parties.channel_id(channels);
    let id = hex0x(channel.as_bytes());
    let (issued_at, valid_until) = (UnixSecs(ISSUED_SECS), UnixSecs(ISSUED_SECS + 72 * 3600));
    let commitments = [(1, Amount::ZERO), (123_456_789, Amount::CREDIT), (u64::MAX, Amount::MAX)].map(|(leaf_count, at_risk)| {
        let inventory_root = InventoryRoot(keccak256("an inventory"));
        let commitment = Commitment { channel, inventory_root, leaf_count, issued_at, valid_until, at_risk };
        let message = json!({
            "atRisk": at_risk, "channelId": id, "inventoryRoot": hex0x(inventory_root.as_bytes()),
            "issuedAt": issued_at.0.to_string(), "leafCount": leaf_count.to_string(), "validUntil": valid_until.0.to_string(),
        });
        signed(commitment.digest(court), &key(0x55), message)
    });
    let releases = [(1, 0x11), (65_536, 0x33)].map(|(shard_count, by)| {
        let (shards_root, released_at) = (keccak256("shards"), UnixSecs(ISSUED_SECS + 5));
        let release = Release { channel, shards_root, shard_count, released_at };
        let message = json!({
            "channelId": id, "releasedAt": released_at.0.to_string(), "shardCount": shard_count.to_string(),
            "shardsRoot": hex0x(&shards_root),
        });
        signed(release.digest(court), &key(by), message)
    });
    json!({"commitment": commitments, "release": releases})
}

#[test]
fn what_wallets_sign_is_as_stored() {
    let [payer, payee, signer, ..] = keys().map(|(_, key)| key.address());
    let parties = Parties { payer, payee, signer, salt: keccak256("salt") };
    let chain = |chain_id: u64| {
        let (channels, court) = (Domain::channels(chain_id, CHANNELS), Domain::court(chain_id, COURT));
        json!({
            "chainId": chain_id, "channelId": hex0x(parties.channel_id(&channels).as_bytes()),
            "channelsSeparator": hex0x(&channels.separator()), "courtSeparator": hex0x(&court.separator()),
            "channels": channel_messages(&channels, &parties), "court": court_messages(&channels, &court, &parties),
        })
    };
    let phrase = Phrase::parse(WORDS).expect("a phrase");
    let derived = json!({
        "phrase": WORDS, "wallet0": phrase.wallet_key(0).address(), "wallet1": phrase.wallet_key(1).address(),
        "sessionGateway0": phrase.session_key("gateway", 0).address(),
        "sessionProvider0": phrase.session_key("provider", 0).address(),
    });
    let secret = |(role, key): (&str, WalletKey)| {
        let secret = hex0x(key.secret().as_slice());
        json!({"address": key.address(), "role": role, "secret": secret})
    };
    let kinds = [
        ("close", CLOSE_TYPE),
        ("commitment", COMMITMENT_TYPE),
        ("mandate", MANDATE_TYPE),
        ("release", RELEASE_TYPE),
        ("voucher", VOUCHER_TYPE),
    ];
    check(
        "eip712",
        &json!({
            "format": "docs/formats/voucher.md, docs/formats/commitment.md", "keys": keys().map(secret), "derived": derived,
            "types": kinds.map(|(name, kind)| json!({"hash": hex0x(&keccak256(kind)), "name": name, "type": kind})),
            "channelsContract": CHANNELS, "courtContract": COURT, "salt": hex0x(&parties.salt), "chains": CHAINS.map(chain),
        }),
    );
}

#[test]
fn offers_are_as_stored() {
    let one = |(storage, egress, region): (Amount, Amount, &str)| {
        let [owner, signer, ..] = keys().map(|(_, key)| key.address());
        let terms = Terms {
            node: NodeId([0xed; 32]),
            owner,
            signer,
            chain_id: 52_114,
            channels: CHANNELS,
            court: COURT,
            providers: Address([0xc3; 20]),
            storage: StoragePrice::per_gib_month(storage),
            egress: EgressPrice::per_gib(egress),
            collateral_per_gib: Amount::CREDIT,
            epoch_ms: 3_600_000,
            grace_ms: 900_000,
            region: region.to_owned(),
        };
        let offer = Offer { terms, free_len: 1 << 40, valid_until: UnixSecs(ISSUED_SECS) };
        let terms = &offer.terms;
        json!({
            "node": hex0x(terms.node.as_bytes()), "owner": owner, "signer": signer, "chainId": terms.chain_id,
            "channels": terms.channels, "court": terms.court, "providers": terms.providers, "storage": terms.storage,
            "egress": terms.egress, "collateralPerGib": terms.collateral_per_gib, "epochMs": terms.epoch_ms,
            "graceMs": terms.grace_ms, "region": terms.region, "freeLen": offer.free_len, "validUntil": offer.valid_until,
            "termsHash": hex0x(&terms.hash()), "offerHash": hex0x(&offer.hash()),
        })
    };
    let made = [
        (Amount::ZERO, Amount::ZERO, ""),
        (Amount::from_credits(2), "0.5 CRD".parse().expect("an amount"), "eu-central"),
        (Amount::MAX, Amount::MAX, "Zürich, im Keller"),
    ];
    let [owner, signer, ..] = keys().map(|(_, key)| key.address());
    let registration = Registration { chain_id: 52_114, providers: Address([0xc3; 20]), owner, signer };
    let node = NodeKey::from_secret([0x66; 32]);
    let registration = json!({
        "chainId": registration.chain_id, "providers": registration.providers, "owner": owner, "signer": signer,
        "nodeKey": hex0x(node.id().as_bytes()), "nodeSignature": hex0x(&registration.sign(&node)),
    });
    check("offer", &json!({"format": "docs/formats/offer.md", "offers": made.map(one), "registration": registration}));
}
