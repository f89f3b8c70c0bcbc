//! Processes as the kernel shows them: signals, memory, bytes read.
//!
//! Never: signals a process that the caller did not name by id. Limits: Linux `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal; a process that is already gone is an error.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let raw = Pid::from_raw(i32::try_from(pid)?).context("process id 0")?;
    kill_process(raw, signal).with_context(|| format!("signal {pid}"))
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// Kills at once and waits until the process is gone.
pub fn kill(pid: u32) -> Result<()> {
    signal(pid, Signal::KILL)?;
    wait_until("a killed process to be gone", Duration::from_secs(10), || Ok((!alive(pid)).then_some(())))
}

/// Peak resident memory in bytes.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    Ok(field(&status, "VmHWM:")? * 1024)
}

/// Bytes that a process has read from files so far, page cache included.
pub fn bytes_read(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).with_context(|| format!("process {pid} is gone"))?;
    field(&io, "rchar:")
}

fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).with_context(|| format!("{line:?}"))
}

/// Asks again and again until there is an answer; fails at the deadline, saying what was waited for.
pub fn wait_until<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if let Ok(Some(found)) = answer {
            return Ok(found);
        }
        if begun.elapsed() >= deadline {
            match answer {
                Err(error) => return Err(error.context(format!("waited {deadline:?} for {what}"))),
                Ok(_) => bail!("waited {deadline:?} for {what}"),
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
