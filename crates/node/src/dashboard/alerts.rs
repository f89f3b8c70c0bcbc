//! What needs somebody's attention: found in each sample, kept until it is over, and acknowledged by a person.
//!
//! A state (a disk that takes no writes) is open as long as it lasts; an event (a failed audit) stays until it is acknowledged.
//! Never: an alert without its cause and what helps. Limits: [`KEPT_MAX`] alerts; those that are over go after [`KEPT_MS_MAX`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use cairn_types::UnixMs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::kept;
use super::nodes::Kind;
use super::sampler::{NodeSample, Sample, number};

/// Alerts that are kept.
pub const KEPT_MAX: usize = 500;
/// How long one is shown after it is over.
pub const KEPT_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// Failed audits older than this raise nothing, so that a dashboard that is new does not begin with the past.
const EVENT_MS_MAX: u64 = 24 * 3_600_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Data or credits are at risk, or the node does not work.
    Critical,
    /// Something does not go as it should.
    Warning,
}

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The same for the same matter.
    pub id: String,
    /// Which node.
    pub node: String,
    /// How bad.
    pub severity: Severity,
    /// In a few words.
    pub title: String,
    /// Why.
    pub cause: String,
    /// What helps.
    pub remedy: String,
    /// When it happened, if it is an event, which does not go away by itself.
    pub happened: Option<UnixMs>,
}

/// A finding and its story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What.
    #[serde(flatten)]
    pub finding: Finding,
    /// When it was first seen.
    pub since: UnixMs,
    /// When it was over.
    pub over: Option<UnixMs>,
    /// When somebody said that they know.
    pub acknowledged: Option<UnixMs>,
}

impl Alert {
    /// Whether it asks for attention.
    fn is_open(&self) -> bool {
        self.over.is_none() && self.acknowledged.is_none()
    }
}

/// All alerts of a dashboard.
pub struct Alerts {
    path: PathBuf,
    all: Mutex<BTreeMap<String, Alert>>,
    changed: watch::Sender<()>,
}

impl Alerts {
    /// Opens the file at `path`, if there is one.
    ///
    /// # Errors
    /// It cannot be read. A damaged one is begun anew: what lasts is found again.
    pub fn open(path: &Path) -> Result<Alerts> {
        let all: Vec<Alert> = kept::read(path)?;
        let all = all.into_iter().map(|alert| (alert.finding.id.clone(), alert)).collect();
        Ok(Alerts { path: path.to_owned(), all: Mutex::new(all), changed: watch::Sender::new(()) })
    }

    /// Takes up what a sample shows. Blocking.
    pub fn note(&self, sample: &Sample) {
        let found: Vec<Finding> = sample.nodes.iter().flat_map(|node| judge(node, sample.at)).collect();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.clone();
        for alert in all.values_mut().filter(|alert| alert.finding.happened.is_none() && alert.over.is_none()) {
            // Of a node that does not answer nothing is known: its other alerts stay as they are.
            let silent = sample.nodes.iter().any(|node| node.name == alert.finding.node && node.error.is_some());
            if !silent && !found.iter().any(|finding| finding.id == alert.finding.id) {
                alert.over = Some(sample.at);
            }
        }
        for finding in found {
            match all.get_mut(&finding.id) {
                // An event that was there already; a later one of its kind is a new matter once the first was acknowledged.
                Some(alert) if finding.happened.is_some() && finding.happened <= alert.finding.happened.max(alert.over) => {}
                Some(alert) if alert.over.is_none() => alert.finding = finding,
                _ => {
                    tracing::warn!(node = finding.node, cause = finding.cause, "{}", finding.title);
                    let alert = Alert { since: sample.at, over: None, acknowledged: None, finding };
                    all.insert(alert.finding.id.clone(), alert);
                }
            }
        }
        all.retain(|_, alert| alert.over.is_none_or(|over| sample.at.since_ms(over) < KEPT_MS_MAX));
        while all.len() > KEPT_MAX {
            let oldest = all.values().min_by_key(|alert| (alert.is_open(), alert.since)).map(|alert| alert.finding.id.clone());
            oldest.map(|id| all.remove(&id));
        }
        if *all != before {
            self.save(&all);
        }
    }

