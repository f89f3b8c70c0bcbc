//! How much is served before it is paid.

use cairn_proto::frame::Frame;
use cairn_types::limits::FRAME_LEN;

use super::*;
use crate::testbed::seeded;

const LEN: usize = 3 << 20;
const WINDOW: u64 = 1 << 20;

async fn stored(bed: &PaidBed, serving: &Serving, deposit: u128) -> (Client, Vec<u8>) {
    let mut client = bed.agreed(serving, deposit).await;
    let data = seeded(1, LEN);
    client.put(&data).await.expect("paid");
    (client, data)
}

/// Begins a read of the whole shard on a stream of its own.
async fn begin(bed: &PaidBed, serving: &Serving, client: &Client, data: &[u8]) -> Peer {
    let mut peer = bed.connect(serving);
    send(&mut peer, read(client.deal, shard_root(data), 0, LEN as u64, false)).await;
    peer
}

/// Takes what comes until the end of the range or a refusal.
async fn take(peer: &mut Peer) -> (u64, Option<RefusalCode>) {
    let mut len = 0;
    while len < LEN as u64 {
        match peer.next().await.expect("a good stream").expect("not ended") {
            Frame::Body(body) => len += body.len() as u64,
            Frame::Control(payload) => {
                let response: shard::Response = prost::Message::decode(payload).expect("a response");
                match response.kind {
                    Some(response::Kind::ReadHead(_)) => {}
                    Some(other) => return (len, Some(code(other))),
                    None => panic!("of no kind"),
                }
            }
        }
    }
    (len, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_beyond_the_window_waits_and_is_then_refused() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let (mut client, data) = stored(&bed, &serving, 1 << 60).await;
    let begun = std::time::Instant::now();
    let (len, refused) = take(&mut begin(&bed, &serving, &client, &data).await).await;
    assert_eq!(refused, Some(RefusalCode::PaymentDue));
    assert!(len <= WINDOW && len > WINDOW - 5 * FRAME_LEN as u64, "{len} bytes came");
    assert!(begun.elapsed() >= Duration::from_millis(300), "it waited for the stall time");
    let account = client.account(bed.now()).await.expect("agreed");
    assert_eq!(account.egress_len, len, "what was counted is what came");
    // The stream goes on, and with pay so does the read.
    client.pay(u128::from(len)).await.expect("owed");
    let mut peer = begin(&bed, &serving, &client, &data).await;
    let (again, refused) = take(&mut peer).await;
    assert_eq!((again, refused), (len, Some(RefusalCode::PaymentDue)));
    client.pay(u128::from(2 * len)).await.expect("owed");
    assert_eq!(get(&mut peer, client.deal, shard_root(&data), 0, 100_000, false).await, data[..100_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_another_stream_lets_waiting_reads_go_on() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let (mut client, data) = stored(&bed, &serving, 1 << 60).await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        readers.push(tokio::spawn({
            let mut peer = begin(&bed, &serving, &client, &data).await;
            async move { take(&mut peer).await }
        }));
    }
    // Always what was counted so far, as a client's payer does.
    let mut paid = 0;
    while readers.iter().any(|reader| !reader.is_finished()) {
        let read_len = client.account(bed.now()).await.expect("agreed").egress_len;
        assert!(read_len - paid <= WINDOW + 2 * 4 * FRAME_LEN as u64);
        if read_len > paid {
            paid = read_len;
            client.pay(u128::from(paid)).await.expect("more");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for reader in readers {
        assert_eq!(reader.await.expect("read"), (LEN as u64, None));
    }
    assert_eq!(client.account(bed.now()).await.expect("agreed").egress_len, 2 * LEN as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_end_with_the_deposit_and_go_on_after_a_top_up() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let deposit = 5 << 20;
    let (mut client, data) = stored(&bed, &serving, deposit).await;
    client.pay(4 << 20).await.expect("prepaid");
    assert_eq!(client.get(&data).await, data);
    client.pay(deposit).await.expect("the whole deposit");
    let (len, refused) = take(&mut begin(&bed, &serving, &client, &data).await).await;
    assert_eq!(refused, Some(RefusalCode::PaymentDue), "{len} bytes came");
    bed.chain.top_up_from_outside(client.channel, units(100 << 20));
    bed.pass(super::super::LOOK_MS_MIN);
    client.pay(20 << 20).await.expect("topped up");
    let (len, refused) = take(&mut begin(&bed, &serving, &client, &data).await).await;
    assert_eq!((len, refused), (LEN as u64, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_refused_when_payment_is_overdue_and_taken_again_when_it_came() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let (mut client, _) = stored(&bed, &serving, 1 << 60).await;
    bed.pass(2 * EPOCH_MS);
    let committed = client.commit(bed.now()).await.expect("agreed");
    let owed = (committed.account.leaf_ms << 40) / 2_592_000_000;
    bed.pass(10_000);
    assert_eq!(client.put(b"late").await, Err(RefusalCode::PaymentDue));
    client.peer = bed.connect(&serving);
    client.pay(owed - 1).await.expect("not all");
    assert_eq!(client.put(b"late").await, Err(RefusalCode::PaymentDue));
    client.peer = bed.connect(&serving);
    client.pay(owed).await.expect("all up to the commitment");
    client.put(b"again").await.expect("paid");
    assert!(!serving.accounts.list().expect("one")[0].overdue);
}
