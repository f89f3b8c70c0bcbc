//! How a command ends: exit codes, errors that carry a remedy, and what goes to standard output.
//!
//! Never: anything on standard output but the answer; progress, logs and errors go to standard error.

use std::fmt;
use std::io::Write;

use serde::Serialize;

/// Exit codes of `cairn`. Usage errors (2) are clap's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Something failed; the message says what.
    Failure = 1,
    /// The command line or the configuration cannot be understood.
    Usage = 2,
    /// The bucket, object, upload or key does not exist.
    NotFound = 3,
    /// No daemon answers, or it cannot serve now; trying later may help.
    Unavailable = 4,
}

/// An error with an exit code and what the person can do about it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Exit code of the process.
    pub code: ExitCode,
    /// What went wrong.
    pub message: String,
    /// What to do about it; empty when there is nothing to say.
    pub remedy: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error with a remedy, exit code 1.
pub fn failure(message: impl Into<String>, remedy: impl Into<String>) -> anyhow::Error {
    coded(ExitCode::Failure, message, remedy)
}

/// An error with a remedy and an exit code.
pub fn coded(code: ExitCode, message: impl Into<String>, remedy: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failure { code, message: message.into(), remedy: remedy.into() })
}

/// The exit code an error asks for.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    error.downcast_ref::<Failure>().map_or(ExitCode::Failure, |failure| failure.code)
}

/// What went wrong, its causes, and the remedy if there is one.
pub fn report(error: &anyhow::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.dedup();
    let mut text = causes.join(": ");
    if let Some(remedy) = error.downcast_ref::<Failure>().map(|failure| &failure.remedy).filter(|remedy| !remedy.is_empty()) {
        text.push_str("\n  remedy: ");
        text.push_str(remedy);
    }
    text
}

/// Writes a line to standard output. A reader that went away ends the process quietly, as `head` expects.
pub fn say(line: impl fmt::Display) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(ExitCode::Failure as i32);
    }
}

/// Writes one JSON line to standard output.
pub fn say_json(value: &impl Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_and_exit_code_survive_more_context() {
        let error = coded(ExitCode::NotFound, "no such thing", "look elsewhere").context("cannot fetch");
        assert_eq!(exit_code(&error), ExitCode::NotFound);
        assert_eq!(report(&error), "cannot fetch: no such thing\n  remedy: look elsewhere");
        let plain = anyhow::anyhow!("disk").context("cannot write");
        assert_eq!((exit_code(&plain), report(&plain).as_str()), (ExitCode::Failure, "cannot write: disk"));
    }
}