    fn save(&self, all: &BTreeMap<String, Alert>) {
        kept::write(&self.path, &all.values().collect::<Vec<_>>());
        self.changed.send_replace(());
    }

    /// Says that somebody knows; `false` when there is no such alert. Blocking. An event is over with it.
    pub fn acknowledge(&self, id: &str, now: UnixMs) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(alert) = all.get_mut(id) else { return false };
        alert.acknowledged.get_or_insert(now);
        if alert.finding.happened.is_some() {
            alert.over.get_or_insert(now);
        }
        self.save(&all);
        true
    }

    /// Told of each change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// All: the open ones first, the worst of them first.
    pub fn list(&self) -> Vec<Alert> {
        let mut listed: Vec<Alert> = self.all.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        listed.sort_by_key(|alert| {
            (!alert.is_open(), alert.over.is_some(), alert.finding.severity, std::cmp::Reverse(alert.since))
        });
        listed
    }

    /// How many ask for attention.
    pub fn open_count(&self) -> usize {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).values().filter(|alert| alert.is_open()).count()
    }
}

/// What a node's sample shows.
fn judge(node: &NodeSample, now: UnixMs) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |what: &str, severity: Severity, title: String, cause: &str, remedy: &str| {
        let id = format!("{}/{what}", node.name);
        let (cause, remedy) = (cause.into(), remedy.into());
        found.push(Finding { id, node: node.name.clone(), severity, title, cause, remedy, happened: None });
    };
    if let Some(trouble) = &node.error {
        add("down", Severity::Critical, format!("{} does not answer", node.name), &trouble.message, &trouble.remedy);
        return found;
    }
    let status = node.status.as_ref();
    for disk in status.and_then(|status| status["store"]["disks"].as_array()).into_iter().flatten() {
        let path = disk["path"].as_str().unwrap_or_default();
        if let Some(why) = disk["read_only"].as_str() {
            let remedy = "mend or replace the disk, then start the provider again; cairn doctor looks at it";
            add(&format!("disk/{path}"), Severity::Critical, format!("The disk {path} takes no writes"), why, remedy);
        }
    }
    if status.is_some_and(|status| status["registered"] == false) {
        let remedy = "it registers by itself once the ledger answers and the wallet holds its collateral; its log says why not";
        add(
            "registered",
            Severity::Warning,
            format!("{} is not registered on the ledger", node.name),
            "no client agrees to a deal",
            remedy,
        );
    }
    judge_wallet(node, &mut add);
    if node.kind == Kind::Gateway {
        judge_gateway(node, &mut add);
    }
    for dispute in node.disputes.as_ref().and_then(|found| found["disputes"].as_array()).into_iter().flatten() {
        if dispute["open"] == true {
            let id = dispute["dispute"].as_str().unwrap_or_default();
            let remedy = "a provider that holds the data answers by itself; cairn disputes shows how it stands";
            add(
                &format!("dispute/{id}"),
                Severity::Warning,
                "A dispute is open before the court".into(),
                &format!("dispute {id}"),
                remedy,
            );
        }
    }
    found.extend(failed_audits(node, now));
    found
}

fn judge_wallet(node: &NodeSample, add: &mut impl FnMut(&str, Severity, String, &str, &str)) {
    let Some(wallet) = &node.wallet else { return };
    if wallet["read_only"] == true {
        let why = ["pause", "trouble"]
            .iter()
            .find_map(|field| wallet[field].as_str())
            .unwrap_or("the ledger does not take transactions");
        let remedy = "see that the ledger can be reached and that the wallet has coin for gas; cairn wallet shows both";
        add("ledger", Severity::Critical, format!("{} cannot send to the ledger", node.name), why, remedy);
    }
    let conserved = [&["conserved"][..], &["now", "conserved"]]
        .iter()
        .find_map(|path| path.iter().try_fold(node.money.as_ref()?, |value, key| value.get(*key))?.as_bool());
    if conserved == Some(false) {
        let remedy = "keep the data directory as it is and report it: this is a fault of the program";
        add("conserved", Severity::Critical, "The journal does not balance".into(), "debits and credits differ", remedy);
    }
}

