//! When a daemon stops: SIGTERM, SIGINT, or the end of standard input where that was asked for.
//!
//! A second signal ends the process at once. Limits: `drain_ms_max` between the first and the end, whatever hangs.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// From the first request to stop to the end of a daemon.
pub const DRAIN_MS_MAX: u64 = 9_500;

/// Says when to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Starts listening; from here on the signals do not end the process by themselves.
    pub fn listen(at_stdin_end: bool, drain_ms_max: u64) -> Result<Stop> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let (told, asked) = watch::channel(false);
        let on_end = told.clone();
        if at_stdin_end {
            // A thread of its own: tokio's stdin would keep the runtime from shutting down.
            std::thread::Builder::new().name("stdin".into()).spawn(move || {
                let mut byte = [0u8; 64];
                while matches!(std::io::stdin().lock().read(&mut byte), Ok(1..)) {}
                on_end.send_replace(true);
            })?;
        }
        tokio::spawn(async move {
            let mut asked = told.subscribe();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = asked.wait_for(|asked| *asked) => {}
            }
            told.send_replace(true);
            tokio::select! {
                _ = terminate.recv() => tracing::warn!("asked to stop twice: ending at once"),
                _ = interrupt.recv() => tracing::warn!("asked to stop twice: ending at once"),
                () = tokio::time::sleep(Duration::from_millis(drain_ms_max)) => tracing::error!("did not stop in time: ending at once"),
            }
            std::process::exit(1);
        });
        Ok(Stop(asked))
    }

    /// Ready once somebody asked to stop.
    pub async fn asked(&mut self) {
        // A closed channel cannot happen before the end: its sender lives in the listening task.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}
