//! Webhooks: tells other services of each alert that begins and of each that is over, by a POST to an address of theirs.
//!
//! What a hook was told is on disk: a restart tells nothing twice, and what could not be told is told later, unless it is over by then.
//! Never: a hook that does not answer holds up another, or the dashboard; an address in a log or on a page, because it is often a secret.
//! Limits: [`TRY`] for an answer, of which only the status is read; the pause after a failure doubles up to [`PAUSE_MAX`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::http::{Request, Uri, header};
use bytes::Bytes;
use cairn_chain::https::{HttpClient, http_client, http_uri, with_sources};
use cairn_types::{Clock, UnixMs};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::alerts::{Alert, Alerts, Severity};
use super::kept;
use crate::text::text_in_serde;

/// What one try may take.
const TRY: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest pause between two tries.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);
/// Characters of the line that says it all.
const TEXT_MAX: usize = 1000;
const REASON_MAX: usize = 300;

/// Where a service is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook(Uri);

impl FromStr for Hook {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        http_uri(text).map(Hook).ok_or_else(|| format!("{text:?} is no address of a webhook; write https://HOST/PATH"))
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

text_in_serde!(Hook);

impl Hook {
    /// What may be shown of it: scheme and host.
    fn shown(&self) -> String {
        let host = self.0.host().unwrap_or_default();
        let port = self.0.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{host}{port}", self.0.scheme_str().unwrap_or_default())
    }
}

/// What a hook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// An alert began.
    Raised,
    /// It is over.
    Over,
    /// Somebody wants to see whether it arrives.
    Test,
}

/// What a hook knows of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    since: UnixMs,
    over: bool,
}

/// How a hook does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookView {
    /// Scheme and host.
    pub hook: String,
    /// When it last took something.
    pub told_at: Option<UnixMs>,
    /// Why it does not take anything now.
    pub trouble: Option<String>,
}

#[derive(Default)]
struct State {
    told: BTreeMap<String, Told>,
    told_at: Option<UnixMs>,
    trouble: Option<String>,
}

/// All hooks of a dashboard.
pub struct Webhooks {
    path: PathBuf,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    /// Where the dashboard is, for who reads the message.
    url: String,
    hooks: Vec<(Hook, Mutex<State>)>,
    saving: Mutex<()>,
    /// Before the second try.
    pause: Duration,
}

impl Webhooks {
    /// The hooks, with what they were told as the file at `path` has it.
    ///
    /// # Errors
    /// The file cannot be read, or there is nothing to know an https server by.
    pub fn open(hooks: &[Hook], path: &Path, url: &str, clock: Arc<dyn Clock>) -> Result<Webhooks> {
        let mut before: BTreeMap<String, BTreeMap<String, Told>> = kept::read(path)?;
        let secured = hooks.iter().any(|hook| hook.0.scheme_str() == Some("https"));
        let client = http_client(TRY, secured)?;
        let unique: BTreeMap<String, &Hook> = hooks.iter().map(|hook| (hook.to_string(), hook)).collect();
        let hooks = unique.into_iter().map(|(text, hook)| {
            let told = before.remove(&text).unwrap_or_default();
            (hook.clone(), Mutex::new(State { told, ..State::default() }))
        });
        Ok(Webhooks {
            path: path.to_owned(),
            client,
            clock,
            url: url.to_owned(),
            hooks: hooks.collect(),
            saving: Mutex::default(),
            pause: PAUSE_MIN,
        })
    }

    /// How each does.
    pub fn view(&self) -> Vec<HookView> {
        let view = |(hook, state): &(Hook, Mutex<State>)| {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            HookView { hook: hook.shown(), told_at: state.told_at, trouble: state.trouble.clone() }
        };
        self.hooks.iter().map(view).collect()
    }

    /// Tells all hooks that this is a test, and how they took it.
    pub async fn test(&self) -> Vec<HookView> {
        let body = self.body(Event::Test, None);
        let told = self.hooks.iter().map(|hook| self.post(hook, body.clone()));
        futures::future::join_all(told).await;
        self.view()
    }

    /// Tells every hook of what `alerts` has, until `stop`.
    pub async fn run(self: Arc<Self>, alerts: Arc<Alerts>, stop: CancellationToken) {
        let each = (0..self.hooks.len()).map(|at| self.clone().run_one(at, alerts.clone()));
        stop.run_until_cancelled(futures::future::join_all(each)).await;
    }

