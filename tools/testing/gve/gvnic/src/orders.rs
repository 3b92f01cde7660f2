// SPDX-License-Identifier: GPL-2.0
//! Faults that come while the device runs, from a file: a test in the guest
//! can write there when the file is in a folder that host and guest share.
//!
//! The file holds one fault a line, as after `--fault`; empty lines and those
//! that begin with `#` do not count. Whenever its content changes, its faults
//! take the place of those from before. What became of it stands in a second
//! file, the name of the first with `.applied` behind it: the same content,
//! or a line that begins with `error: `.

use crate::stats::replace;
use gve_device::Hub;
use gve_device::fault::{FaultSet, FaultSpec};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often the file is looked at.
const PERIOD: Duration = Duration::from_millis(50);

/// The file, and what it held when it was looked at last.
pub struct Orders {
    path: PathBuf,
    applied: PathBuf,
    seed: u64,
    always: Vec<FaultSpec>,
    content: Option<String>,
}

impl Orders {
    /// Faults from `path`, beside those that are `always` there.
    pub fn new(path: &Path, seed: u64, always: Vec<FaultSpec>) -> Orders {
        let mut applied = path.as_os_str().to_owned();
        applied.push(".applied");
        Orders {
            path: path.to_owned(),
            applied: applied.into(),
            seed,
            always,
            content: None,
        }
    }

    /// Looks at the file for as long as the process runs; `changed` is called
    /// after new faults have been put in place.
    pub fn watch(mut self, hub: &Hub, changed: impl Fn()) -> ! {
        loop {
            match self.look(hub) {
                Ok(true) => changed(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "faults");
                }
            }
            thread::sleep(PERIOD);
        }
    }

    /// Puts the file's faults in place if they are new.
    fn look(&mut self, hub: &Hub) -> io::Result<bool> {
        let content = match fs::read_to_string(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.content.as_ref() == Some(&content) {
            return Ok(false);
        }
        let answer = match self.apply(hub, &content) {
            Ok(()) => content.clone(),
            Err(error) => format!("error: {error}\n"),
        };
        tracing::info!(faults = answer.trim_end(), "new faults");
        self.content = Some(content);
        replace(&self.applied, answer.as_bytes())?;
        Ok(true)
    }

    fn apply(&self, hub: &Hub, content: &str) -> Result<(), gve_device::fault::SpecError> {
        let mut specs = self.always.clone();
        for line in content.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                specs.push(line.parse()?);
            }
        }
        let sets: Result<Vec<_>, _> = (0..hub.ports().len())
            .map(|port| FaultSet::build(&specs, port, self.seed))
            .collect();
        for (port, faults) in hub.ports().iter().zip(sets?) {
            port.set_faults(faults, std::time::Instant::now());
        }
        Ok(())
    }
}
