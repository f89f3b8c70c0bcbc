//! The hand-written bindings against the ABI that the compiler wrote.

use std::collections::BTreeSet;

use alloy_primitives::keccak256;
use alloy_sol_types::{SolEventInterface, SolInterface};
use cairn_chain::bindings::{Channels, Court, CreditToken, Faucet, Providers};
use serde::Deserialize;

#[derive(Deserialize)]
struct Artefact {
    abi: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    components: Vec<Input>,
}

impl Input {
    fn canonical(&self) -> String {
        match self.kind.strip_prefix("tuple") {
            Some(rest) => format!("({}){rest}", list(&self.components)),
            None => self.kind.clone(),
        }
    }
}

fn list(inputs: &[Input]) -> String {
    inputs.iter().map(Input::canonical).collect::<Vec<_>>().join(",")
}

fn hashes(artefact: &str, kind: &str) -> BTreeSet<Vec<u8>> {
    let artefact: Artefact = serde_json::from_str(artefact).unwrap();
    let items = artefact.abi.iter().filter(|item| item.kind == kind);
    items.map(|item| keccak256(format!("{}({})", item.name, list(&item.inputs))).to_vec()).collect()
}

fn check<C: SolInterface, E: SolInterface>(name: &str, artefact: &str, events: impl IntoIterator<Item = [u8; 32]>) {
    let short = |kind: &str| hashes(artefact, kind).into_iter().map(|hash| hash[..4].to_vec()).collect::<BTreeSet<_>>();
    let (functions, errors, topics) = (short("function"), short("error"), hashes(artefact, "event"));
    for selector in C::selectors() {
        assert!(functions.contains(selector.as_slice()), "{name} has no function 0x{}", hex::encode(selector));
    }
    for selector in E::selectors() {
        assert!(errors.contains(selector.as_slice()), "{name} has no error 0x{}", hex::encode(selector));
    }
    for topic in events {
        assert!(topics.contains(topic.as_slice()), "{name} has no event 0x{}", hex::encode(topic));
    }
}

#[test]
fn bindings_are_those_of_the_artefacts() {
    macro_rules! artefact {
        ($name:literal) => {
            include_str!(concat!("../../../../contracts/artifacts/", $name, ".json"))
        };
    }
    let none = || std::iter::empty::<[u8; 32]>();
    check::<CreditToken::CreditTokenCalls, CreditToken::CreditTokenErrors>(
        "CreditToken",
        artefact!("CreditToken"),
        [CreditToken::CreditTokenEvents::SELECTORS[0]],
    );
    check::<Faucet::FaucetCalls, Faucet::FaucetErrors>("Faucet", artefact!("Faucet"), none());
    let topics = Channels::ChannelsEvents::SELECTORS.iter().copied();
    check::<Channels::ChannelsCalls, Channels::ChannelsErrors>("Channels", artefact!("Channels"), topics);
    let topics = Providers::ProvidersEvents::SELECTORS.iter().copied();
    check::<Providers::ProvidersCalls, Providers::ProvidersErrors>("Providers", artefact!("Providers"), topics);
    let topics = Court::CourtEvents::SELECTORS.iter().copied();
    check::<Court::CourtCalls, Court::CourtErrors>("Court", artefact!("Court"), topics);
    assert_eq!(Channels::ChannelsEvents::COUNT, 6);
}
