//! `cairn collect`: has the running gateway delete shards that belong to no object.

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

use crate::args;
use crate::native::dialer;
use crate::outcome::{say, say_json};
use crate::size::rounded;
use crate::socket::{empty, request};

/// Runs the command.
pub async fn collect(socket: args::Socket) -> Result<()> {
    let report: Value = dialer(&socket)?.json(request(Method::POST, "/v1/collect", empty())?).await?;
    if socket.json {
        return say_json(&report);
    }
    let number = |name: &str| report[name].as_u64().unwrap_or_default();
    say(format_args!("listed    {} shards, {}", number("listed"), rounded(number("listed_len"))));
    say(format_args!("deleted   {} shards, {}", number("removed"), rounded(number("removed_len"))));
    for node in report["unreachable"].as_array().into_iter().flatten() {
        say(format_args!("no answer from {}: its turn comes again", node.as_str().unwrap_or_default()));
    }
    if number("from_later_catalog") > 0 {
        say(
            "a provider holds shards of a later catalog than this one: was this one restored from a backup? nothing was deleted there",
        );
    }
    Ok(())
}
