//! Live numbers, charts, alerts, and what monitors ask.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cairn_types::UnixMs;
use serde::Deserialize;
use serde_json::{Value, json};

use super::nodes::find;
use super::{LIVE_MAX, Shared, metrics as prometheus};
use crate::answer::Refused;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /api/events`: server-sent events; each `sample` is all nodes at one moment, `{"at","alerts","nodes":[…]}`.
pub async fn events(State(shared): State<Shared>) -> Result<Response, Refused> {
    let Some(seat) = shared.live.sit_down() else {
        let message = format!("{LIVE_MAX} pages are live already");
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "TooManyPages", message, "close some of them"));
    };
    let mut latest = shared.latest.clone();
    latest.mark_changed();
    let told = futures::stream::unfold((latest, shared, seat), |(mut latest, shared, seat)| async move {
        let sample = loop {
            shared.stop.run_until_cancelled(latest.changed()).await?.ok()?;
            // Before the first round there is nothing to tell.
            let sample = latest.borrow_and_update().clone();
            if sample.at != UnixMs(0) {
                break sample;
            }
        };
        let body = json!({"at": sample.at, "nodes": sample.nodes, "alerts": shared.alerts.open_count()});
        let event = Event::default().event("sample").data(body.to_string());
        Some((Ok::<_, Infallible>(event), (latest, shared, seat)))
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// Query of `GET /api/nodes/{name}/history`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedHistory {
    #[serde(default)]
    since_ms: u64,
    #[serde(default)]
    format: Option<String>,
}

/// `GET /api/nodes/{name}/history?since_ms=&format=`: `{"series":[…],"every_ms","points":[[at_ms, number, …]]}`, or CSV.
pub async fn history(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(wanted): Query<WantedHistory>,
) -> Result<Response, Refused> {
    let node = find(&shared.nodes, &name)?;
    let (since, now) = (UnixMs(wanted.since_ms), shared.clock.now());
    match wanted.format.as_deref() {
        None | Some("json") => Ok(Json(shared.history.read(node, since, now)).into_response()),
        Some("csv") => {
            let file = format!("attachment; filename=\"{name}.csv\"");
            let head = [(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, file)];
            Ok((head, shared.history.csv(node, since, now)).into_response())
        }
        Some(_) => Err(Refused::new(StatusCode::BAD_REQUEST, "BadRequest", "format is json or csv", "")),
    }
}

/// `GET /api/alerts`: the open ones first, the worst of them first; and how the webhooks do.
pub async fn alerts(State(shared): State<Shared>) -> Json<Value> {
    Json(json!({"alerts": shared.alerts.list(), "webhooks": shared.webhooks.view()}))
}

/// `POST /api/alerts/test`: `{"webhooks"}` once all were told, or have failed.
pub async fn test_webhooks(State(shared): State<Shared>) -> Json<Value> {
    Json(json!({"webhooks": shared.webhooks.test().await}))
}

/// Body of `POST /api/alerts/acknowledge`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    id: String,
}

/// `POST /api/alerts/acknowledge {"id"}`
pub async fn acknowledge(State(shared): State<Shared>, Json(known): Json<Acknowledged>) -> Result<Json<Value>, Refused> {
    let (alerts, now) = (shared.alerts.clone(), shared.clock.now());
    let done = tokio::task::spawn_blocking(move || alerts.acknowledge(&known.id, now)).await.map_err(Refused::internal)?;
    if !done {
        return Err(Refused::new(StatusCode::NOT_FOUND, "NoSuchAlert", "there is no such alert", "load the page again"));
    }
    Ok(self::alerts(State(shared)).await)
}

/// `GET /health`: this process answers.
pub async fn health() -> &'static str {
    "ok\n"
}

/// `GET /ready`: every node answers; 503 names those that do not.
pub async fn ready(State(shared): State<Shared>) -> Response {
    let sample = shared.latest.borrow().clone();
    let silent: Vec<&str> = sample.nodes.iter().filter(|node| node.error.is_some()).map(|node| node.name.as_str()).collect();
    if sample.nodes.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not asked yet\n").into_response();
    }
    match silent.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("no answer from: {}\n", silent.join(", "))).into_response(),
    }
}

/// `GET /metrics`: for Prometheus.
pub async fn metrics(State(shared): State<Shared>) -> Response {
    let text = prometheus::text(&shared.latest.borrow().clone(), shared.alerts.open_count());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
