// SPDX-License-Identifier: GPL-2.0
//! Progress of a transfer.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress of a transfer on the error output: a bar on a terminal, otherwise
/// a line every few seconds.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    last: Instant,
}

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// For so many bytes, as far as that is known.
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = match total {
            Some(_) => "{prefix} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}",
            None => "{prefix} {bytes} {binary_bytes_per_sec} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Self {
            bar,
            what,
            last: Instant::now(),
        }
    }

    /// So many bytes are done.
    pub fn set(&mut self, bytes: u64, note: impl FnOnce() -> String) {
        if self.bar.is_hidden() {
            if self.last.elapsed() >= LINE_EVERY {
                self.last = Instant::now();
                eprintln!("{}: {} MiB, {}", self.what, bytes >> 20, note());
            }
        } else {
            self.bar.set_message(note());
            self.bar.set_position(bytes);
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
