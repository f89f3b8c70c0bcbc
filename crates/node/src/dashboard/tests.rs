//! The front door over real sockets: who gets in, what gets through, what goes out.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::dashboard::nodes::Kind;

const PASSWORD: &str = "correct horse battery";

struct World {
    root: tempfile::TempDir,
    router: Router,
    shared: Shared,
    _node: JoinHandle<()>,
}

/// A dashboard of a node that answers and of one that does not. The node gives back what it was asked.
async fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let (listener, file) = crate::socket::bind(&root.path().join("gateway.sock")).unwrap();
    let object = get(|headers: axum::http::HeaderMap| async move {
        let known = headers.contains_key(header::IF_NONE_MATCH);
        let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        (status, [(header::CONTENT_TYPE, "text/html"), (header::ETAG, "\"e\"")], "<script>alert(1)</script>")
    });
    let echo = any(|request: axum::extract::Request| async move {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let cookie = parts.headers.contains_key(header::COOKIE);
        axum::Json(json!({"method": parts.method.as_str(), "target": parts.uri.to_string(), "body": body, "cookie": cookie}))
    });
    let app = Router::new().route("/v1/object", object).fallback(echo);
    let node = tokio::spawn(async move {
        let _file = file;
        axum::serve(listener, app).await.unwrap();
    });
    let nodes: Nodes =
        vec![Node::new("gateway", Kind::Gateway, root.path()), Node::new("gone", Kind::Provider, &root.path().join("nowhere"))]
            .into();
    let dir = root.path().join(DIR_NAME);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let auth = Arc::new(Auth::open(&dir, clock.clone(), Arc::new(SystemRng)).unwrap());
    let (told, latest) = watch::channel(Arc::new(Sample::default()));
    let shared = Shared {
        door: Door::new(auth, "127.0.0.1:8334".parse().unwrap(), &["Attic.example".into()]),
        history: Arc::new(History::open(&dir.join("history"), &nodes).unwrap()),
        alerts: Arc::new(Alerts::open(&dir.join("alerts.json")).unwrap()),
        webhooks: Arc::new(webhooks(&[], &dir, "", clock.clone()).unwrap()),
        live: Arc::new(Live::new(1)),
        stop: CancellationToken::new(),
        nodes,
        latest,
        clock,
    };
    tokio::spawn(sampler::run(shared.nodes.clone(), shared.clock.clone(), told, shared.live.clone(), shared.stop.clone()));
    World { root, router: router(shared.clone()), shared, _node: node }
}

struct Session {
    cookie: String,
    csrf: String,
}

impl World {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    fn ask(method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header("host", "127.0.0.1:8334")
    }

    async fn open(&self) -> Session {
        let token = auth::first_token(&self.root.path().join(DIR_NAME)).unwrap();
        let body = json!({"token": token, "password": PASSWORD}).to_string();
        let request = Self::ask("POST", "/api/session").header("content-type", "application/json").body(body.into()).unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.starts_with("cairn_session_8334="));
        let csrf = body_of(answer).await["csrf"].as_str().unwrap().to_owned();
        Session { cookie: cookie.split(';').next().unwrap().to_owned(), csrf }
    }
}

