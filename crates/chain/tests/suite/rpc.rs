//! JSON-RPC of the embedded chain: what it answers, what it refuses, what it survives.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Signature, TxKind, U256, hex as hexes};
use cairn_chain::embedded::limits;
use cairn_chain::{CHAIN_ID, Contracts};
use cairn_types::{Address, WalletKey};
use serde_json::{Value, json};

use crate::world::{World, id, key, serve};

/// A signed transfer of coin, in hex.
pub fn transfer_raw(key: &WalletKey, nonce: u64, to: Address, value: u64, fee: u128) -> String {
    signed(
        key,
        TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: fee,
            to: TxKind::Call(to.0.into()),
            value: U256::from(value),
            ..TxEip1559::default()
        },
    )
}

pub fn signed(key: &WalletKey, tx: TxEip1559) -> String {
    let signature = key.sign_digest(&tx.signature_hash().0).0;
    let (r, s) = (U256::from_be_slice(&signature[..32]), U256::from_be_slice(&signature[32..64]));
    let envelope = TxEnvelope::from(tx.into_signed(Signature::new(r, s, signature[64] == 28)));
    hexes::encode_prefixed(envelope.encoded_2718())
}

/// Posts any body and reads status and answer.
async fn post(url: &str, body: impl Into<bytes::Bytes>) -> (u16, Value) {
    use http_body_util::{BodyExt, Full};
    use hyper_util::client::legacy::Client;
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let request = http::Request::post(url).body(Full::new(body.into())).unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn call(url: &str, method: &str, params: Value) -> Value {
    post(url, json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()).await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_refused_with_a_code_and_nothing_breaks() {
    let world = World::embedded().await;
    let (url, ann) = (world.url.as_str(), key("ann"));
    let tx = |change: fn(&mut TxEip1559)| {
        let mut tx =
            TxEip1559 { chain_id: CHAIN_ID, gas_limit: 21_000, to: TxKind::Call([9; 20].into()), ..TxEip1559::default() };
        change(&mut tx);
        json!([signed(&ann, tx)])
    };
    let token = Contracts::at_genesis().token.to_string();
    let cases: [(&str, &str, Value, i64, &str); 24] = [
        ("no such method", "eth_sign", json!([]), -32601, "eth_sign"),
        ("a test clock call is there only with the flag", "evm_snapshot", json!([]), -32601, ""),
        ("params by name", "eth_getBalance", json!({"address": token}), -32602, "list"),
        ("missing", "eth_getBalance", json!([]), -32602, "missing"),
        ("not an address", "eth_getBalance", json!(["0x12", "latest"]), -32602, "address"),
        ("unknown block", "eth_getBalance", json!([token, "0xffffff"]), -32000, "unknown block"),
        (
            "unknown block hash",
            "eth_call",
            json!([{"to": token}, {"blockHash": format!("0x{}", "33".repeat(32))}]),
            -32000,
            "unknown block",
        ),
        ("not a transaction", "eth_sendRawTransaction", json!(["0x02"]), -32000, "not a transaction"),
        ("odd hex", "eth_sendRawTransaction", json!(["0x0"]), -32602, "hex"),
        (
            "a long transaction",
            "eth_sendRawTransaction",
            json!([format!("0x{}", "00".repeat(limits::TX_LEN_MAX + 1))]),
            -32602,
            "hex",
        ),
        ("another chain", "eth_sendRawTransaction", tx(|tx| tx.chain_id = 1), -32000, "chain 1"),
        ("too much gas", "eth_sendRawTransaction", tx(|tx| tx.gas_limit = limits::TX_GAS_MAX + 1), -32000, "gas"),
        ("too little gas", "eth_sendRawTransaction", tx(|tx| tx.gas_limit = 20_999), -32000, "gas"),
        ("a gap", "eth_sendRawTransaction", tx(|tx| tx.nonce = 3), -32000, "nonce too high"),
        ("more than there is", "eth_sendRawTransaction", tx(|tx| tx.value = U256::MAX), -32000, "insufficient funds"),
        ("fees beyond the balance", "eth_sendRawTransaction", tx(|tx| tx.max_fee_per_gas = u128::MAX), -32000, ""),
        ("priority above the fee", "eth_sendRawTransaction", tx(|tx| tx.max_priority_fee_per_gas = 1), -32000, "priority"),
        ("a long range", "eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "0x7fffffffffffffff"}]), 0, ""),
        ("topics that are none", "eth_getLogs", json!([{"topics": "all"}]), -32602, "topics"),
        (
            "a hash and a range",
            "eth_getLogs",
            json!([{"blockHash": format!("0x{}", "33".repeat(32)), "fromBlock": "0x0"}]),
            -32602,
            "excludes",
        ),
        ("overrides", "eth_call", json!([{"to": token}, "latest", {token.clone(): {"balance": "0x1"}}]), -32602, "overrides"),
        ("input and data", "eth_call", json!([{"to": token, "data": "0x01", "input": "0x02"}]), -32602, "differ"),
        ("a loop without an end", "eth_call", json!([{"data": "0x5b600056"}]), -32000, "OutOfGas"),
        ("memory without an end", "eth_call", json!([{"data": "0x60016fffffffffffffffffffffffffffffffff52"}]), -32000, ""),
    ];
    for (name, method, params, code, text) in cases {
        let answer = call(url, method, params).await;
        if code == 0 {
            assert!(answer["result"].is_array(), "{name}: {answer}"); // an end beyond the head is the head
            continue;
        }
        assert_eq!(answer["error"]["code"], code, "{name}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(text), "{name}: {answer}");
        assert_eq!(answer["id"], 7, "{name}");
    }
    assert_eq!(world.ask("eth_blockNumber", json!([])).await, "0x5", "nothing of this was mined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_reverting_calls_say_so() {
    let world = World::embedded().await;
    let (url, ann, token) = (world.url.as_str(), key("ann"), Contracts::at_genesis().token.to_string());
    let mut forged = hex::decode(&transfer_raw(&ann, 0, Address([9; 20]), 1, 0)[2..]).unwrap();
    let last = forged.len() - 40;
    forged[last..last + 8].copy_from_slice(&[0xff; 8]);
    let forged = call(url, "eth_sendRawTransaction", json!([format!("0x{}", hex::encode(forged))])).await;
    assert!(forged["error"]["code"].is_i64(), "a signature of nobody we know pays with nobody's coin: {forged}");
    let revert =
        call(url, "eth_call", json!([{"to": token, "input": format!("0xa9059cbb{}{}", "00".repeat(32), "11".repeat(32))}])).await;
    assert_eq!(revert["error"]["code"], 3, "{revert}");
    assert!(revert["error"]["data"].as_str().unwrap().starts_with("0x"), "{revert}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_http_and_batches_are_bounded() {
    let world = World::embedded().await;
    let url = world.url.as_str();
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"});
    let bodies: [(&str, String, u16, i64); 7] = [
        ("no JSON", "{".into(), 200, -32700),
        ("deep JSON", "[".repeat(100_000), 200, -32700),
        ("a number", "7".into(), 200, -32600),
        ("an empty batch", "[]".into(), 200, -32600),
        ("a long batch", json!(vec![one.clone(); limits::BATCH_CALLS_MAX + 1]).to_string(), 200, -32600),
        ("an odd id", json!({"id": {}, "method": "eth_chainId"}).to_string(), 200, -32600),
        ("a long body", " ".repeat(limits::BODY_LEN_MAX + 1), 413, 0),
    ];
    for (name, body, status, code) in bodies {
        let (found, answer) = post(url, body).await;
        assert_eq!(found, status, "{name}: {answer}");
        if code != 0 {
            assert_eq!(answer["error"]["code"], code, "{name}: {answer}");
        }
    }
    let batch = json!([one, {"jsonrpc": "2.0", "method": "eth_chainId"}, 5, {"id": "x", "method": "eth_blockNumber"}]);
    let (_, answers) = post(url, batch.to_string()).await;
    assert_eq!(answers.as_array().unwrap().len(), 3, "a notification has no answer: {answers}");
    assert_eq!((&answers[0]["result"], &answers[2]["result"]), (&json!("0xcb92"), &json!("0x5")));
    // Slow and idle clients take no worker away.
    let address = url.strip_prefix("http://").unwrap();
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"POST / HTTP/1.1\r\nContent-Length: 10\r\n").await.unwrap();
        idle.push(stream);
    }
    assert_eq!(call(url, "eth_chainId", json!([])).await["result"], "0xcb92");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_can_be_asked_for() {
    let world = World::embedded().await;
    let (ann, bob) = (world.wallet("ann").await, Address([0x0b; 20]));
    ann.drip().await;
    let token = ann.chain.contracts().token.to_string();
    let input = format!("0x70a08231{:0>64}", hex::encode(ann.address().0));
    let mut before = Vec::new();
    for count in 0..3u64 {
        let block = world.ask("eth_blockNumber", json!([])).await;
        let balance = world.ask("eth_call", json!([{"to": token, "input": input}, block])).await;
        before.push((block, balance));
        let name = format!("pay/{count}");
        ann.chain.transfer(id(&name), bob, cairn_types::Amount::CREDIT).await.unwrap();
        ann.done(id(&name)).await;
    }
    assert!(before.windows(2).all(|pair| pair[0].1 != pair[1].1));
    for (block, balance) in before {
        assert_eq!(world.ask("eth_call", json!([{"to": token, "input": input}, block])).await, balance, "{block}");
        let header = world.ask("eth_getBlockByNumber", json!([block, true])).await;
        let by_hash = world.ask("eth_getBlockByHash", json!([header["hash"], true])).await;
        assert_eq!(header, by_hash);
        assert_eq!(world.ask("eth_call", json!([{"to": token, "input": input}, {"blockHash": header["hash"]}])).await, balance);
    }
    assert_eq!(world.ask("eth_getCode", json!([token, "0x0"])).await, "0x", "before it was made");
    assert_eq!(world.ask("eth_getTransactionCount", json!([ann.address().to_string(), "0x5"])).await, "0x0");
    assert_eq!(world.ask("eth_getTransactionCount", json!([ann.address().to_string(), "pending"])).await, "0x4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_is_enough_and_not_much_more() {
    let world = World::embedded().await;
    let ann = world.wallet("ann").await;
    ann.drip().await;
    let (token, from) = (ann.chain.contracts().token, ann.address().to_string());
    let input = format!("0xa9059cbb{:0>64}{:0>64}", "77".repeat(20), "1");
    let estimate = world.ask("eth_estimateGas", json!([{"from": from, "to": token.to_string(), "input": input}])).await;
    let estimate = u64::from_str_radix(&estimate.as_str().unwrap()[2..], 16).unwrap();
    let tx = |nonce, gas_limit| TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit,
        to: TxKind::Call(token.0.into()),
        input: input.parse().unwrap(),
        ..TxEip1559::default()
    };
    for (nonce, gas, status) in [(1, estimate * 9 / 10, "0x0"), (2, estimate, "0x1")] {
        let hash = world.ask("eth_sendRawTransaction", json!([signed(&ann.key, tx(nonce, gas))])).await;
        let receipt = world.ask("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(receipt["status"], status, "{gas} of {estimate}: {receipt}");
    }
    let plain = world.ask("eth_estimateGas", json!([{"from": from, "to": Address([5; 20]).to_string(), "value": "0x1"}])).await;
    assert_eq!(plain, "0x5208");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_the_chain_and_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (url, chain, stop) = serve(dir.path()).await;
    assert_eq!(call(&url, "evm_increaseTime", json!([1_000_000])).await["result"], 1_000_000);
    let raw = transfer_raw(&key("ann"), 0, Address([9; 20]), 5, 1);
    let hash = call(&url, "eth_sendRawTransaction", json!([raw])).await["result"].clone();
    assert_eq!(call(&url, "eth_sendRawTransaction", json!([raw])).await["result"], hash, "sent twice, mined once");
    let head = call(&url, "eth_getBlockByNumber", json!(["latest", true])).await["result"].clone();
    assert_eq!((&head["number"], &head["transactions"][0]["hash"]), (&json!("0x6"), &hash));
    stop.cancel();
    drop(chain);
    // The directory is free again when the last connection has seen the stop.
    let (url, chain, stop) = loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let config = cairn_chain::embedded::EmbeddedConfig::new(dir.path().join("chain"));
        let opened = tokio::task::spawn_blocking(move || {
            cairn_chain::embedded::Embedded::open(config, std::sync::Arc::new(crate::world::System), &crate::world::System)
        });
        if opened.await.unwrap().is_ok() {
            break serve(dir.path()).await;
        }
    };
    assert_eq!(call(&url, "eth_getBlockByNumber", json!(["latest", true])).await["result"], head);
    chain.verify().unwrap();
    call(&url, "evm_mine", json!([])).await;
    let next = call(&url, "eth_getBlockByNumber", json!(["latest", false])).await["result"].clone();
    assert_eq!(next["parentHash"], head["hash"]);
    assert!(next["timestamp"].as_str() >= head["timestamp"].as_str(), "time does not go back");
    stop.cancel();
}
