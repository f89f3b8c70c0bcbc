//! `cairn ls`, `rm`, `stat` and `mb`.

use anyhow::Result;
use futures::StreamExt;
use hyper::Method;
use serde_json::{Value, json};

use super::{FILES_AT_ONCE, Place, dialer, page, stat_object};
use crate::args;
use crate::outcome::{ExitCode, coded, failure, report, say, say_json};
use crate::size::rounded;
use crate::socket::{Dialer, empty, encoded, refusal_code, request};
use crate::when;

/// `cairn ls`
pub async fn ls(args: args::Ls) -> Result<()> {
    let dialer = dialer(&args.socket)?;
    let Some(source) = &args.source else {
        return list_buckets(&dialer, args.socket.json).await;
    };
    let place = Place::parse(source)?;
    let delimiter = if args.recursive { "" } else { "/" };
    let mut cursor = None;
    loop {
        let page = page(&dialer, &place, delimiter, cursor.as_deref()).await?;
        for prefix in &page.prefixes {
            match args.socket.json {
                true => say_json(&json!({"prefix": prefix}))?,
                false => say(format_args!("{:20} {:>12} {prefix}", "", "")),
            }
        }
        for object in &page.objects {
            match args.socket.json {
                true => say_json(
                    &json!({"key": object.key, "len": object.len, "etag": object.etag, "modified_ms": object.modified_ms}),
                )?,
                false => say(format_args!("{} {:>12} {}", when::utc(object.modified_ms), rounded(object.len), object.key)),
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

async fn list_buckets(dialer: &Dialer, json: bool) -> Result<()> {
    let answer: Value = dialer.json(request(Method::GET, "/v1/buckets", empty())?).await?;
    for bucket in answer["buckets"].as_array().into_iter().flatten() {
        match json {
            true => say_json(bucket)?,
            false => {
                let created = when::utc(bucket["created"].as_u64().unwrap_or(0));
                say(format_args!("{created} {}", bucket["name"].as_str().unwrap_or_default()));
            }
        }
    }
    Ok(())
}

/// `cairn mb`
pub async fn mb(args: args::Mb) -> Result<()> {
    let dialer = dialer(&args.socket)?;
    let path = format!("/v1/buckets/{}", encoded(&args.bucket));
    let made: Value = dialer.json(request(Method::PUT, &path, empty())?).await?;
    match args.socket.json {
        true => say_json(&made),
        false => {
            say(&args.bucket);
            Ok(())
        }
    }
}

/// `cairn stat`
pub async fn stat(args: args::Stat) -> Result<()> {
    let place = Place::parse_object(&args.source)?;
    let info = stat_object(&dialer(&args.socket)?, &place).await?;
    if args.socket.json {
        return say_json(&info);
    }
    let text = |name: &str| match &info[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    say(format_args!("{place}"));
    let len = info["len"].as_u64().unwrap_or(0);
    say(format_args!("  length    {len} bytes ({})", rounded(len)));
    say(format_args!("  modified  {}", when::utc(info["modified_ms"].as_u64().unwrap_or(0))));
    for name in ["etag", "version", "content_type", "storage_class", "parts"] {
        if !info[name].is_null() {
            say(format_args!("  {:9} {}", name.replace('_', " "), text(name)));
        }
    }
    for name in ["user", "tags"] {
        for (key, value) in info[name].as_object().into_iter().flatten() {
            say(format_args!("  {name} {key}={}", value.as_str().unwrap_or_default()));
        }
    }
    for checksum in info["checksums"].as_array().into_iter().flatten() {
        say(format_args!(
            "  {} {}",
            checksum["algorithm"].as_str().unwrap_or_default(),
            checksum["value"].as_str().unwrap_or_default()
        ));
    }
    Ok(())
}

/// `cairn rm`
pub async fn rm(args: args::Rm) -> Result<()> {
    let dialer = dialer(&args.socket)?;
    let place = Place::parse(&args.target)?;
    let tell = |what: String| match args.socket.json {
        true => say_json(&json!({"deleted": what})),
        false => {
            say(what);
            Ok(())
        }
    };
    if args.recursive {
        remove_all(&dialer, &place, &tell).await?;
    } else if !place.key.is_empty() {
        dialer.call(request(Method::DELETE, &place.path("/v1/object"), empty())?).await?;
        return tell(place.to_string());
    }
    if place.key.is_empty() {
        dialer.call(request(Method::DELETE, &format!("/v1/buckets/{}", encoded(&place.bucket)), empty())?).await?;
        tell(place.bucket)?;
    }
    Ok(())
}

async fn remove_all(dialer: &Dialer, place: &Place, tell: &dyn Fn(String) -> Result<()>) -> Result<()> {
    let mut cursor = None;
    let (mut found, mut failed) = (0usize, 0usize);
    loop {
        let page = page(dialer, place, "", cursor.as_deref()).await?;
        found += page.objects.len();
        let mut gone = futures::stream::iter(page.objects)
            .map(|object| async move {
                let place = place.with_key(object.key);
                let deleted = async { dialer.call(request(Method::DELETE, &place.path("/v1/object"), empty())?).await };
                match deleted.await {
                    Err(error) if refusal_code(&error) != Some("NoSuchKey") => Err(format!("{place}: {}", report(&error))),
                    _ => Ok(place),
                }
            })
            .buffer_unordered(FILES_AT_ONCE);
        while let Some(gone) = gone.next().await {
            match gone {
                Ok(place) => tell(place.to_string())?,
                Err(error) => {
                    tracing::error!("{error}");
                    failed += 1;
                }
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    match (found, failed) {
        (0, _) if !place.key.is_empty() => {
            Err(coded(ExitCode::NotFound, format!("there is no object under {place}"), "cairn ls shows what there is"))
        }
        (_, 0) => Ok(()),
        _ => Err(failure(format!("{failed} of {found} objects were not deleted"), "run the same command again")),
    }
}