    async fn run_one(self: Arc<Self>, at: usize, alerts: Arc<Alerts>) {
        let (mut changes, mut pause) = (alerts.changes(), self.pause);
        changes.mark_changed();
        // Its sender lives in `alerts`.
        while changes.changed().await.is_ok() {
            while !self.tell(at, &alerts.list()).await {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
            }
            pause = self.pause;
        }
    }

    /// Tells one hook all that it does not know yet; whether it took all of it.
    async fn tell(self: &Arc<Self>, at: usize, alerts: &[Alert]) -> bool {
        let hook = &self.hooks[at];
        let due = due(alerts, &hook.1.lock().unwrap_or_else(PoisonError::into_inner).told);
        let mut done = true;
        for (event, alert) in due {
            if !self.post(hook, self.body(event, Some(alert))).await {
                done = false;
                break;
            }
            let told = Told { since: alert.since, over: event == Event::Over };
            hook.1.lock().unwrap_or_else(PoisonError::into_inner).told.insert(alert.finding.id.clone(), told);
            let webhooks = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || webhooks.save()).await {
                tracing::error!(%error, "what webhooks were told was not written");
            }
        }
        let known: BTreeSet<&str> = alerts.iter().map(|alert| alert.finding.id.as_str()).collect();
        hook.1.lock().unwrap_or_else(PoisonError::into_inner).told.retain(|id, _| known.contains(id.as_str()));
        done
    }

    async fn post(&self, (hook, state): &(Hook, Mutex<State>), body: Bytes) -> bool {
        let outcome = match tokio::time::timeout(TRY, self.exchange(hook, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} s", TRY.as_secs())),
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(()) => state.told_at = Some(self.clock.now()),
            Err(why) => tracing::warn!(hook = hook.shown(), why, "a webhook did not take an alert"),
        }
        state.trouble = outcome.err();
        state.trouble.is_none()
    }

    async fn exchange(&self, hook: &Hook, body: Bytes) -> Result<(), String> {
        let request = Request::post(hook.0.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| with_sources(&error, REASON_MAX))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answers HTTP {}", status.as_u16())),
        }
    }

    fn body(&self, event: Event, alert: Option<&Alert>) -> Bytes {
        let text = match alert {
            None => "This is a test of Cairn's alerts.".to_owned(),
            Some(alert) => line(event, alert).chars().take(TEXT_MAX).collect(),
        };
        json!({"event": event, "text": text, "dashboard": self.url, "alert": alert}).to_string().into()
    }

    /// Blocking.
    fn save(&self) {
        let _one_at_a_time = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |(hook, state): &(Hook, Mutex<State>)| {
            (hook.to_string(), state.lock().unwrap_or_else(PoisonError::into_inner).told.clone())
        };
        let all: BTreeMap<_, _> = self.hooks.iter().map(state).collect();
        kept::write(&self.path, &all);
    }
}

fn line(event: Event, alert: &Alert) -> String {
    let finding = &alert.finding;
    let severity = match finding.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
    };
    match event {
        Event::Over => format!("[over] {}: {}", finding.node, finding.title),
        _ => {
            format!("[{severity}] {}: {}. Cause: {}. What helps: {}", finding.node, finding.title, finding.cause, finding.remedy)
        }
    }
}

/// What a hook that was told `told` is to be told of `alerts`, the oldest first.
fn due<'a>(alerts: &'a [Alert], told: &BTreeMap<String, Told>) -> Vec<(Event, &'a Alert)> {
    let what = |alert: &'a Alert| {
        let told = told.get(&alert.finding.id).filter(|told| told.since == alert.since);
        match (told, alert.over) {
            (None, None) if alert.acknowledged.is_none() => Some((Event::Raised, alert)),
            (Some(told), Some(_)) if !told.over => Some((Event::Over, alert)),
            _ => None,
        }
    };
    let mut due: Vec<_> = alerts.iter().filter_map(what).collect();
    due.sort_by_key(|(_, alert)| alert.over.unwrap_or(alert.since));
    due
}

#[cfg(test)]
#[path = "webhooks_tests.rs"]
mod tests;
