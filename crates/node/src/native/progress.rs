//! A progress bar on standard error; nothing is shown when that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bytes done of bytes to do, over all files of a command.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar; hidden when the answer is JSON.
    pub fn start(hidden: bool) -> Progress {
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{msg:30!} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant").progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    /// More bytes to do, for the thing called `name`.
    pub fn expect(&self, name: &str, len: u64) {
        self.0.inc_length(len);
        self.0.set_message(name.to_owned());
    }

    /// Bytes done.
    pub fn advance(&self, len: u64) {
        self.0.inc(len);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