fn judge_gateway(node: &NodeSample, add: &mut impl FnMut(&str, Severity, String, &str, &str)) {
    let health = node.health.as_ref();
    let count = |field: &str| number(health, &[field]).unwrap_or_default();
    if node.status.as_ref().is_some_and(|status| status["superseded"] == true) {
        let remedy = "stop this gateway and use the one that was recovered since, or recover anew on this machine";
        let title = "A later catalog of this account has taken over".into();
        add("superseded", Severity::Critical, title, "this gateway writes, repairs and collects nothing more", remedy);
    }
    if count("lost") > 0 {
        let remedy = "bring providers back: cairn health names the segments, cairn status the providers that do not answer";
        add(
            "lost",
            Severity::Critical,
            format!("{} segments cannot be read now", count("lost")),
            "too few of their providers are there",
            remedy,
        );
    }
    if count("due") > 0 {
        let remedy = "it is done by itself while enough providers are there; cairn health --repair does it at once";
        add("due", Severity::Warning, format!("{} segments wait for repair", count("due")), "they lost shards", remedy);
    }
    let left = node.money.as_ref().map(|money| &money["now"]["month_left"]);
    if left.and_then(Value::as_str).is_some_and(|left| left == "0") {
        let remedy = "raise it with --budget CREDITS/month, or delete something";
        add("budget", Severity::Critical, "This month's budget is used up".into(), "no more credits go into channels", remedy);
    }
}

