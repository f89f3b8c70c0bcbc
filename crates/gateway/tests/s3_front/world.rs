//! A gateway with its own network, catalog and access key, served on a port of this machine.

use std::net::SocketAddr;
use std::time::Duration;

use cairn_gateway::objects::Objects;
use cairn_gateway::objects::api::NewAccessKey;
use cairn_gateway::s3::{S3Config, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Ask, Connection};
use crate::net;
use crate::signer::Scope;

pub struct World {
    pub objects: Objects,
    pub address: SocketAddr,
    pub key: NewAccessKey,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<()>,
    pub net: net::World,
}

impl World {
    pub async fn start() -> World {
        World::with(S3Config::default()).await
    }

    pub async fn with(config: S3Config) -> World {
        World::with_objects(config, net::quiet()).await
    }

    pub async fn with_objects(config: S3Config, objects: cairn_gateway::objects::ObjectsConfig) -> World {
        let net = net::World::new(6);
        let objects = net.open(objects).await;
        let key = objects.create_key("test").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = serve(vec![listener], objects.clone(), config, shutdown.clone());
        let serving = tokio::spawn(async move { served.await.unwrap() });
        World { objects, address, key, shutdown, serving, net }
    }

    /// The scope of another user's key, and of this one's key limited to what `scope` says.
    pub async fn scope_for(&self, scope: cairn_gateway::objects::api::KeyScope) -> Scope {
        let key = self.objects.create_key_for("", scope).await.unwrap();
        Scope { access_key: key.access_key, secret_key: key.secret_key, ..self.scope() }
    }

    pub async fn user(&self, name: &str) -> Scope {
        self.scope_for(cairn_gateway::objects::api::KeyScope { user: name.into(), ..Default::default() }).await
    }

    /// With a bucket named `bucket`.
    pub async fn with_bucket() -> World {
        let world = World::start().await;
        world.ask(Ask::new("PUT", "/bucket")).await.expect(200);
        world
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn scope(&self) -> Scope {
        Scope {
            access_key: self.key.access_key.clone(),
            secret_key: self.key.secret_key.clone(),
            region: "us-east-1".into(),
            service: "s3".into(),
            time: time::OffsetDateTime::now_utc().unix_timestamp(),
        }
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// Signs by header, sends, receives.
    pub async fn ask(&self, ask: Ask) -> Answer {
        self.ask_as(ask, &self.scope()).await
    }

    pub async fn ask_as(&self, ask: Ask, scope: &Scope) -> Answer {
        let (head, _) = ask.signed(scope, &self.host());
        self.send(ask.method, &head, &ask.body).await
    }

    /// Signs by query, sends, receives.
    pub async fn ask_presigned(&self, ask: Ask, scope: &Scope, expires_secs: u64) -> Answer {
        self.send(ask.method, &ask.presigned(scope, &self.host(), expires_secs), &ask.body).await
    }

    pub async fn send(&self, method: &str, head: &[u8], body: &[u8]) -> Answer {
        let mut connection = self.connect().await;
        connection.write(head).await.unwrap();
        // a refusal may come, and the socket close, before all of the body went out
        let _ = connection.write(body).await;
        connection.read(method).await.unwrap()
    }

    pub async fn put(&self, key: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask(Ask::new("PUT", &format!("/bucket/{key}")).body(body)).await.expect(200)
    }

    /// Under a key of any characters.
    pub async fn put_raw(&self, key: &str, body: &str) -> Answer {
        let path = format!("/bucket/{}", crate::signer::encode(key, true));
        self.ask(Ask { path, ..Ask::new("PUT", "/bucket").body(body) }).await
    }

    pub async fn get(&self, key: &str) -> Answer {
        self.ask(Ask::new("GET", &format!("/bucket/{key}"))).await
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(15), self.serving).await.unwrap().unwrap();
        self.objects.stop().await;
    }
}

/// `len` bytes that do not repeat soon.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
