// SPDX-License-Identifier: GPL-2.0
//! A recording, to a file of one JSON object a line.

use gve_device::record::{Access, Event, Log};
use gve_net::PortId;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

struct Lines {
    file: BufWriter<File>,
    /// A tick that counts only if the device does something in it.
    tick: Option<Event>,
}

/// Writes a recording. While it does, ports wait for each other, so that what
/// one access led to stands behind it.
pub struct Recorder {
    start: Instant,
    turn: Mutex<()>,
    lines: Mutex<Lines>,
}

impl Recorder {
    /// Starts a recording.
    pub fn create(path: &Path) -> io::Result<Recorder> {
        Ok(Recorder {
            start: Instant::now(),
            turn: Mutex::new(()),
            lines: Mutex::new(Lines {
                file: BufWriter::new(File::create(path)?),
                tick: None,
            }),
        })
    }

    /// Waits for one's turn; it ends when what is returned is dropped.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// µs from the start of the recording to `now`.
    fn at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_micros() as u64
    }

    /// A guest did something.
    pub fn guest(&self, port: PortId, now: Instant, access: Access) {
        let at = self.at(now);
        let mut lines = self.lines();
        lines.tick = None;
        lines.write(&Event::Guest { port, at, access });
    }

    /// Time passed.
    pub fn tick(&self, now: Instant) {
        let at = self.at(now);
        self.lines().tick = Some(Event::Tick { at });
    }

    /// Writes out what is still in memory.
    pub fn flush(&self) -> io::Result<()> {
        self.lines().file.flush()
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn write(&mut self, event: &Event) {
        let written = serde_json::to_writer(&mut self.file, event)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"));
        if let Err(error) = written {
            tracing::warn!(%error, "recording is incomplete");
        }
    }
}

impl Log for Recorder {
    fn note(&self, event: Event) {
        let mut lines = self.lines();
        if let Some(tick) = lines.tick.take() {
            lines.write(&tick);
        }
        lines.write(&event);
    }
}
