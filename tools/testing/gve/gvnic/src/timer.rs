// SPDX-License-Identifier: GPL-2.0
//! The thread that lets time pass for the device. It sleeps for as long as
//! nothing is due.

use crate::record::Recorder;
use gve_device::Hub;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// When something is due next.
#[derive(Default)]
pub struct Timer {
    due: Mutex<Option<Instant>>,
    earlier: Condvar,
}

impl Timer {
    /// Something is due then; what was due before still is.
    pub fn schedule(&self, at: Option<Instant>) {
        let Some(at) = at else {
            return;
        };
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.is_none_or(|due| at < due) {
            *due = Some(at);
            self.earlier.notify_one();
        }
    }

    fn wait(&self) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            due = match *due {
                Some(at) if at <= now => {
                    *due = None;
                    return;
                }
                Some(at) => {
                    let waited = self.earlier.wait_timeout(due, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .earlier
                    .wait(due)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Runs for as long as the process does.
    pub fn run(&self, hub: &Hub, recorder: Option<&Recorder>) -> ! {
        loop {
            self.wait();
            let _turn = recorder.map(Recorder::turn);
            let now = Instant::now();
            if let Some(recorder) = recorder {
                recorder.tick(now);
            }
            self.schedule(hub.tick(now));
        }
    }
}
