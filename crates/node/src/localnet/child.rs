//! One process of a localnet: started, watched, signalled.
//!
//! Its standard input is a pipe that closes when the supervisor dies, however it dies; the process then stops by itself.
//! Never: a signal to a process that was already reaped, whose number may be another's by now.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};

use super::plan::Name;

const SIGNALS_QUEUED_MAX: usize = 8;

/// A running (or ended) process.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its process id while it runs.
    pub pid: u32,
    signals: mpsc::Sender<Signal>,
    exit: watch::Receiver<Option<String>>,
}

impl Running {
    /// Starts `program` with `args`; what it prints goes to the end of `log`.
    pub fn start(name: Name, program: &Path, args: &[String], log: &Path) -> Result<Running> {
        let out = open_log(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        // The supervisor's own settings are not meant for its children.
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| variable.as_encoded_bytes().starts_with(b"CAIRN_")) {
            command.env_remove::<OsString>(variable);
        }
        command.args(args).stdin(Stdio::piped()).stdout(out.try_clone()?).stderr(out);
        // A group of its own: Ctrl-C in the terminal is for the supervisor, which ends its children in order.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pid = child.id().context("the process ended at once")?;
        let stdin = child.stdin.take();
        let (signals, wanted) = mpsc::channel(SIGNALS_QUEUED_MAX);
        let (report, exit) = watch::channel(None);
        tokio::spawn(watch_over(name, child, stdin, wanted, report));
        Ok(Running { pid, signals, exit })
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> Option<String> {
        self.exit.borrow().clone()
    }

    /// Waits for the end, at most `deadline`; whether it came.
    pub async fn wait(&self, deadline: Duration) -> bool {
        let mut exit = self.exit.clone();
        tokio::time::timeout(deadline, exit.wait_for(Option::is_some)).await.is_ok()
    }

    /// Asks it to stop.
    pub async fn terminate(&self) {
        self.signal(Signal::TERM).await;
    }

    /// SIGTERM, and SIGKILL when it has not ended after `deadline`.
    pub async fn stop(&self, deadline: Duration) {
        self.terminate().await;
        if !self.wait(deadline).await {
            tracing::warn!(pid = self.pid, "did not stop in time, killing it");
            self.signal(Signal::KILL).await;
            self.wait(deadline).await;
        }
    }

    async fn signal(&self, signal: Signal) {
        // A closed channel means that it has ended: nothing left to signal.
        let _ = self.signals.send(signal).await;
    }
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

async fn watch_over(
    name: Name,
    mut child: Child,
    stdin: Option<ChildStdin>,
    mut signals: mpsc::Receiver<Signal>,
    report: watch::Sender<Option<String>>,
) {
    let mut asked = false;
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status,
            // Asked twice, a daemon ends at once: it is asked only once.
            Some(signal) = signals.recv() => if !(asked && signal == Signal::TERM) {
                asked = true;
                // The id is there only while the process is not reaped.
                if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                    let _ = kill_process(pid, signal);
                }
            }
        }
    };
    drop(stdin);
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    match asked {
        true => tracing::info!(%name, how, "stopped"),
        false => tracing::warn!(%name, how, "ended by itself; `cairn localnet restart {name}` starts it again"),
    }
    report.send_replace(Some(how));
}

/// The end of a log, for an error message.
pub fn log_tail(log: &Path, lines: usize) -> String {
    const TAIL_LEN: u64 = 16 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = File::open(log)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_LEN)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_LEN).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Running {
        Running::start(Name::Provider(1), Path::new("/bin/sh"), &["-c".into(), script.into()], log).unwrap()
    }

    #[tokio::test]
    async fn an_end_is_noticed_and_logs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let running = shell("echo one; echo two; echo three >&2; exit 3", &log);
        assert!(running.wait(Duration::from_secs(20)).await);
        assert!(running.ended().unwrap().contains('3'));
        assert_eq!(log_tail(&log, 2), "two\nthree");
        running.stop(Duration::from_secs(1)).await;
    }

    #[tokio::test]
    async fn what_ignores_sigterm_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let running = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done", &log);
        while !log_tail(&log, 1).contains("ready") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(running.ended(), None);
        running.stop(Duration::from_millis(300)).await;
        assert!(running.ended().unwrap().contains("SIGKILL"));
    }

    #[tokio::test]
    async fn what_obeys_sigterm_is_not_killed() {
        let dir = tempfile::tempdir().unwrap();
        let running = shell("exec sleep 60", &dir.path().join("log"));
        running.stop(Duration::from_secs(20)).await;
        assert!(running.ended().unwrap().contains("SIGTERM"));
    }
}
