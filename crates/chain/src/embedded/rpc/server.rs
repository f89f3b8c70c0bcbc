//! Server: HTTP/1.1 with JSON-RPC in the body of a POST, one call or a list of them.
//!
//! Any web page may ask (CORS `*`): everything here is public, and what changes the chain comes signed.
//! Never: waits for a slow client without an end. Limits: connections, body, calls, answer, time; see [`limits`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::RpcError;
use super::methods;
use crate::embedded::{Embedded, limits};

/// What requests in flight may take after the stop.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(in crate::embedded) async fn serve(chain: Embedded, listener: TcpListener, stop: CancellationToken) {
    let (slots, tasks) = (Arc::new(Semaphore::new(limits::CONNECTIONS_MAX)), TaskTracker::new());
    loop {
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            slot = slots.clone().acquire_owned() => match slot { Ok(slot) => slot, Err(_) => break },
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true); // an older kernel without it is only slower
        let (chain, stop) = (chain.clone(), stop.clone());
        tasks.spawn(async move {
            let _slot = slot;
            let service = service_fn(move |request| answer(chain.clone(), request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(limits::REQUEST_READ).max_buf_size(64 * 1024);
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await; // the client may be gone
        });
    }
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("requests to the chain did not finish in time and are cut off");
    }
}

async fn answer(chain: Embedded, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = match *request.method() {
        Method::POST => post(chain, request).await,
        Method::OPTIONS => plain(StatusCode::NO_CONTENT, ""),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC is spoken here, with POST\n"),
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    Ok(response)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

async fn post(chain: Embedded, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = Limited::new(request.into_body(), limits::BODY_LEN_MAX).collect();
    let body = match tokio::time::timeout(limits::REQUEST_READ, body).await {
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come\n"),
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or was cut off\n"),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let answer = match serde_json::from_slice::<Value>(&body) {
        Err(error) => Some(failed(Value::Null, &RpcError::new(RpcError::PARSE, format!("not JSON: {error}")))),
        Ok(Value::Array(calls)) => many(&chain, calls).await,
        Ok(call) => one(&chain, call).await,
    };
    let Some(answer) = answer else { return plain(StatusCode::NO_CONTENT, "") };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn many(chain: &Embedded, calls: Vec<Value>) -> Option<Value> {
    if calls.is_empty() || calls.len() > limits::BATCH_CALLS_MAX {
        let reason = format!("a batch has 1 to {} calls", limits::BATCH_CALLS_MAX);
        return Some(failed(Value::Null, &RpcError::new(RpcError::REQUEST, reason)));
    }
    let (mut answers, mut len) = (Vec::new(), 0usize);
    for call in calls {
        let id = call.get("id").cloned();
        let Some(answer) = one(chain, call).await else { continue };
        len = len.saturating_add(answer.to_string().len());
        if len > limits::ANSWER_LEN_MAX {
            answers.push(failed(id.unwrap_or_default(), &RpcError::limit("the answers of this batch are too long")));
            break;
        }
        answers.push(answer);
    }
    (!answers.is_empty()).then_some(Value::Array(answers))
}

/// None for a notification, which JSON-RPC leaves without an answer.
async fn one(chain: &Embedded, call: Value) -> Option<Value> {
    let Value::Object(mut fields) = call else {
        return Some(failed(Value::Null, &RpcError::new(RpcError::REQUEST, "a call must be an object")));
    };
    let id = fields.remove("id");
    if id.as_ref().is_some_and(|id| !(id.is_string() || id.is_number() || id.is_null())) {
        return Some(failed(Value::Null, &RpcError::new(RpcError::REQUEST, "an id must be a string or a number")));
    }
    let params = fields.remove("params");
    let outcome = match fields.get("method").and_then(Value::as_str) {
        None => Err(RpcError::new(RpcError::REQUEST, "a call must name a method")),
        Some(method) => methods::answer(chain, method, params).await,
    };
    let id = id?;
    Some(match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => failed(id, &error),
    })
}

fn failed(id: Value, error: &RpcError) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": error.object()})
}
