//! `cairn key`: S3 access keys, through the running gateway or, when none runs, in its catalog.

use anyhow::Result;
use cairn_gateway::objects::api::KeyScope;
use cairn_types::{Clock as _, UnixMs};
use hyper::Method;
use serde_json::{Value, json};

use crate::args::{self, KeyCommand};
use crate::native::dialer;
use crate::outcome::{say, say_json};
use crate::role::offline;
use crate::socket::{empty, encoded, json_request, request};
use crate::when;
use crate::world::SystemClock;

/// Runs the command.
pub async fn key(args: args::Key) -> Result<()> {
    match args.command {
        KeyCommand::Create(args) => create(args).await,
        KeyCommand::List(socket) => list(socket).await,
        KeyCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: args::KeyCreate) -> Result<()> {
    let dialer = dialer(&args.socket)?;
    let scope = KeyScope {
        user: args.user,
        bucket: args.bucket,
        prefix: args.prefix,
        read_only: args.read_only,
        expires: args.expires.map(|span| UnixMs(SystemClock.now().0.saturating_add(span.0))),
    };
    let mut made: Value = match offline::gateway_dir_at_rest(&args.socket)? {
        Some(dir) => json!(offline::open(&dir).await?.create_key(&args.label, scope.clone()).await?),
        None => {
            let body = json!({"label": args.label, "scope": scope});
            dialer.json(json_request(Method::POST, "/v1/keys", &body)?).await?
        }
    };
    if let (Some(made), Value::Object(scope)) = (made.as_object_mut(), json!(scope)) {
        made.extend(scope);
    }
    if args.socket.json {
        return say_json(&made);
    }
    say(format_args!("access key  {}", made["access_key"].as_str().unwrap_or_default()));
    say(format_args!("secret key  {}   (shown only now)", made["secret_key"].as_str().unwrap_or_default()));
    Ok(())
}

async fn list(socket: args::Socket) -> Result<()> {
    let dialer = dialer(&socket)?;
    let answer: Value = match offline::gateway_dir_at_rest(&socket)? {
        Some(dir) => json!({"keys": offline::open(&dir).await?.list_keys().await?}),
        None => dialer.json(request(Method::GET, "/v1/keys", empty())?).await?,
    };
    for key in answer["keys"].as_array().into_iter().flatten() {
        if socket.json {
            say_json(key)?;
            continue;
        }
        let state = if key["revoked"] == true { "revoked" } else { "valid" };
        let made = when::utc(key["created"].as_u64().unwrap_or(0));
        let text = |name: &str| key[name].as_str().unwrap_or_default();
        say(format_args!("{made} {state:8} {} {}{}", text("access_key"), text("label"), limits(key)));
    }
    Ok(())
}

/// What a key does not open.
fn limits(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().filter(|text| !text.is_empty());
    let mut limits = String::new();
    for name in ["user", "bucket", "prefix"] {
        limits.extend(text(name).map(|text| format!("  {name} {text}")));
    }
    if key["read_only"] == true {
        limits.push_str("  read-only");
    }
    limits.extend(key["expires"].as_u64().map(|at| format!("  until {}", when::utc(at))));
    limits
}

async fn revoke(args: args::KeyRevoke) -> Result<()> {
    let dialer = dialer(&args.socket)?;
    match offline::gateway_dir_at_rest(&args.socket)? {
        Some(dir) => offline::open(&dir).await?.revoke_key(&args.access_key).await?,
        None => {
            dialer.call(request(Method::DELETE, &format!("/v1/keys/{}", encoded(&args.access_key)), empty())?).await?;
        }
    }
    match args.socket.json {
        true => say_json(&json!({"revoked": args.access_key})),
        false => {
            say(&args.access_key);
            Ok(())
        }
    }
}
