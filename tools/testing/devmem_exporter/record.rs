// SPDX-License-Identifier: GPL-2.0

//! What happened to a buffer, and what shall happen.

use crate::{
    abi::{Status, Step},
    memory::Memory,
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
    time::{delay::fsleep, Delta},
};

/// Counts events.
pub(crate) struct Counter(Atomic<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    pub(crate) fn count(&self) {
        self.0.add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A step of an importer: how often it worked, how often it failed, and whether it shall.
pub(crate) struct StepRecord {
    errno: Atomic<i32>,
    failed: Counter,
    done: Counter,
    undone: Counter,
}

impl StepRecord {
    const fn new() -> Self {
        Self {
            errno: Atomic::new(0),
            failed: Counter::new(),
            done: Counter::new(),
            undone: Counter::new(),
        }
    }

    /// Does the step, unless it shall fail.
    pub(crate) fn try_do<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let result = to_result(-self.errno.load(Relaxed)).and_then(|()| step());

        match result {
            Ok(_) => self.done.count(),
            Err(_) => self.failed.count(),
        }
        result
    }

    pub(crate) fn undo(&self) {
        self.undone.count();
    }

    /// How many are not undone.
    fn left(&self) -> u64 {
        self.done.get().saturating_sub(self.undone.get())
    }
}

/// What happened to a buffer. Outlives it.
pub(crate) struct Record {
    pub(crate) memory: Arc<Memory>,
    pub(crate) attach: StepRecord,
    pub(crate) map: StepRecord,
    pub(crate) cpu_begun: Counter,
    pub(crate) cpu_ended: Counter,
    device_runs: Atomic<u64>,
    /// How long an unmap takes, in milliseconds.
    stall: Atomic<u32>,
    left_at_release: Atomic<u64>,
    released: Counter,
}

impl Record {
    pub(crate) fn new(memory: Memory) -> Result<Arc<Self>> {
        let record = Self {
            memory: Arc::new(memory, GFP_KERNEL)?,
            attach: StepRecord::new(),
            map: StepRecord::new(),
            cpu_begun: Counter::new(),
            cpu_ended: Counter::new(),
            device_runs: Atomic::new(0),
            stall: Atomic::new(0),
            left_at_release: Atomic::new(0),
            released: Counter::new(),
        };
        Ok(Arc::new(record, GFP_KERNEL)?)
    }

    /// Lets a step fail with `errno` from now on; 0 lets it work.
    pub(crate) fn fail(&self, step: Step, errno: i32) {
        let record = match step {
            Step::Attach => &self.attach,
            Step::Map => &self.map,
        };
        record.errno.store(errno, Relaxed);
    }

    /// The buffer was mapped, as `count` runs.
    pub(crate) fn set_device_runs(&self, count: u64) {
        self.device_runs.store(count, Relaxed);
    }

    /// Lets an unmap take so many milliseconds from now on.
    pub(crate) fn set_stall(&self, ms: u32) {
        self.stall.store(ms, Relaxed);
    }

    /// Waits as an exporter may that has to wait for a device.
    pub(crate) fn wait(&self) {
        let ms = self.stall.load(Relaxed);

        if ms != 0 {
            fsleep(Delta::from_millis(i64::from(ms)));
        }
    }

    /// The buffer is gone: whoever still writes to its memory is wrong.
    pub(crate) fn release(&self) {
        self.left_at_release
            .store(self.attach.left() + self.map.left(), Relaxed);
        self.memory.poison();
        self.released.count();
    }

    pub(crate) fn status(&self) -> Status {
        let released = self.released.get();

        Status {
            attached: self.attach.done.get(),
            attach_failed: self.attach.failed.get(),
            detached: self.attach.undone.get(),
            mapped: self.map.done.get(),
            map_failed: self.map.failed.get(),
            unmapped: self.map.undone.get(),
            cpu_begun: self.cpu_begun.get(),
            cpu_ended: self.cpu_ended.get(),
            released,
            left_at_release: self.left_at_release.load(Relaxed),
            device_runs: self.device_runs.load(Relaxed),
            guard_overwritten: self.memory.guard_overwritten() as u64,
            poison_overwritten: match released {
                0 => 0,
                _ => self.memory.poison_overwritten() as u64,
            },
        }
    }
}