async fn body_of(answer: Response<Body>) -> Value {
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn code_of(answer: Response<Body>) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, body_of(answer).await["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn nobody_gets_in_without_a_session_and_no_other_site_gets_anything_done() {
    let world = world().await;
    for path in ["/api/nodes", "/api/nodes/gateway/v1/keys", "/api/alerts", "/api/events", "/api/nodes/gateway/history"] {
        let answer = world.send(World::ask("GET", path).body(Body::empty()).unwrap()).await;
        assert_eq!(code_of(answer).await, (401, "NoSession".into()), "{path}");
    }
    let session = world.open().await;
    let put = |headers: &[(&str, &str)]| {
        let mut request = World::ask("PUT", "/api/nodes/gateway/v1/buckets/b").header("cookie", &session.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    };
    let csrf = ("x-cairn-csrf", session.csrf.as_str());
    for (headers, expected) in [
        (vec![], (403, "NoCsrfWord")),
        (vec![("x-cairn-csrf", "0")], (403, "NoCsrfWord")),
        (vec![csrf, ("origin", "http://evil.example")], (403, "CrossSite")),
        (vec![csrf, ("origin", "null")], (403, "CrossSite")),
        (vec![csrf, ("origin", "http://127.0.0.1:9999")], (403, "CrossSite")),
        (vec![csrf, ("sec-fetch-site", "cross-site")], (403, "CrossSite")),
        (vec![csrf, ("sec-fetch-site", "same-site")], (403, "CrossSite")),
        (vec![csrf, ("origin", "http://127.0.0.1:8334"), ("sec-fetch-site", "same-origin")], (200, "")),
        (vec![csrf, ("origin", "https://attic.example")], (200, "")),
        (vec![csrf], (200, "")),
    ] {
        let answer = code_of(world.send(put(&headers)).await).await;
        assert_eq!((answer.0, answer.1.as_str()), expected, "{headers:?}");
    }
    let wrong = World::ask("GET", "/api/nodes").header("cookie", "cairn_session_8334=00; cairn_session_1=11").body(Body::empty());
    assert_eq!(world.send(wrong.unwrap()).await.status(), 401);
    let out = World::ask("DELETE", "/api/session").header("cookie", &session.cookie).header("x-cairn-csrf", &session.csrf);
    assert_eq!(world.send(out.body(Body::empty()).unwrap()).await.status(), 204);
    let after = World::ask("GET", "/api/nodes").header("cookie", &session.cookie).body(Body::empty()).unwrap();
    assert_eq!(world.send(after).await.status(), 401);
}

#[tokio::test]
async fn only_our_own_names_are_answered_for() {
    let world = world().await;
    for (host, status) in [
        ("127.0.0.1:8334", 200),
        ("LOCALHOST:8334", 200),
        ("[::1]:8334", 200),
        ("attic.example", 200),
        ("attic.example:1", 421),
        ("127.0.0.1", 421),
        ("127.0.0.1:8335", 421),
        ("evil.example:8334", 421),
        ("", 421),
    ] {
        for path in ["/api/session", "/health"] {
            let request = Request::builder().uri(path).header("host", host).body(Body::empty()).unwrap();
            assert_eq!(world.send(request).await.status(), status, "{host} {path}");
        }
    }
    let none = Request::builder().uri("/health").body(Body::empty()).unwrap();
    assert_eq!(world.send(none).await.status(), 421);
}

#[tokio::test]
async fn a_node_is_asked_as_the_command_line_asks_it_and_one_that_is_down_is_its_own_error() {
    let world = world().await;
    let session = world.open().await;
    let ask = |method: &str, path: &str, body: &str| {
        World::ask(method, path)
            .header("cookie", &session.cookie)
            .header("x-cairn-csrf", &session.csrf)
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let answer = body_of(world.send(ask("POST", "/api/nodes/gateway/v1/uploads?key=a%2Fb%20%25", "bytes")).await).await;
    assert_eq!(answer, json!({"method": "POST", "target": "/v1/uploads?key=a%2Fb%20%25", "body": "bytes", "cookie": false}));
    for (path, expected) in [
        ("/api/nodes/gone/v1/status", (503, "NodeUnavailable")),
        ("/api/nodes/nobody/v1/status", (404, "NoSuchNode")),
        ("/api/nodes/gateway/v1/wallet/withdraw", (403, "NotFromHere")),
    ] {
        let answer = code_of(world.send(ask("POST", path, "{}")).await).await;
        assert_eq!((answer.0, answer.1.as_str()), expected, "{path}");
    }
    let listed = body_of(world.send(ask("GET", "/api/nodes", "")).await).await;
    assert_eq!(listed, json!({"nodes": [{"name": "gateway", "kind": "gateway"}, {"name": "gone", "kind": "provider"}]}));
}

#[tokio::test]
async fn what_a_client_stored_is_never_run() {
    let world = world().await;
    let session = world.open().await;
    for (query, kind, disposition) in [
        ("bucket=b&key=k", "application/octet-stream", "attachment"),
        ("bucket=b&key=k&preview", "text/plain; charset=utf-8", "inline"),
        ("bucket=b&key=preview", "application/octet-stream", "attachment"),
    ] {
        let path = format!("/api/nodes/gateway/v1/object?{query}");
        let request = World::ask("GET", &path).header("cookie", &session.cookie).body(Body::empty()).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], kind, "{query}");
        assert_eq!(answer.headers()[header::CONTENT_DISPOSITION], disposition, "{query}");
        assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox;"));
        assert_eq!(answer.headers()[header::ETAG], "\"e\"");
    }
    // A browser takes the headers of a 304 over to the answer that it has kept.
    let request = World::ask("GET", "/api/nodes/gateway/v1/object?bucket=b&key=k&preview").header("cookie", &session.cookie);
    let kept = world.send(request.header("if-none-match", "\"e\"").body(Body::empty()).unwrap()).await;
    assert_eq!(kept.status(), StatusCode::NOT_MODIFIED);
    assert!(kept.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox;"));
    assert!(!kept.headers().contains_key(header::CONTENT_TYPE));
    let page = world.send(World::ask("GET", "/").body(Body::empty()).unwrap()).await;
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn live_numbers_reach_who_looks_and_monitors_see_the_node_that_is_down() {
    let world = world().await;
    let session = world.open().await;
    assert!(!world.shared.live.is_watched(), "routes and states are not people");
    let request = World::ask("GET", "/api/events").header("cookie", &session.cookie).body(Body::empty()).unwrap();
    let mut live = world.send(request).await.into_body();
    let first = live.frame().await.unwrap().unwrap().into_data().unwrap();
    let text = String::from_utf8(first.to_vec()).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let sample: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (sample["nodes"][0]["status"]["target"].as_str(), sample["nodes"][1]["status"].is_null()),
        (Some("/v1/status"), true)
    );
    assert!(sample["nodes"][1]["error"]["message"].as_str().unwrap().contains("gone"), "{sample}");
    let request = World::ask("GET", "/api/events").header("cookie", &session.cookie).body(Body::empty()).unwrap();
    assert_eq!(code_of(world.send(request).await).await, (503, "TooManyPages".into()));
    let ready = world.send(World::ask("GET", "/ready").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let metrics = world.send(World::ask("GET", "/metrics").body(Body::empty()).unwrap()).await;
    let text = String::from_utf8(metrics.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(
        text.contains("cairn_up{node=\"gateway\",role=\"gateway\"} 1")
            && text.contains("cairn_up{node=\"gone\",role=\"provider\"} 0")
    );
    assert!(world.shared.live.is_watched());
    world.shared.stop.cancel();
    while live.frame().await.is_some() {}
    drop(live);
    assert!(!world.shared.live.is_watched());
}
