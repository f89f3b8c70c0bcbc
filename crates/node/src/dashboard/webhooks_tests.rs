//! Webhooks over real sockets: each alert is told once, begun and over, whatever fails or restarts in between.

use std::sync::atomic::{AtomicU16, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::nodes::Kind;
use super::super::sampler::{NodeSample, Sample};
use super::*;
use crate::world::SystemClock;

/// A service that answers with `status` and passes on what it was told.
struct Service {
    hook: Hook,
    status: Arc<AtomicU16>,
    told: mpsc::UnboundedReceiver<Value>,
}

impl Service {
    async fn start(status: u16) -> Service {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = format!("http://{}/secret?token=1", listener.local_addr().unwrap()).parse().unwrap();
        let (status, (told, seen)) = (Arc::new(AtomicU16::new(status)), mpsc::unbounded_channel());
        type Shared = (Arc<AtomicU16>, mpsc::UnboundedSender<Value>);
        let take = |State((status, told)): State<Shared>, Json(body): Json<Value>| async move {
            told.send(body).unwrap();
            StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap()
        };
        let router = Router::new().route("/secret", post(take)).with_state((status.clone(), told));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Service { hook, status, told: seen }
    }

    async fn next(&mut self) -> Value {
        tokio::time::timeout(Duration::from_secs(20), self.told.recv()).await.expect("it is told").expect("it runs")
    }
}

struct World {
    root: tempfile::TempDir,
    alerts: Arc<Alerts>,
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        let alerts = Arc::new(Alerts::open(&root.path().join("alerts.json")).unwrap());
        World { root, alerts }
    }

    fn open(&self, hooks: &[Hook]) -> Arc<Webhooks> {
        let path = self.root.path().join("webhooks.json");
        let webhooks = Webhooks::open(hooks, &path, "http://127.0.0.1:1", Arc::new(SystemClock)).unwrap();
        Arc::new(Webhooks { pause: Duration::from_millis(20), ..webhooks })
    }

    fn run(&self, hooks: &[Hook]) -> (Arc<Webhooks>, CancellationToken, tokio::task::JoinHandle<()>) {
        let (webhooks, stop) = (self.open(hooks), CancellationToken::new());
        let running = tokio::spawn(webhooks.clone().run(self.alerts.clone(), stop.clone()));
        (webhooks, stop, running)
    }

    /// Waits until it is on disk that a hook was told; a stop between its yes and that would have it told again.
    async fn is_noted(&self) {
        let path = self.root.path().join("webhooks.json");
        eventually(|| std::fs::read_to_string(&path).is_ok_and(|text| text.contains("p1/disk//a"))).await;
    }

    /// The disk of a provider takes writes, or not.
    fn disk(&self, at: u64, read_only: Option<&str>) {
        let status = serde_json::json!({"store": {"disks": [{"path": "/a", "read_only": read_only}]}});
        let node = NodeSample { status: Some(status), ..NodeSample::new("p1", Kind::Provider) };
        self.alerts.note(&Sample { at: UnixMs(at), nodes: vec![node] });
    }
}

async fn eventually(mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it happens");
}

#[test]
fn an_address_of_a_hook_is_a_url_and_only_its_host_is_shown() {
    for (text, good) in [
        ("https://hooks.example/T0/secret", true),
        ("http://127.0.0.1:9/x?token=1", true),
        ("ftp://hooks.example/", false),
        ("/path", false),
        ("hooks.example", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<Hook>().map(|hook| hook.to_string()).ok().as_deref(), good.then_some(text), "{text}");
    }
    let hook: Hook = "https://hooks.example:444/T0/secret".parse().unwrap();
    assert_eq!(hook.shown(), "https://hooks.example:444");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_when_it_begins_and_when_it_is_over_and_once_across_a_restart() {
    let (world, mut service) = (World::new(), Service::start(204).await);
    let hooks = [service.hook.clone(), service.hook.clone()];
    world.disk(5, Some("I/O error"));
    let (webhooks, stop, running) = world.run(&hooks);
    let told = service.next().await;
    assert_eq!((&told["event"], &told["alert"]["id"]), (&"raised".into(), &"p1/disk//a".into()), "{told}");
    assert_eq!((&told["alert"]["severity"], &told["dashboard"]), (&"critical".into(), &"http://127.0.0.1:1".into()));
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("[critical] p1: The disk /a takes no writes. Cause: I/O error. What helps: "), "{text}");
    world.is_noted().await;
    stop.cancel();
    running.await.unwrap();
    let view = webhooks.view();
    assert!(view.len() == 1 && view[0].trouble.is_none() && !view[0].hook.contains("secret"), "{view:?}");
    // What began before the restart and is over after it is one message, not two.
    let (webhooks, stop, running) = world.run(&hooks);
    world.disk(6, None);
    let told = service.next().await;
    assert_eq!((&told["event"], &told["text"]), (&"over".into(), &"[over] p1: The disk /a takes no writes".into()));
    // It comes back as a new matter.
    world.disk(7, Some("again"));
    assert_eq!(service.next().await["event"], "raised");
    assert_eq!(webhooks.test().await.len(), 1);
    assert_eq!(service.next().await["event"], "test");
    stop.cancel();
    running.await.unwrap();
    assert!(service.told.try_recv().is_err(), "nothing is told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_is_asked_again_and_holds_up_no_other() {
    let (world, mut bad, mut good) = (World::new(), Service::start(500).await, Service::start(200).await);
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let nobody: Hook = format!("http://{free}/").parse().unwrap();
    world.disk(1, Some("a"));
    let (webhooks, stop, running) = world.run(&[bad.hook.clone(), nobody.clone(), good.hook.clone()]);
    assert_eq!(good.next().await["event"], "raised");
    assert_eq!(bad.next().await["event"], "raised");
    assert_eq!(bad.next().await["event"], "raised", "it is asked again");
    let view = webhooks.view();
    let of = |hook: &Hook| view.iter().find(|view| view.hook == hook.shown()).unwrap().trouble.clone();
    assert_eq!(of(&bad.hook).as_deref(), Some("it answers HTTP 500"));
    assert!(of(&nobody).is_some_and(|why| why.contains("onnect")), "{view:?}");
    bad.status.store(200, Ordering::SeqCst);
    eventually(|| webhooks.view().iter().any(|view| view.hook == bad.hook.shown() && view.trouble.is_none())).await;
    world.disk(2, None);
    assert_eq!(good.next().await["event"], "over");
    loop {
        let told = bad.next().await;
        if told["event"] == "over" {
            break;
        }
        assert_eq!(told["event"], "raised", "the tries before");
    }
    stop.cancel();
    running.await.unwrap();
    assert!(good.told.try_recv().is_err(), "nothing is told twice");
}

#[test]
fn what_is_over_or_known_before_it_could_be_told_is_not_told() {
    let world = World::new();
    world.disk(1, Some("a"));
    assert_eq!(due(&world.alerts.list(), &BTreeMap::new()).len(), 1);
    assert!(world.alerts.acknowledge("p1/disk//a", UnixMs(2)));
    assert!(due(&world.alerts.list(), &BTreeMap::new()).is_empty(), "somebody knows");
    world.disk(3, None);
    assert!(due(&world.alerts.list(), &BTreeMap::new()).is_empty(), "it is over");
    let told = |since: u64| BTreeMap::from([("p1/disk//a".to_owned(), Told { since: UnixMs(since), over: false })]);
    assert_eq!(due(&world.alerts.list(), &told(1))[0].0, Event::Over);
    assert!(due(&world.alerts.list(), &told(9)).is_empty(), "another one was told");
}
