//! `cairn init` and `cairn config`.

use std::io::Read;

use anyhow::{Context, Result};
use cairn_types::Phrase;
use cairn_types::port::draw;
use serde_json::json;

use crate::args::{self, Common, ConfigRole};
use crate::config::{self, Chain, Dashboard, Delegate, File, Gateway, Network, Peer, Provider, dir_or_default};
use crate::home::{self, PHRASE_FILE_LEN_MAX, Role};
use crate::outcome::{say, say_json};
use crate::world::SystemRng;

/// `cairn init`
pub fn init(args: args::Init) -> Result<()> {
    let dir = std::path::absolute(dir_or_default(args.dir, args.role)?)?;
    let given = given_phrase(&args.phrase)?;
    let made = given.is_none();
    let phrase = given.unwrap_or_else(|| Phrase::from_entropy(draw(&SystemRng)));
    home::init(&dir, &phrase, args.phrase.index)?;
    let peer_id = |role: Role| phrase.node_key(role.name(), args.phrase.index).id();
    if args.json {
        let peer_ids =
            json!({"provider": peer_id(Role::Provider), "gateway": peer_id(Role::Gateway), "peer": peer_id(Role::Peer)});
        let words = made.then(|| phrase.words().to_string());
        return say_json(&json!({"dir": dir, "index": args.phrase.index, "peer_ids": peer_ids, "phrase": words}));
    }
    say(format_args!("{} is ready.", dir.display()));
    if made {
        say(format_args!("\n  {}\n", phrase.words().as_str()));
        say("These 12 words are the whole account: whoever has them has everything, and without them nothing can be recovered.");
        say("Write them down on paper now; they are not shown again.");
    }
    Ok(())
}

/// The phrase that a command line names, if it does.
pub fn given_phrase(args: &args::PhraseArgs) -> Result<Option<Phrase>> {
    match (&args.phrase_file, args.phrase_stdin) {
        (Some(path), _) => home::read_phrase(path).map(Some),
        (None, true) => {
            let mut text = String::new();
            std::io::stdin().take(PHRASE_FILE_LEN_MAX).read_to_string(&mut text).context("cannot read the phrase")?;
            Ok(Some(Phrase::parse(&text)?))
        }
        (None, false) => Ok(None),
    }
}

/// `cairn config`
pub fn config(args: args::Config, common: &Common) -> Result<()> {
    let file = File::read(common.config.as_deref())?;
    let effective = match args.role {
        ConfigRole::Provider(run) => {
            let dashboard = Dashboard::new(run.dashboard.over(file.dashboard), config::PROVIDER_PORT);
            let provider = Provider::new(run.provider.over(file.provider))?;
            json!({"network": Network::from(run.network.over(file.network)), "dashboard": dashboard, "provider": provider})
        }
        ConfigRole::Gateway(run) => {
            let dashboard = Dashboard::new(run.dashboard.over(file.dashboard), config::GATEWAY_PORT);
            let gateway = Gateway::new(run.gateway.over(file.gateway))?;
            json!({"network": Network::from(run.network.over(file.network)), "dashboard": dashboard, "gateway": gateway})
        }
        ConfigRole::Peer(run) => {
            json!({"network": Network::from(run.network.over(file.network)), "peer": Peer::new(run.peer.over(file.peer))?})
        }
        ConfigRole::Delegate(run) => {
            let delegate = Delegate::new(run.delegate.over(file.delegate))?;
            json!({"network": Network::from(run.network.over(file.network)), "delegate": delegate})
        }
        ConfigRole::Chain(run) => json!({"chain": Chain::new(run.chain.over(file.chain))?}),
    };
    say(toml::to_string(&effective)?.trim_end());
    Ok(())
}
