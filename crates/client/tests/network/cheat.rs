//! Cheats: a stand at the edge of a provider's protocol that takes requests, lets the real provider answer, and alters what it likes.
//!
//! Never: a stand-in for the provider; what it does not touch passes as it is.

use std::sync::Arc;

use cairn_proto::shard::{Read, Refusal, Request, Response, request, response};
use cairn_proto::{BoxStream, Frame, Framed, RefusalCode};
use futures::io::{AsyncReadExt, ReadHalf, WriteHalf};
use prost::Message;

/// What a cheating provider does differently.
pub trait Cheat: Send + Sync {
    /// Refuses a read instead of answering it.
    fn refuse_read(&self, _read: &Read) -> Option<RefusalCode> {
        None
    }

    /// Whether the bytes of a read are altered.
    fn corrupts(&self, _read: &Read) -> bool {
        false
    }

    /// Breaks off before the request reaches the provider.
    fn drops(&self, _request: &request::Kind) -> bool {
        false
    }

    /// Does what was asked and breaks off instead of answering; a read breaks off after its head.
    fn swallows(&self, _request: &request::Kind) -> bool {
        false
    }

    /// Alters a small answer.
    fn alter(&self, _request: &request::Kind, _answer: &mut response::Kind) {}
}

type Ends = (Framed<ReadHalf<BoxStream>>, Framed<WriteHalf<BoxStream>>);

/// Why a stream is passed on no more; which of both does not matter here.
struct Over;

impl<E: std::error::Error> From<E> for Over {
    fn from(_: E) -> Over {
        Over
    }
}

/// Passes one stream between the client's end and the server's.
pub async fn stand(client: BoxStream, server: BoxStream, cheat: Arc<dyn Cheat>) {
    let ends = |stream: BoxStream| {
        let (read, write) = stream.split();
        (Framed::new(read), Framed::new(write))
    };
    let (mut client, mut server) = (ends(client), ends(server));
    while pass(&mut client, &mut server, &*cheat).await.is_ok() {}
    let _ = client.1.close().await;
    let _ = server.1.close().await;
}

/// One request and its answer.
async fn pass(client: &mut Ends, server: &mut Ends, cheat: &dyn Cheat) -> Result<(), Over> {
    let Some(Frame::Control(payload)) = client.0.next().await? else { return Err(Over) };
    let request = Request::decode(payload)?;
    let kind = request.kind.clone().ok_or(Over)?;
    if cheat.drops(&kind) {
        return Err(Over);
    }
    match &kind {
        request::Kind::Read(read) => {
            if let Some(code) = cheat.refuse_read(read) {
                let refusal = Refusal { code: code as i32, message: "no".into() };
                return Ok(client.1.send(&Response { kind: Some(response::Kind::Refusal(refusal)) }).await?);
            }
            server.1.send(&request).await?;
            let head = server.0.control::<Response>().await?;
            client.1.send(&head).await?;
            if cheat.swallows(&kind) {
                return Err(Over);
            }
            pass_read(client, server, head, read.len, cheat.corrupts(read)).await
        }
        request::Kind::Store(_) => {
            server.1.send(&request).await?;
            loop {
                match client.0.next().await?.ok_or(Over)? {
                    Frame::Body(body) => server.1.send_body(&body).await?,
                    Frame::Control(payload) => {
                        server.1.send(&Request::decode(payload)?).await?;
                        break;
                    }
                }
            }
            pass_answer(client, server, &kind, cheat).await
        }
        _ => {
            server.1.send(&request).await?;
            pass_answer(client, server, &kind, cheat).await
        }
    }
}

async fn pass_answer(client: &mut Ends, server: &mut Ends, kind: &request::Kind, cheat: &dyn Cheat) -> Result<(), Over> {
    let mut answer = server.0.control::<Response>().await?.kind.ok_or(Over)?;
    if cheat.swallows(kind) {
        return Err(Over);
    }
    cheat.alter(kind, &mut answer);
    Ok(client.1.send(&Response { kind: Some(answer) }).await?)
}

async fn pass_read(client: &mut Ends, server: &mut Ends, head: Response, len: u64, corrupts: bool) -> Result<(), Over> {
    let mut left = match head.kind {
        Some(response::Kind::ReadHead(_)) => len,
        _ => 0,
    };
    while left > 0 {
        match server.0.next().await?.ok_or(Over)? {
            Frame::Control(payload) => {
                let answer = Response::decode(payload)?;
                client.1.send(&answer).await?;
                if matches!(answer.kind, Some(response::Kind::Refusal(_))) {
                    return Ok(());
                }
            }
            Frame::Body(body) => {
                left = left.saturating_sub(body.len() as u64);
                let mut body = body.to_vec();
                body[0] ^= u8::from(corrupts);
                client.1.send_body(&body).await?;
                client.1.flush().await?;
            }
        }
    }
    Ok(())
}
