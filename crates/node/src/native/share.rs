//! `cairn share`: a link to an object.

use anyhow::Result;
use hyper::Method;
use serde_json::{Value, json};

use super::{Place, dialer};
use crate::args;
use crate::outcome::{say, say_json};
use crate::socket::json_request;
use crate::when;

/// Runs the command.
pub async fn share(args: args::Share) -> Result<()> {
    let place = Place::parse_object(&args.source)?;
    let wanted = json!({"bucket": place.bucket, "key": place.key, "expires_s": args.expires.0 / 1000});
    let made: Value = dialer(&args.socket)?.json(json_request(Method::POST, "/v1/share", &wanted)?).await?;
    if args.socket.json {
        return say_json(&made);
    }
    say(made["url"].as_str().unwrap_or_default());
    let (until, key) =
        (when::utc(made["expires_at_ms"].as_u64().unwrap_or_default()), made["access_key"].as_str().unwrap_or_default());
    say(format_args!("good until {until}; cairn key revoke {key} ends it early"));
    Ok(())
}
