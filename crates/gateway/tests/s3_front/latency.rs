//! Connections: no Nagle delay, keep-alive, limits, and an orderly end.

use std::time::{Duration, Instant};

use cairn_gateway::s3::S3Config;

use crate::client::Ask;
use crate::world::{World, noise};

/// Nagle's algorithm with delayed acknowledgements costs 40 ms: a small write waits until the one before is acknowledged, and the
/// client, which has nothing to say, waits with that. Two requests at once make two small writes.
#[tokio::test(flavor = "multi_thread")]
async fn small_reads_on_a_kept_connection_do_not_wait_for_acknowledgements() {
    let world = World::with_bucket().await;
    world.put("k", noise(4096)).await;
    for at_once in [1, 2] {
        let mut connection = world.connect().await;
        let mut times = Vec::new();
        for _ in 0..41 {
            let (head, _) = Ask::new("GET", "/bucket/k").signed(&world.scope(), &world.host());
            let begun = Instant::now();
            connection.write(&head.repeat(at_once)).await.unwrap();
            for _ in 0..at_once {
                let answer = connection.read("GET").await.unwrap().expect(200);
                assert_eq!(answer.body.len(), 4096);
            }
            times.push(begun.elapsed());
        }
        times.sort();
        eprintln!("{at_once} at once: fastest {:?}, median {:?}, slowest {:?}", times[0], times[20], times[40]);
        assert!(times[20] < Duration::from_millis(30), "{times:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_finish_after_shutdown_began() {
    let world = World::with_bucket().await;
    let data = noise(500_000);
    let ask = Ask::new("PUT", "/bucket/k").body(&data);
    let (head, _) = ask.signed(&world.scope(), &world.host());
    let mut busy = world.connect().await;
    busy.write(&head).await.unwrap();
    busy.write(&data[..250_000]).await.unwrap();
    let mut idle = world.connect().await;
    let (get, _) = Ask::new("GET", "/bucket/none").signed(&world.scope(), &world.host());
    idle.write(&get).await.unwrap();
    idle.read("GET").await.unwrap().expect(404);

    world.shutdown.cancel();
    assert!(idle.read("GET").await.is_err(), "an idle connection is closed");
    busy.write(&data[250_000..]).await.unwrap();
    let answer = busy.read("PUT").await.unwrap().expect(200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(tokio::net::TcpStream::connect(world.address).await.is_err(), "nothing new is accepted");
    assert_eq!(world.objects.head("bucket", "k").await.unwrap().len, 500_000);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_end_is_cut_off() {
    let world = World::with(S3Config { drain: Duration::from_millis(200), ..S3Config::default() }).await;
    world.ask(Ask::new("PUT", "/bucket")).await.expect(200);
    let (head, _) = Ask::new("PUT", "/bucket/k").body("never sent").signed(&world.scope(), &world.host());
    let mut connection = world.connect().await;
    connection.write(&head).await.unwrap();
    world.shutdown.cancel();
    let begun = Instant::now();
    assert!(connection.read("PUT").await.is_err());
    world.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_connections_are_bounded() {
    let config = S3Config { connections_max: 2, head_timeout: Duration::from_millis(300), ..S3Config::default() };
    let world = World::with(config).await;
    let long = Ask::new("GET", "/bucket").header("x-filler", &"x".repeat(40_000));
    world.ask(long).await.expect(431);

    let slow: Vec<_> = futures::future::join_all((0..2).map(|_| world.connect())).await;
    // both places are taken by connections that say nothing, until they are given up
    let begun = Instant::now();
    world.ask(Ask::new("GET", "/")).await.expect(200);
    assert!(begun.elapsed() >= Duration::from_millis(150), "a third connection was served at once");
    drop(slow);
    world.stop().await;
}
