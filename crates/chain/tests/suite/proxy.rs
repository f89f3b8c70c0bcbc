//! A node that misbehaves: it passes calls on to a real one and does as it is told to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it does to a call whose method begins with the text beside it.
#[derive(Clone)]
pub enum Fault {
    /// Never answers.
    Hang,
    /// An HTTP status.
    Status(u16),
    /// Bytes that are no JSON.
    Garbage,
    /// An answer longer than anybody reads.
    Endless,
    /// Cuts the connection before the call is passed on.
    CutBefore,
    /// Passes the call on and cuts the connection before the answer.
    CutAfter,
    /// Answers with this and passes nothing on.
    Say(Value),
    /// Changes the answer.
    Change(Arc<dyn Fn(Value) -> Value + Send + Sync>),
}

#[derive(Clone, Default)]
struct State {
    faults: Arc<Mutex<Vec<(String, Fault)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

pub struct Proxy {
    pub url: String,
    state: State,
}

impl Proxy {
    pub async fn to(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, state) = (format!("http://{}", listener.local_addr().unwrap()), State::default());
        let (serving, target) = (state.clone(), target.to_owned());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, target) = (serving.clone(), target.clone());
                let service = service_fn(move |request| answer(state.clone(), target.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Proxy { url, state }
    }

    /// From now on, does `fault` to methods that begin with `method`.
    pub fn fault(&self, method: &str, fault: Fault) {
        self.state.faults.lock().unwrap().push((method.into(), fault));
    }

    pub fn behave(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// How often a method was asked for.
    pub fn asked(&self, method: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|asked| *asked == method).count()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
struct Cut;

async fn answer(state: State, target: String, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let body = request.into_body().collect().await.map_err(|_| Cut)?.to_bytes();
    let call: Value = serde_json::from_slice(&body).unwrap();
    let method = call["method"].as_str().unwrap().to_owned();
    state.asked.lock().unwrap().push(method.clone());
    let fault = state
        .faults
        .lock()
        .unwrap()
        .iter()
        .find(|(prefix, _)| method.starts_with(prefix.as_str()))
        .map(|(_, fault)| fault.clone());
    let reply = |bytes: Vec<u8>| Response::new(Full::new(Bytes::from(bytes)));
    match fault {
        None => forward(&target, body).await.map(reply),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status)) => {
            let mut response = reply(b"no".to_vec());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(response)
        }
        Some(Fault::Garbage) => Ok(reply(b"<html>".to_vec())),
        Some(Fault::Endless) => Ok(reply(vec![b' '; cairn_chain::endpoint::ANSWER_LEN_MAX + 1])),
        Some(Fault::CutBefore) => Err(Cut),
        Some(Fault::CutAfter) => {
            let _ = forward(&target, body).await?;
            Err(Cut)
        }
        Some(Fault::Say(result)) => Ok(reply(json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string().into_bytes())),
        Some(Fault::Change(change)) => {
            let mut answer: Value = serde_json::from_slice(&forward(&target, body).await?).unwrap();
            answer["result"] = change(answer["result"].take());
            Ok(reply(answer.to_string().into_bytes()))
        }
    }
}

async fn forward(target: &str, body: Bytes) -> Result<Vec<u8>, Cut> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(target).header("content-type", "application/json").body(Full::new(body)).unwrap();
    let response =
        tokio::time::timeout(Duration::from_secs(30), client.request(request)).await.map_err(|_| Cut)?.map_err(|_| Cut)?;
    Ok(response.into_body().collect().await.map_err(|_| Cut)?.to_bytes().to_vec())
}