/// One finding for a provider and grade: an hour of failures is one matter.
fn failed_audits(node: &NodeSample, now: UnixMs) -> impl Iterator<Item = Finding> {
    let audits = node.failed_audits.as_ref().and_then(|found| found["audits"].as_array()).into_iter().flatten();
    let at = |audit: &Value| UnixMs(audit["at"].as_u64().unwrap_or_default());
    audits.filter(move |audit| now.since_ms(at(audit)) < EVENT_MS_MAX).map(move |audit| {
        let text = |field: &str| audit[field].as_str().unwrap_or_default();
        let leaf = audit["failures"][0].as_object().map_or(String::new(), |failure| {
            let text = |field: &str| failure.get(field).and_then(Value::as_str).unwrap_or_default();
            format!(" First: shard {} leaf {}: {}", text("shard"), failure.get("leaf").unwrap_or(&Value::Null), text("reason"))
        });
        let lost = matches!(text("grade"), "gone" | "corrupt" | "diverged");
        Finding {
            id: format!("{}/audit/{}/{}", node.name, text("provider"), text("grade")),
            node: node.name.clone(),
            severity: if lost { Severity::Critical } else { Severity::Warning },
            title: format!("A provider did not pass its audit: {}", text("grade")),
            cause: format!("{}: {}{leaf}", text("provider"), text("reason").trim_end()),
            remedy: "nothing is paid for it and it gets no new shards; what it lost is built anew from the others".into(),
            happened: Some(at(audit)),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(at: u64, node: NodeSample) -> Sample {
        Sample { at: UnixMs(at), nodes: vec![node] }
    }

    fn provider(read_only: Option<&str>) -> NodeSample {
        let disks = json!([{"path": "/a", "read_only": read_only}]);
        NodeSample { status: Some(json!({"store": {"disks": disks}})), ..NodeSample::new("p1", Kind::Provider) }
    }

    #[test]
    fn a_state_lasts_and_is_over_by_itself_and_comes_back_as_a_new_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("alerts.json");
        let alerts = Alerts::open(&path).unwrap();
        alerts.note(&sample(1, provider(None)));
        assert!(alerts.list().is_empty());
        alerts.note(&sample(2, provider(Some("I/O error"))));
        let alert = &alerts.list()[0];
        assert_eq!(
            (alert.finding.severity, alert.finding.cause.as_str(), alert.since),
            (Severity::Critical, "I/O error", UnixMs(2))
        );
        assert_eq!(alerts.open_count(), 1);
        assert!(alerts.acknowledge("p1/disk//a", UnixMs(3)) && !alerts.acknowledge("p1/nothing", UnixMs(3)));
        assert_eq!(alerts.open_count(), 0);
        let down = NodeSample {
            error: Some(super::super::sampler::Trouble { message: "m".into(), remedy: "r".into() }),
            ..NodeSample::new("p1", Kind::Provider)
        };
        alerts.note(&sample(4, down));
        assert_eq!((alerts.list().len(), alerts.list()[1].over), (2, None), "of a silent node nothing is known");
        drop(alerts);
        let alerts = Alerts::open(&path).unwrap();
        alerts.note(&sample(5, provider(None)));
        assert!(alerts.list().iter().all(|alert| alert.over == Some(UnixMs(5))));
        alerts.note(&sample(6, provider(Some("again"))));
        assert_eq!((alerts.open_count(), alerts.list()[0].since), (1, UnixMs(6)), "the old acknowledgement does not hold for it");
        alerts.note(&sample(6 + KEPT_MS_MAX, provider(None)));
        alerts.note(&sample(6 + 2 * KEPT_MS_MAX, provider(None)));
        assert!(alerts.list().is_empty());
        std::fs::write(&path, "{").unwrap();
        assert!(Alerts::open(&path).unwrap().list().is_empty());
    }

    #[test]
    fn a_gateway_whose_catalog_was_recovered_elsewhere_says_so() {
        let root = tempfile::tempdir().unwrap();
        let alerts = Alerts::open(&root.path().join("alerts.json")).unwrap();
        for (superseded, open) in [(false, 0), (true, 1)] {
            let status = Some(json!({"superseded": superseded}));
            alerts.note(&sample(1, NodeSample { status, ..NodeSample::new("gateway", Kind::Gateway) }));
            assert_eq!(alerts.open_count(), open);
        }
        assert_eq!(alerts.list()[0].finding.severity, Severity::Critical);
    }

    #[test]
    fn a_failed_audit_says_why_and_stays_until_it_is_acknowledged() {
        let root = tempfile::tempdir().unwrap();
        let alerts = Alerts::open(&root.path().join("alerts.json")).unwrap();
        let audits = json!({"audits": [{"at": 10, "provider": "12D3", "grade": "corrupt", "reason": "1 of 8 probes. ",
            "failures": [{"shard": "ab", "leaf": 7, "reason": "wrong hash"}]}]});
        let gateway = |audits: &Value| NodeSample {
            status: Some(json!({})),
            failed_audits: Some(audits.clone()),
            ..NodeSample::new("gateway", Kind::Gateway)
        };
        alerts.note(&sample(20, gateway(&audits)));
        let cause = alerts.list()[0].finding.cause.clone();
        assert_eq!(cause, "12D3: 1 of 8 probes. First: shard ab leaf 7: wrong hash");
        alerts.note(&sample(21, gateway(&json!({"audits": []}))));
        assert_eq!(alerts.open_count(), 1);
        assert!(alerts.acknowledge("gateway/audit/12D3/corrupt", UnixMs(22)));
        alerts.note(&sample(23, gateway(&audits)));
        assert_eq!(alerts.open_count(), 0, "the same audit does not raise it again");
        let mut later = audits.clone();
        later["audits"][0]["at"] = json!(24);
        alerts.note(&sample(25, gateway(&later)));
        assert_eq!(alerts.open_count(), 1, "a later one does");
        let old = Alerts::open(&root.path().join("other.json")).unwrap();
        old.note(&sample(20 + EVENT_MS_MAX, gateway(&audits)));
        assert_eq!(old.open_count(), 0);
    }
}
